"""Made documents of masked language models."""

import math

import torch
from torch import Tensor

from torchatlas.data.masked.base import MaskedText

PAD, UNK, CLS, SEP, MASK = range(5)  # numbers in a codec that is trained here


# --- data

SENTENCE = "the cat sat on a mat near red door while one old dog ran under blue table with two small birds"
WORDS = SENTENCE.split()


def toy_documents(seed: int, n: int) -> list[str]:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(2, 9, (n, 12), generator=generator).tolist()
    draws = (torch.rand(n, 12, 9, generator=generator).square() * len(WORDS)).long().tolist()
    return [
        " ".join(" ".join(WORDS[i] for i in row[:size]) + "." for row, size in zip(rows, counts, strict=True))
        for rows, counts in zip(draws, sizes, strict=True)
    ]


class Toy(MaskedText):
    def read_documents(self) -> dict[str, list[str]]:
        return {"train": toy_documents(0, 12), "val": toy_documents(1, 6), "test": toy_documents(2, 6)}


def within(share: float, expected: float, n: int) -> bool:
    """Whether a share of n draws is within five standard deviations of its expectation."""
    return abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / n)


def cut(row: Tensor, length: int) -> tuple[list[int], list[int]]:
    """A and B of [CLS] A [SEP] B [SEP] and padding."""
    tokens = row.tolist()
    assert set(tokens[length:]) <= {PAD}
    assert tokens[0] == CLS
    assert tokens[length - 1] == SEP
    middle = tokens.index(SEP)
    assert middle < length - 2
    return tokens[1:middle], tokens[middle + 1 : length - 1]

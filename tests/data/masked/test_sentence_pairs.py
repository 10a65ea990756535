"""Pairs of pieces of text."""

from typing import Any

import pytest
import torch
from helpers.masked import CLS, SEP, Toy, cut, within

from torchatlas.data.masked.hiding import most_masks
from torchatlas.data.masked.sentence_pairs import SentencePairs
from torchatlas.errors import UserError


@pytest.fixture(scope="module")
def documents() -> list[list[list[int]]]:
    """Each token is its own place in the text, from 5 on; sentences of many lengths, one of them very long."""
    generator = torch.Generator().manual_seed(0)
    found, n = [], 5
    for d in range(6):
        sizes = torch.randint(1, 12, (40 + d,), generator=generator).tolist()
        sentences = []
        for size in [*sizes, 50]:
            sentences.append(list(range(n, n + size)))
            n += size
        found.append(sentences)
    return found


def pairs_of(documents: list[list[list[int]]], seed: int = 0, **options: Any) -> SentencePairs:
    return SentencePairs(documents, 32, seed, first=CLS, separator=SEP, **options)


def test_pairs_are_what_they_say(documents: list[list[list[int]]]) -> None:
    """B follows A to the token, or begins a sentence of another document; half and half, a tenth of them short."""
    home = {token: d for d, sentences in enumerate(documents) for s in sentences for token in s}
    begins = {s[i] for sentences in documents for s in sentences for i in range(0, len(s), 14)}  # long ones are divided
    pairs = pairs_of(documents)
    indices = torch.arange(len(pairs))
    foreign, full, seen = [], [], set()
    for epoch in range(100):
        tokens, lengths, segments, is_next, same, at = pairs[epoch, indices]
        assert torch.equal(same, indices)
        assert at == epoch
        assert tokens.shape == segments.shape == (len(pairs), 32)
        for row, length, segment, strange in zip(tokens, lengths.tolist(), segments, is_next.tolist(), strict=True):
            a, b = cut(row, length)
            assert a == list(range(a[0], a[0] + len(a)))
            assert b == list(range(b[0], b[0] + len(b)))
            assert segment.tolist() == [0] * (len(a) + 2) + [1] * (len(b) + 1) + [0] * (32 - length)
            assert home[a[0]] == home[a[-1]]
            assert home[b[0]] == home[b[-1]]
            assert b[0] in begins
            assert (home[a[0]] != home[b[0]]) if strange else (b[0] == a[-1] + 1)
            seen.update(a + b)
        foreign.append(is_next.float().mean())
        full.append((lengths == 32).float().mean())
    n = 100 * len(pairs)
    assert within(float(torch.stack(foreign).mean()), 0.5, n)
    assert 0.75 < float(torch.stack(full).mean()) < 0.92  # ends of documents are short too
    assert seen == set(home)


def test_pairs_are_a_function_of_seed_epoch_and_index(documents: list[list[list[int]]]) -> None:
    one, other = pairs_of(documents, seed=1), pairs_of(documents, seed=2)
    indices = torch.arange(len(one))
    whole = one[3, indices]
    part = one[3, indices[5:9]]
    assert all(torch.equal(x[5:9], y) for x, y in zip(whole[:4], part[:4], strict=True))
    assert not torch.equal(whole[0], one[4, indices][0])
    assert not torch.equal(whole[0], other[3, indices][0])
    assert torch.equal(one[-1, indices][0], other[-1, indices][0])  # evaluation does not depend on the run's seed


def test_the_class_of_a_pair_does_not_show_in_its_length(documents: list[list[list[int]]]) -> None:
    pairs = pairs_of(documents)
    sums = torch.zeros(2, 2)
    for epoch in range(100):
        _, lengths, _, foreign, _, _ = pairs[epoch, torch.arange(len(pairs))]
        for k in (0, 1):
            sums[k] += torch.tensor([float(lengths[foreign == k].sum()), float((foreign == k).sum())])
    means = sums[:, 0] / sums[:, 1]
    assert abs(float(means[0] - means[1])) < 0.5


def test_documents_of_one_sentence_are_cut_in_it() -> None:
    pairs = pairs_of([[[10, 11, 12]], [[20, 21]], [[30]], [], [[]]])
    assert len(pairs) == 2
    tokens, lengths, *_ = pairs[0, torch.arange(2)]
    assert all(len(a) >= 1 and len(b) >= 1 for a, b in (cut(*x) for x in zip(tokens, lengths.tolist(), strict=True)))
    with pytest.raises(UserError, match="1 documents have two tokens or more"):
        pairs_of([[[10, 11, 12]], [[30]]])


def test_buckets_pad_to_the_longest(documents: list[list[list[int]]]) -> None:
    short = [[s[:6] for s in sentences[:2]] for sentences in documents]
    pairs = pairs_of(short, buckets=True)
    tokens, lengths, segments, *_ = pairs[0, torch.arange(3)]
    assert tokens.shape[1] == segments.shape[1] == int(lengths.max()) < 32
    fixed = pairs_of(short)[0, torch.arange(3)]
    assert torch.equal(fixed[0][:, : tokens.shape[1]], tokens)
    data = Toy(vocab_size=60, context=32, batch_size=4, buckets=True)
    data.setup()
    for split in ("train", "val"):
        for batch in data.loader(split, shuffle=split == "train"):
            seen, lengths, _, positions, labels, _ = data.transform(batch)
            assert seen.shape[1] == int(lengths.max())
            assert positions.shape[1] == labels.shape[1] == most_masks(32)

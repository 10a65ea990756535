"""Pairs of pieces of text, the second of which comes after the first or is of another document."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...counter import uniform
from ...errors import UserError
from ..base import SPLIT_SEED

FOREIGN = 0.5  # of the samples, whose second piece is of another document; this and the next: Devlin et al. 2018, A.1
SHORT = 0.1  # of the samples, which are shorter than what a network sees at once
AROUND = 3  # [CLS] A [SEP] B [SEP]
PAIR_DRAWS = 6  # random numbers for a pair


def seed_in(epoch: int, seed: int) -> int:
    """In evaluation, epoch -1, pairs and masks are the same whatever the run's seed is."""
    return SPLIT_SEED if epoch < 0 else seed


class SentencePairs:
    """[CLS] A [SEP] B [SEP], where B is what comes after A, or is of another document.

    Each document is cut into stretches of whole sentences, as many as it takes to fill `context`; the last stretch of a
    document may be shorter. A sample is a stretch, cut in two behind one of its sentences: A and B. For half of the
    samples B is replaced by as many tokens from a sentence on that is drawn from another document (fewer where that
    document has fewer). Of what is too long the longer piece loses tokens first, A its first ones and B its last ones,
    so that a true B always begins where A ends. A tenth of the samples is cut to a random length.

    All this is drawn anew in each epoch, as a function of (seed, epoch, index); which stretches there are is fixed.

    Args:
        documents: of each its sentences, of each the token numbers.
        context: tokens that a network sees at once.
        seed: see above.
        first, separator: the numbers of [CLS] and [SEP].
        buckets: pad a batch to its longest sample, and not to `context`.

    Attributes:
        tokens: all documents in a row.
        lengths: of each sample that is not cut to a random length.

    Raises:
        UserError: fewer than two documents have two tokens.
    """

    def __init__(
        self,
        documents: Iterable[Iterable[Sequence[int]]],
        context: int,
        seed: int,
        *,
        first: int,
        separator: int,
        buckets: bool = False,
    ) -> None:
        self.context, self.seed, self.buckets = context, seed, buckets
        self.first, self.separator = first, separator
        room = context - AROUND
        values: list[np.ndarray[Any, np.dtype[np.int32]]] = []
        sizes: list[int] = []  # of sentences
        borders = [0]  # of documents, in sentences
        stretches: list[tuple[int, int, int]] = []  # the first sentence, the one after the last, and the document
        for document in documents:
            pieces = list(_pieces(document, room // 2))
            if len(pieces) < 2:
                continue
            values.append(np.fromiter(chain.from_iterable(pieces), np.int32))
            counts = [len(piece) for piece in pieces]
            stretches += [(borders[-1] + a, borders[-1] + b, len(borders) - 1) for a, b in _stretches(counts, room)]
            sizes += counts
            borders.append(len(sizes))
        if len(borders) < 3:
            raise UserError(
                f"{len(borders) - 1} documents have two tokens or more, and a sentence from another document needs at "
                "least two"
            )
        self.tokens = torch.from_numpy(np.concatenate(values))
        self.sentences = torch.tensor([0, *sizes]).cumsum(0)  # where each begins, and the end of the last
        self.documents, self.stretches = torch.tensor(borders), torch.tensor(stretches)
        begin, end = self.sentences[self.stretches[:, 0]], self.sentences[self.stretches[:, 1]]
        self.lengths = (end - begin).clamp(max=room) + AROUND

    def __len__(self) -> int:
        return len(self.stretches)

    def cut(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Where the pieces of a batch are: first token of A and its length, the same of B, and whether B is foreign."""
        epoch, indices = key
        room = self.context - AROUND
        random = uniform(seed_in(epoch, self.seed), epoch, indices, PAIR_DRAWS).double().unbind(1)

        def draw(number: int, below: Tensor | int) -> Tensor:
            return (random[number] * below).long()  # 24 bits in double precision: never `below` itself

        begin, end, document = self.stretches[indices].unbind(1)
        middle = self.sentences[begin + 1 + draw(0, end - begin - 1)]
        a, b = middle - self.sentences[begin], self.sentences[end] - middle
        most = torch.where(random[1] < SHORT, 2 + draw(2, room - 1), room)
        a = torch.minimum(a, torch.maximum(most - b, (most + 1) // 2))
        b = torch.minimum(b, most - a)
        foreign = random[3] < FOREIGN
        other = draw(4, len(self.documents) - 2)
        other = other + (other >= document)
        earliest, last = self.documents[other], self.sentences[self.documents[other + 1]]
        latest = torch.searchsorted(self.sentences, last - b, right=True) - 1  # from which b tokens are left
        begin = self.sentences[earliest + draw(5, (latest - earliest).clamp(min=0) + 1)]
        b = torch.where(foreign, torch.minimum(b, last - begin), b)
        return middle - a, a, torch.where(foreign, begin, middle), b, foreign

    def waste(self, order: Iterable[tuple[int, Tensor]], *, longest: bool) -> float:
        """The share of padding in the batches of an order, padded to the longest sample, or to `context`."""
        filled = padded = 0
        for epoch, indices in order:
            _, a, _, b, _ = self.cut((epoch, indices))
            lengths = a + b + AROUND
            filled += int(lengths.sum())
            padded += len(lengths) * (int(lengths.max()) if longest else self.context)
        return 1 - filled / max(1, padded)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Any, ...]:
        """Tokens `b t`, lengths `b`, segments `b t`, whether B is foreign, int64 `b`, indices `b` and the epoch."""
        a_first, a, b_first, b, foreign = self.cut(key)
        lengths = a + b + AROUND
        place = torch.arange(int(lengths.max()) if self.buckets else self.context)
        a, b = a[:, None], b[:, None]
        in_a, in_b = (place > 0) & (place <= a), (place > a + 1) & (place <= a + b + 1)
        source = torch.where(in_a, a_first[:, None] + place - 1, b_first[:, None] + place - a - 2)
        tokens = self.tokens[source.clamp(0, len(self.tokens) - 1)].long().where(in_a | in_b, 0)
        tokens[:, 0] = self.first
        tokens = torch.where((place == a + 1) | (place == a + b + 2), self.separator, tokens)
        segments = ((place > a + 1) & (place <= a + b + 2)).long()
        epoch, indices = key
        return tokens, lengths, segments, foreign.long(), indices, epoch


def _pieces(document: Iterable[Sequence[int]], longest: int) -> Iterator[Sequence[int]]:
    """The sentences of a document, long ones in pieces; a document of one sentence in two halves."""
    pieces = [s[i : i + longest] for s in document for i in range(0, len(s), longest)]
    if len(pieces) == 1 and len(pieces[0]) > 1:
        half = len(pieces[0]) // 2
        pieces = [pieces[0][:half], pieces[0][half:]]
    return iter(pieces)


def _stretches(counts: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Sentences in a row that together fill the room; one that would be left alone goes with those before it."""
    found, begin, filled = [], 0, 0
    for i, count in enumerate(counts):
        filled += count
        if filled >= room:
            found.append((begin, i + 1))
            begin, filled = i + 1, 0
    if begin == len(counts) - 1 and found:
        found[-1] = (found[-1][0], len(counts))
    elif begin < len(counts):
        found.append((begin, len(counts)))
    return found

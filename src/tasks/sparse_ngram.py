"""The trigram baseline for vocabularies of words: counts of the n-grams that occur."""

from collections.abc import Iterable

import torch
from torch import Tensor


class SparseWittenBellTrigram:
    """Interpolated trigram model with Witten-Bell smoothing, see `WittenBellTrigram`, without tables.

    Only the n-grams that occur are held, as sorted numbers with their counts: memory is that of the training text,
    whatever the vocabulary.

    Args:
        vocab_size: number of tokens V.
        windows: training text, int64 `b t` each.

    Raises:
        ValueError: V is so large that a trigram is no 64-bit number.
    """

    MAX_VOCABULARY = 2**21 - 1

    def __init__(self, vocab_size: int, windows: Iterable[Tensor]) -> None:
        if vocab_size > self.MAX_VOCABULARY:
            raise ValueError(f"trigrams are numbered for at most {self.MAX_VOCABULARY} tokens, not {vocab_size}")
        self.vocab_size = vocab_size
        windows = list(windows)
        self.grams: list[tuple[Tensor, Tensor]] = []  # of each order, the codes in their order and their counts
        self.histories: list[tuple[Tensor, Tensor, Tensor]] = []  # codes h, c(h), N(h)
        for n in (1, 2, 3):
            codes = torch.cat([self._code(w, n).flatten() for w in windows])
            codes, counts = codes.unique(return_counts=True)
            history, kinds = (codes // vocab_size).unique_consecutive(return_counts=True)
            ends = kinds.cumsum(0)
            total = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
            self.grams.append((codes, counts))
            self.histories.append((history, total[ends] - total[ends - kinds], kinds))

    def _code(self, tokens: Tensor, n: int) -> Tensor:
        """Each n-gram of `b t` as one number, `b t-n+1`; none where the text is shorter."""
        code = torch.zeros((len(tokens), max(0, tokens.shape[1] - n + 1)), dtype=torch.int64)
        for i in range(n):
            code = code * self.vocab_size + tokens[:, i : i + code.shape[1]]
        return code

    def probability(self, codes: Tensor, n: int) -> Tensor:
        """p(w | h) of n-grams (h, w), float64 of the shape of their codes."""
        if n == 0:
            return torch.full(codes.shape, 1 / self.vocab_size, dtype=torch.float64)
        lower = self.probability(codes % self.vocab_size ** (n - 1), n - 1)
        grams, counts = self.grams[n - 1]
        histories, totals, kinds = self.histories[n - 1]
        history = codes // self.vocab_size
        c, c_h, n_h = _find(grams, counts, codes), _find(histories, totals, history), _find(histories, kinds, history)
        return torch.where(c_h > 0, (c + n_h * lower) / (c_h + n_h).clamp(min=1), lower)

    def nll(self, tokens: Tensor) -> Tensor:
        """-ln p of each token but the first of each window, `b t-1`, by as much history as the window has."""
        first = self.probability(self._code(tokens[:, :2], 2), 2)
        rest = self.probability(self._code(tokens, 3), 3)
        return -torch.cat([first, rest], 1).log()


def _find(keys: Tensor, values: Tensor, wanted: Tensor) -> Tensor:
    """The value of each wanted key among the sorted keys; 0 where there is none."""
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return torch.where(keys[place] == wanted, values[place], 0)

"""The baseline that a language model has to beat: counts of trigrams."""

import torch
from torch import Tensor


class WittenBellTrigram:
    """Interpolated trigram model with Witten-Bell smoothing (Witten and Bell 1991; Chen and Goodman 1998, eq. 17).

    Each order falls back on the next lower one with a weight that grows with the number of different
    successors N of a history h, the lowest one on the uniform distribution:

        p(w | h) = (c(h w) + N(h) p(w | h')) / (c(h) + N(h))

    Args:
        vocab_size: number of tokens V; three tables of up to V³ counts are held, so V is for characters.
    """

    MAX_VOCABULARY = 256

    def __init__(self, vocab_size: int) -> None:
        if vocab_size > self.MAX_VOCABULARY:
            raise ValueError(f"a table of trigrams is for at most {self.MAX_VOCABULARY} tokens, not {vocab_size}")
        self.vocab_size = vocab_size
        self.counts = [torch.zeros(vocab_size**n) for n in (1, 2, 3)]

    def update(self, tokens: Tensor) -> None:
        """Count windows of tokens, int64 `b t`."""
        for n, counts in enumerate(self.counts, start=1):
            code = self._code(tokens, n)
            counts += torch.bincount(code.flatten(), minlength=counts.numel())

    def _code(self, tokens: Tensor, n: int) -> Tensor:
        """Each n-gram of `b t` as one number, `b t-n+1`."""
        grams = tokens.unfold(1, n, 1)
        powers = self.vocab_size ** torch.arange(n - 1, -1, -1)
        return (grams * powers).sum(-1)

    def probabilities(self) -> list[Tensor]:
        """p(w), p(w | v) and p(w | u v), of shapes `V`, `V V` and `V V V`."""
        v = self.vocab_size
        lower = torch.full((v,), 1 / v)
        tables = []
        for n, counts in enumerate(self.counts, start=1):
            c = counts.view(*[v] * n)
            different = (c > 0).sum(-1, keepdim=True)
            total = c.sum(-1, keepdim=True) + different
            # lower is p(w | h') of shape (v,) * (n - 1), broadcast over the oldest token of h
            lower = torch.where(total > 0, (c + different * lower) / total.clamp(min=1), lower)
            tables.append(lower)
        return tables

    def nll(self, tokens: Tensor) -> Tensor:
        """-ln p of each token but the first of each window, `b t-1`, by as much history as the window has."""
        _, bigram, trigram = self.probabilities()
        first = bigram[tokens[:, 0], tokens[:, 1]]
        rest = trigram[tokens[:, :-2], tokens[:, 1:-1], tokens[:, 2:]]
        return -torch.cat([first[:, None], rest], 1).log()

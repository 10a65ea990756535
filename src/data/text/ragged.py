"""Sequences of unequal length."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor


class Ragged:
    """Sequences of whole numbers of unequal length, in one tensor.

    Args:
        rows: the sequences.
    """

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        sizes = np.fromiter(map(len, rows), np.int64, len(rows))
        self.values = torch.from_numpy(np.fromiter(chain.from_iterable(rows), np.int32, int(sizes.sum())))
        self.lengths = torch.from_numpy(sizes)
        self.starts = self.lengths.cumsum(0) - self.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> list[int]:
        start = int(self.starts[index])
        return self.values[start : start + int(self.lengths[index])].tolist()  # type: ignore[no-any-return]

    def padded(self, indices: Tensor, fill: int = 0) -> Tensor:
        """Some of the sequences, int64 `b t`, with `fill` behind the shorter ones."""
        lengths = self.lengths[indices]
        steps = torch.arange(int(lengths.max()))
        places = (self.starts[indices, None] + steps).clamp(max=max(0, len(self.values) - 1))
        return self.values[places].long().masked_fill(steps >= lengths[:, None], fill)

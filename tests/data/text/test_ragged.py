"""Sequences of unequal length in one tensor."""

import torch

from torchatlas.data.text.ragged import Ragged


def test_padded_rows() -> None:
    rows = [[5, 6, 7], [], [8], [9, 9]]
    ragged = Ragged(rows)
    assert [ragged[i] for i in range(4)] == rows
    assert ragged.padded(torch.tensor([2, 0, 3]), -1).tolist() == [[8, -1, -1], [5, 6, 7], [9, 9, -1]]
    assert ragged.padded(torch.tensor([1])).shape == (1, 0)

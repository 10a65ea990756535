"""Splits that are cut are the same for every seed."""

import torch

from torchatlas.data.splits import stratified


def test_stratified_share_of_each_class() -> None:
    labels = torch.tensor([0] * 40 + [1] * 10 + [2] * 2 + [3])
    stay, taken = stratified(labels, 0.2)
    assert torch.bincount(labels[taken], minlength=4).tolist() == [8, 2, 1, 0]
    assert sorted(torch.cat([stay, taken]).tolist()) == list(range(53))
    assert torch.equal(taken, stratified(labels, 0.2)[1])
    assert taken.tolist() != [*range(8), 40, 41, 50]  # not the first ones

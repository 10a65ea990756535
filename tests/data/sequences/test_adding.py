"""The adding problem is what its paper says."""

import math
from typing import Any

import pytest
import torch
from helpers.data import ready, whole

from torchatlas.data.sequences.adding import Adding
from torchatlas.data.sequences.copy_memory import CopyMemory
from torchatlas.errors import UserError


def test_adding_is_the_sum_of_two_marked_numbers() -> None:
    data = ready(Adding(length=13, train_size=4000))
    x, y = whole(data, "train")
    values, markers = x.unbind(2)
    assert x.shape == (4000, 13, 2)
    assert y.shape == (4000, 1, 1)
    assert set(markers.unique().tolist()) == {0, 1}
    assert torch.equal(markers.sum(1), torch.full((4000,), 2.0))
    torch.testing.assert_close(y[:, 0, 0], (values * markers).sum(1))
    assert 0 <= float(values.min()) <= float(values.max()) < 1
    assert float(values.mean()) == pytest.approx(0.5, abs=0.01)
    # Each of the 78 pairs of places is equally likely: chi-square with 77 degrees of freedom.
    pairs = markers.nonzero()[:, 1].view(-1, 2)
    counts = torch.bincount(pairs[:, 0] * 13 + pairs[:, 1], minlength=169).double()
    counts = counts[counts > 0]
    assert len(counts) == 78
    assert float(((counts - 4000 / 78) ** 2 / (4000 / 78)).sum()) < 77 + 5 * math.sqrt(2 * 77)


def test_adding_baseline_is_the_error_of_the_mean() -> None:
    data = ready(Adding(length=40, train_size=20_000))
    _, y = whole(data, "train")
    assert float(y.mean()) == pytest.approx(1, abs=0.01)
    assert float(((y - 1) ** 2).mean()) == pytest.approx(data.baselines["mean_mse"], abs=0.004)
    assert data.baselines["mean_mse"] == pytest.approx(0.1667, abs=1e-4)


@pytest.mark.parametrize("kind", [Adding, CopyMemory])
def test_made_samples_depend_on_split_and_index_alone(kind: Any) -> None:
    one, two = ready(kind(length=30, train_size=100)), ready(kind(length=30, train_size=50, seed=7, batch_size=4))
    for split in ("train", "val", "test"):
        few = one.splits[split][0, torch.tensor([41, 3])]
        for a, b in zip(few, two.splits[split][9, torch.tensor([3, 41])], strict=True):
            assert torch.equal(a, b.flip(0))
    rows = [bytes(row.numpy().tobytes()) for split in ("train", "val", "test") for row in whole(one, split)[0]]
    assert len(rows) == len(set(rows)) == 100 + 1000 + 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 1}, "data.length=1 must be at least 2"),
        ({"train_size": 0}, "data.train_size=0"),
        ({"horizon": 3}, "data.horizon=3 .* change data.length alone"),
        ({"targets": "step"}, "data.targets=step"),
    ],
)
def test_adding_refuses_other_declarations(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Adding(**arguments)

"""Losses and figures of masks by hand."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from torchatlas.tasks.segmentation_losses import dice_loss, focal, overlap, region_figures


def two_classes(p: Sequence[float]) -> Tensor:
    """Logits `n 2` for which class 1 has the probabilities p."""
    one = torch.tensor(p)
    return torch.stack([(1 - one).log(), one.log()], 1)


# --- losses


def test_worked_examples() -> None:
    """Dice of p (.9, .8, .1, .2) with (1, 1, 0, 0): 2 * 1.7 / (2 + 2) = .85; focal loss with gamma 2."""
    logits, labels = two_classes([0.9, 0.8, 0.1, 0.2]), torch.tensor([1, 1, 0, 0])
    both, predicted, labelled = overlap(logits, labels)
    torch.testing.assert_close(2 * both / (predicted + labelled), torch.tensor([0.85, 0.85]))
    assert float(dice_loss(overlap(logits, labels))) == pytest.approx(0.15, abs=1e-6)
    for p, expected in ((0.9, 0.00105361), (0.1, 1.86509393)):
        assert float(focal(two_classes([p]), torch.tensor([1]), 2.0)) == pytest.approx(expected, rel=1e-4)
    plain = F.cross_entropy(logits, labels)
    torch.testing.assert_close(focal(logits, labels, 0.0), plain)
    empty = torch.full((4,), 255)
    assert float(dice_loss(overlap(logits, empty))) == float(focal(logits, empty, 2.0)) == 0
    absent = torch.tensor([0, 0, 0, 0])  # class 1 has no pixel: its Dice does not count, what was given to it does
    assert float(dice_loss(overlap(logits, absent))) == pytest.approx(1 - 2 * 2 / (2 + 4), abs=1e-6)


# --- figures


def test_dice_of_two_classes_is_that_of_the_second() -> None:
    figures = region_figures(torch.tensor([[6, 1], [2, 3]]), ["ground", "cell"])
    assert figures["dice"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert figures["mean_iou"] == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert "dice" not in region_figures(torch.tensor([[6, 0], [0, 0]]), ["ground", "cell"])
    assert region_figures(torch.zeros(2, 2, dtype=torch.int64), ["ground", "cell"]) == {}

"""Figures of a regression."""

import pytest
import torch
from torch import nn

from torchatlas.tasks.regression import Regression


class Answer(nn.Module):
    """Gives a fixed forecast."""

    def __init__(self, y: torch.Tensor) -> None:
        super().__init__()
        self.y = nn.Parameter(y)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.y


def test_regression_figures() -> None:
    y = torch.tensor([[[1.0], [2.0]]])
    task = Regression(Answer(y + torch.tensor([[[1.0], [-3.0]]])))
    out = task.step((torch.zeros(1, 4, 1), y))
    assert out["loss"].item() == pytest.approx(5)
    assert out["metrics/mae"].item() == pytest.approx(2)
    assert Regression(Answer(y)).step((torch.zeros(1, 4, 1), y))["loss"].item() == 0
    with pytest.raises(ValueError, match=r"gives \[1, 2, 1\] where the targets are \[1, 2\]"):
        task.step((torch.zeros(1, 4, 1), y[..., 0]))

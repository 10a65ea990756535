"""Regression with the squared error."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..metrics.figures import Figure, Reports
from .base import Task


class Regression(Task):
    """Numbers from inputs, such as the sum of two marked entries of a sequence.

    Network: x -> ŷ of the shape of y, mostly `b t c` -> `b h c`. Batch: (x, y). Figures: loss, which is the mean
    squared error, mse (the same) and mae, all in the units of y as the data give it.
    """

    name = "regression"
    reports: ClassVar[Reports] = {
        "mse": Figure("lower", headline=True, tabled=True),
        "mae": Figure("lower", headline=True, tabled=True),
    }

    def step(self, batch: Any) -> dict[str, Tensor]:
        x, y = batch
        output = self.network(x)
        require_shape(output, y.shape)
        mse = F.mse_loss(output.float(), y.float())
        return {"loss": mse, "metrics/mse": mse, "metrics/mae": F.l1_loss(output.float(), y.float())}

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The network's answer to inputs as it takes them; in eval mode."""
        return self.network.eval()(x).float()  # type: ignore[no-any-return]


def require_shape(output: Tensor, shape: Any) -> None:
    """Refuse an output that a loss would stretch to the target's shape.

    Raises:
        ValueError: it shows both shapes.
    """
    if output.shape != torch.Size(shape):
        raise ValueError(f"the network gives {list(output.shape)} where the targets are {list(shape)}")

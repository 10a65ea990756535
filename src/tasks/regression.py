"""Regression with the squared error."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..metrics.figures import Figure, Reports
from .base import MakeOptimizer, MakeSchedule, Task
from .losses import LossFunction, chosen


class Regression(Task):
    """Numbers from inputs, such as the sum of two marked entries of a sequence.

    Network: x -> ŷ of the shape of y, mostly `b t c` -> `b h c`. Batch: (x, y). Figures: loss, which is the mean
    squared error, mse (the same) and mae, all in the units of y as the data give it.

    Args:
        network, optimizer, schedule: see `Task`.
        loss: one in place of the squared error, in evaluation too, of ŷ and y in float32; see `losses`.
        common: L1 penalty and so on, see `Task`.
    """

    name = "regression"
    takes_loss = True
    reports: ClassVar[Reports] = {
        "mse": Figure("lower", headline=True, tabled=True),
        "mae": Figure("lower", headline=True, tabled=True),
    }

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        loss: LossFunction | None = None,
        **common: Any,
    ) -> None:
        super().__init__(network, optimizer, schedule, **common)
        self.chosen_loss = chosen(loss, "numbers")

    def step(self, batch: Any) -> dict[str, Tensor]:
        x, y = batch
        output = self.network(x)
        require_shape(output, y.shape)
        output, y = output.float(), y.float()
        mse = F.mse_loss(output, y)
        return {"loss": self.loss(output, y, mse), "metrics/mse": mse, "metrics/mae": F.l1_loss(output, y)}

    def loss(self, output: Tensor, y: Tensor, mse: Tensor) -> Tensor:
        """The squared error, or the loss that is chosen in its place."""
        return mse if self.chosen_loss is None else self.chosen_loss(output, y)

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

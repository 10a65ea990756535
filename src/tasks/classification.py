"""Classification with cross-entropy."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import MakeOptimizer, MakeSchedule, Task


class Classification(Task):
    """One class out of K for each input.

    Network: x -> logits `b k`. Batch: (x, labels `b`). Figures: loss (nats) and accuracy (share of right ones).

    Args:
        network, optimizer, schedule: see `Task`.
        label_smoothing: e of Szegedy et al. 2015 (arXiv:1512.00567, section 7): the target is (1-e) for the
            true class plus e/K for each. Used in training only: validation and test losses are plain.
        monitor: validation figure by which the best weights are chosen: "loss", which a small validation set
            tells more finely, or "accuracy", as most reports on large sets do.
        common: L1 penalty and so on, see `Task`.

    Raises:
        ValueError: an unknown monitor.
    """

    name = "classification"
    headline = ("accuracy",)

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        label_smoothing: float = 0.0,
        monitor: Literal["loss", "accuracy"] = "loss",
        **common: Any,
    ) -> None:
        super().__init__(network, optimizer, schedule, **common)
        if monitor not in ("loss", "accuracy"):
            raise ValueError(f"task.monitor={monitor} must be loss or accuracy")
        self.monitor, self.mode = monitor, "max" if monitor == "accuracy" else "min"
        self.label_smoothing = label_smoothing

    def step(self, batch: Any) -> dict[str, Tensor]:
        x, labels = batch
        logits = self.network(x)
        smoothing = self.label_smoothing if self.training else 0.0
        return {
            "loss": F.cross_entropy(logits, labels, label_smoothing=smoothing),
            "metrics/accuracy": (logits.argmax(1) == labels).float().mean(),
            "logits": logits.detach(),
        }

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Class probabilities `b k` of inputs as the network takes them; in eval mode."""
        return self.network.eval()(x).float().softmax(1)  # type: ignore[no-any-return]

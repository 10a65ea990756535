"""The end of a run that no longer improves."""

import logging
import math
from typing import Any

import lightning

from ..errors import UserError
from ..tasks.base import Task
from .base import Callback

log = logging.getLogger(__name__)


class EarlyStopping(Callback):
    """Ends the training when the task's monitored figure has not become better for `patience` validations.

    What is tested, and kept in `best.ckpt`, is the best one (Prechelt 1998, "Early stopping - but when?").

    Args:
        patience: validations without improvement that are waited for; null switches it off.
        min_delta: by how much a figure must be better to count.
    """

    def __init__(self, patience: int | None = None, min_delta: float = 0.0) -> None:
        if patience is not None and (not isinstance(patience, int) or patience < 1):
            raise UserError(f"callbacks.early_stopping.patience={patience} must be a positive whole number or null")
        self.patience, self.min_delta, self.enabled = patience, min_delta, patience is not None
        self.best: float | None = None
        self.waited = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.patience is not None and self.waited >= self.patience:  # resumed: it had stopped
            trainer.should_stop = True

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        assert self.patience is not None
        figure = pl_module.figures[f"val/{pl_module.monitor}"]
        sign = 1 if pl_module.mode == "max" else -1
        if math.isfinite(figure) and (self.best is None or sign * figure > sign * self.best + self.min_delta):
            self.best, self.waited = figure, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.should_stop = True
            if trainer.is_global_zero:
                log.info(
                    "early stopping: val %s has not been better than %.4g for %d validations",
                    pl_module.monitor, math.nan if self.best is None else self.best, self.waited,
                )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.waited = state_dict["best"], state_dict["waited"]

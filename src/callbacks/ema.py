"""Averaged weights."""

from typing import Any

import lightning
import torch
from torch import Tensor

from ..errors import UserError
from .base import Callback


class EMA(Callback):
    """Validates, tests and keeps as best the exponential moving average of the weights.

    After each optimiser step θ' = d θ' + (1 - d) θ (Polyak and Juditsky 1992; Szegedy et al. 2015, arXiv:1512.00567,
    section 8), with d = min(decay, (1 + t) / (10 + t)) after t steps, so that the first weights are soon forgotten.
    Buffers (running statistics of batch norms are averages already) are those of the trained network. Training itself
    goes on with θ. `last.ckpt` holds both, `best.ckpt` the averages.

    Args:
        decay: d; 0 or None switches it off.
    """

    def __init__(self, decay: float | None = 0.0) -> None:
        decay = decay or 0.0
        if not 0 <= decay < 1:
            raise UserError(f"callbacks.ema.decay={decay} must be from 0 (off) to under 1, as in 0.999")
        self.decay, self.updates, self.enabled = decay, 0, decay > 0
        self.averages: dict[str, Tensor] = {}
        self.trained: list[Tensor] = []

    def pairs(self, module: lightning.LightningModule) -> tuple[list[Tensor], list[Tensor]]:
        """The averages and the parameters they belong to."""
        parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        return [self.averages[name] for name in parameters], [p.detach() for p in parameters.values()]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.averages = {
            name: self.averages[name].to(p.device) if name in self.averages else p.detach().clone()
            for name, p in pl_module.named_parameters()
            if p.requires_grad
        }

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.updates:  # gradients are being accumulated
            return
        self.updates = trainer.global_step
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages, parameters = self.pairs(pl_module)
        torch._foreach_lerp_(averages, parameters, 1 - decay)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not self.averages:  # a validation before the training
            return
        averages, parameters = self.pairs(pl_module)
        self.trained = [p.clone() for p in parameters]
        torch._foreach_copy_(parameters, averages)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.trained:
            torch._foreach_copy_(self.pairs(pl_module)[1], self.trained)
        self.trained = []

    def state_dict(self) -> dict[str, Any]:
        return {"averages": self.averages, "updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.averages, self.updates = dict(state_dict["averages"]), state_dict["updates"]

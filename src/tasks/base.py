"""What every task has in common: stages that call one `step`, sums on the device, the optimiser."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

import lightning
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeSchedule = Callable[[Optimizer, int], LRScheduler]


class Task(lightning.LightningModule):
    """What is optimised, around any network with the task's interface.

    A subclass implements `step`. At the end of an epoch its means are in `figures`, under `train/...`,
    `val/...` and `test/...`, from where callbacks write them to where people look.

    Args:
        network: maps a batch's input to predictions.
        optimizer: makes the optimiser from the parameters.
        schedule: makes the schedule from the optimiser and the run's total number of optimiser steps; it is
            stepped once per optimiser step.
    """

    name: ClassVar[str]
    monitor: str = "loss"  # the validation figure by which the best weights are chosen
    mode: Literal["min", "max"] = "min"
    headline: ClassVar[tuple[str, ...]] = ()  # the figures, beside the loss, by which runs are compared

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.make_optimizer, self.make_schedule = optimizer, schedule
        self.sums: dict[str, Tensor] = {}
        self.figures: dict[str, float] = {}  # the latest of each stage: train/loss, val/accuracy, ...

    def step(self, batch: Any) -> dict[str, Tensor]:
        """One batch.

        Returns:
            "loss", the mean over the batch, to be minimised; under "metrics/..." further means over the
            batch, to be averaged; anything else is for callbacks.
        """
        raise NotImplementedError

    def weight(self, batch: Any) -> int:
        """How much a batch counts in averages: its samples."""
        return len(batch[0])

    def derive(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Figures that are functions of an epoch's means, e.g. perplexity of the mean loss."""
        return means

    def setup(self, stage: str) -> None:
        if getattr(self.network, "convolutional", False):
            self.network.to(memory_format=torch.channels_last)

    def forward(self, *inputs: Tensor) -> Any:
        return self.network(*inputs)

    def training_step(self, batch: Any, _: int) -> dict[str, Tensor]:
        return self._accumulate(batch)

    def validation_step(self, batch: Any, _: int) -> dict[str, Tensor]:
        return self._accumulate(batch)

    def test_step(self, batch: Any, _: int) -> dict[str, Tensor]:
        return self._accumulate(batch)

    # Training and evaluation interleave, so each has its own sums: "train/loss", "val/loss", ...
    def _accumulate(self, batch: Any) -> dict[str, Tensor]:
        out = self.step(batch)
        weight = self.weight(batch)
        stage = self.stage
        for key, value in out.items():
            if key == "loss" or key.startswith("metrics/"):
                self._add(f"{stage}/{key.removeprefix('metrics/')}", value.detach().float() * weight)
        self._add(f"{stage}/count", torch.full((), float(weight), device=out["loss"].device))
        return out

    def _add(self, key: str, value: Tensor) -> None:
        self.sums[key] = self.sums[key] + value if key in self.sums else value

    @property
    def stage(self) -> str:
        """train, val or test."""
        if self.trainer.testing:
            return "test"
        return "train" if self.trainer.training else "val"

    def close_epoch(self, stage: str) -> None:
        """Turn the sums of an epoch into `figures`, over all processes; nothing happens a second time.

        Lightning calls callbacks before the task at the end of a training epoch, so a callback that wants
        the epoch's figures calls this first, on all processes.
        """
        keys = [key for key in self.sums if key.startswith(stage + "/")]
        if not keys:
            return
        sums = torch.stack([self.sums.pop(key) for key in keys])
        sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        totals = dict(zip((key.removeprefix(stage + "/") for key in keys), sums, strict=True))
        count = totals.pop("count")
        means = self.derive({key: total / count for key, total in totals.items()})
        figures = zip(means, torch.stack(list(means.values())).tolist(), strict=True)
        self.figures |= {f"{stage}/{key}": value for key, value in figures}

    def on_train_epoch_start(self) -> None:
        self.figures = {}

    def on_train_epoch_end(self) -> None:
        self.close_epoch("train")

    def on_validation_epoch_end(self) -> None:
        self.close_epoch("val")
        # Lightning's own callbacks (early stopping and the like) look in its dictionary.
        self.log_dict({key: value for key, value in self.figures.items() if key.startswith("val/")}, logger=False)

    def on_test_epoch_end(self) -> None:
        self.close_epoch("test")

    def configure_optimizers(self) -> Any:
        assert self.make_optimizer is not None, "this task was built for evaluation, without an optimiser"
        optimizer = self.make_optimizer(p for p in self.parameters() if p.requires_grad)
        if self.make_schedule is None:
            return optimizer
        schedule = self.make_schedule(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

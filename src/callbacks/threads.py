"""Cores: how many threads compute and how many workers read."""

import logging
import os
from typing import Any

import lightning
import torch

from ..errors import UserError
from ..training.threads import cores, divide
from .base import Callback

log = logging.getLogger(__name__)


class Threads(Callback):
    """Divides the cores among processes, threads and workers, and says how.

    On a CPU another number of threads sums in another order, so a run that goes on takes the number that it had.

    Args:
        number: threads that compute, in each process; null: of a run that goes on as many as it had, else
            OMP_NUM_THREADS or what the workers leave.
    """

    def __init__(self, number: int | None = None) -> None:
        if number is not None and (not isinstance(number, int) or number < 1):
            raise UserError(f"callbacks.threads.number={number} must be a positive whole number or null")
        self.number = number

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        available, processes = cores(), trainer.num_devices
        threads, data.num_workers = divide(
            max(1, available // processes), in_memory=data.in_memory, on_gpu=pl_module.device.type == "cuda",
            workers=data.num_workers,
        )  # fmt: skip
        if self.number is not None:
            threads = self.number
        elif processes == 1 and "OMP_NUM_THREADS" in os.environ:  # Lightning sets it where it starts processes
            threads = torch.get_num_threads()
        torch.set_num_threads(threads)
        self.division = available, threads, data.num_workers, processes

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the number of threads of the run that goes on, unless the user has given one."""
        about = checkpoint["torchatlas"]
        on_gpu = trainer.strategy.root_device.type == "cuda"
        if self.number is not None or on_gpu or len(about.get("processes", ())) != trainer.world_size:
            return
        torch.set_num_threads(about["threads"])
        if trainer.is_global_zero and about["threads"] != self.division[1]:
            log.info(
                "as many threads as the run began with, %d, and not %d, for the same bits; "
                "callbacks.threads.number=%d takes that many, and agrees up to rounding",
                about["threads"], self.division[1], self.division[1],
            )  # fmt: skip
        self.division = self.division[0], about["threads"], *self.division[2:]

    def on_planned(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        """Say it, when it is known what a checkpoint has to say."""
        if trainer.is_global_zero:
            available, threads, workers, processes = self.division
            each = f" in each of {processes} processes" if processes > 1 else ""
            log.info("%d cores: %d for computing and %d for reading%s", available, threads, workers, each)

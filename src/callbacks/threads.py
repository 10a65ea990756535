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

    Args:
        number: threads that compute, in each process; null: what the workers leave. OMP_NUM_THREADS counts too.
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
        if trainer.is_global_zero:
            each = f" in each of {processes} processes" if processes > 1 else ""
            log.info("%d cores: %d for computing and %d for reading%s", available, threads, data.num_workers, each)

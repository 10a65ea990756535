"""Cores: how many threads compute and how many workers read."""

import logging
import os
from pathlib import Path
from typing import Any

import lightning
import torch

from ..errors import UserError
from .base import Callback

log = logging.getLogger(__name__)
MOST_WORKERS = 8  # of one process on a GPU


def cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its container."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        number = min(number, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max"
        pass
    return number


def divide(cores: int, *, in_memory: bool, on_gpu: bool, workers: int | None = None) -> tuple[int, int]:
    """Threads that compute and workers that read, of one process with so many cores.

    Data in memory need no workers. On a GPU the processor has little else to do than to read; on a CPU a quarter of the
    cores reads. A worker beside as many threads as there are cores more than halves the speed of the whole.

    Returns:
        threads (at least 1) and workers; together not more than the cores, unless the user wants more workers.
    """
    if workers is None:
        workers = 0 if in_memory or cores == 1 else min(MOST_WORKERS, cores - 1) if on_gpu else max(1, cores // 4)
    return max(1, cores - workers), workers


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

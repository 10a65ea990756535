"""Cores: how many threads compute and how many workers read."""

import logging
import math
import os
from typing import Any

import lightning
import torch

from ..errors import UserError
from ..storage.random_state import kept_random_state
from ..training.planning import seconds_of_a_step
from ..training.threads import cores, divide
from .base import Callback

log = logging.getLogger(__name__)


class Threads(Callback):
    """Divides the cores among processes, threads and workers, and says how.

    On a CPU another number of threads sums in another order, so a run that goes on takes the number that it had.

    Args:
        number: threads that compute, in each process; null: of a run that goes on as many as it had, else
            OMP_NUM_THREADS or what the workers leave. auto: the same, but at the start of a run of more than a minute
            on a CPU some steps are measured with one thread and half of them too, and fewer are taken where they are
            faster: small networks, or cores that others use.
    """

    LONG = 60.0  # seconds that a run takes from which on it is measured
    MARGIN = 1.05  # how many times faster another number has to be

    def __init__(self, number: int | str | None = None) -> None:
        self.measures = number == "auto"
        number = None if self.measures else number
        if number is not None and (not isinstance(number, int) or number < 1):
            raise UserError(f"callbacks.threads.number={number} must be a positive whole number or null, or auto")
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
        self.measures = False

    def on_planned(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        """Measure, if asked; say it, when it is known what a checkpoint has to say."""
        if self.measures and task.device.type == "cpu":
            self.measure(trainer, task)
        if trainer.is_global_zero:
            available, threads, workers, processes = self.division
            each = f" in each of {processes} processes" if processes > 1 else ""
            log.info("%d cores: %d for computing and %d for reading%s", available, threads, workers, each)

    def measure(self, trainer: lightning.Trainer, task: Any) -> None:
        """Take the number of threads with which steps of a copy are fastest; weights and random states stay."""
        default = self.division[1]
        seconds: dict[int, float] = {}
        with kept_random_state():
            for number in (default, max(1, default // 2), 1, default):  # the default twice: others compute beside it
                if number in seconds and number != default:
                    continue
                torch.set_num_threads(number)
                seconds[number] = min(seconds_of_a_step(task), seconds.get(number, math.inf))
                if task.plan.total * seconds[default] < self.LONG:
                    break
        fastest = min(seconds, key=lambda number: seconds[number])
        chosen = fastest if seconds[default] > self.MARGIN * seconds[fastest] else default
        torch.set_num_threads(chosen)
        self.division = self.division[0], chosen, *self.division[2:]
        if trainer.is_global_zero and len(seconds) > 1:
            each = ", ".join(f"{1e3 * taken:.3g} ms with {number}" for number, taken in sorted(seconds.items()))
            log.info("a step by the number of threads, measured: %s", each)

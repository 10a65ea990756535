"""The run's figures as files: a line of JSON per epoch, and the final and best ones."""

import json
import math
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch

from ..analysis.memory import Memory, resident
from ..storage.files import read_epochs, read_metrics, write_json, write_text
from ..tasks.base import Task
from .base import Callback


class Record(Callback):
    """Writes `metrics.jsonl`, `metrics.json` and `data.json` (the data's description) into the run folder.

    `metrics.jsonl` has one object per epoch: its number (from 1), the optimiser steps so far, seconds, the learning
    rate and all figures. `metrics.json` has those of the last epoch, of the best one and of the test, and under `used`
    what the training has taken, which `torchatlas plan against=RUN_FOLDER` compares: memory (see `Memory`), the peak
    of the process's resident set since training began, with all its libraries and data, and the time of a step, the
    median over epochs of their time without validation by their steps. These are of the process that wrote them; of
    several it is the first.

    Args:
        config: the run's, resolved.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.config = config or {}
        self.seconds = 0.0  # of the epoch within which the run goes on
        self.used: dict[str, Any] = {}
        self.step_seconds: list[float] = []  # the mean of each epoch

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self.folder = Path(trainer.default_root_dir)
        self.epochs = read_epochs(self.folder)  # all of them, where a run that is over is tested again
        if stage == "fit":
            self.used = read_metrics(self.folder).get("used", {})

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """A resumed run goes on after its checkpoint's last whole epoch: lines of later epochs are dropped."""
        assert isinstance(pl_module, Task)
        self.started = time.monotonic() - self.seconds
        self.epochs = [epoch for epoch in self.epochs if epoch["epoch"] <= pl_module.epochs_behind]
        self.memory = Memory(pl_module.network, trainer.optimizers, pl_module.device)
        self.peak: int | None = None
        self.time_steps(trainer)
        if trainer.is_global_zero:
            write_json(self.folder / "data.json", trainer.datamodule.describe())  # type: ignore[attr-defined]
            write_text(self.folder / "metrics.jsonl", "".join(json.dumps(epoch) + "\n" for epoch in self.epochs))

    def state_dict(self) -> dict[str, Any]:
        """How long the present epoch has taken so far."""
        return {"seconds": time.monotonic() - self.started}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds = state_dict["seconds"]

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.started = time.monotonic()
        self.time_steps(trainer)

    def time_steps(self, trainer: lightning.Trainer) -> None:
        """From now on, until the epoch's validation; a resumed run begins within an epoch."""
        self.first: tuple[float, int] = time.monotonic(), trainer.global_step
        self.last: tuple[float, int] | None = None

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.last is None:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize()
            self.last = time.monotonic(), trainer.global_step
            self.note_memory()

    def note_memory(self) -> None:
        """On a CPU that of the first epoch's training: pictures bring in libraries larger than some networks."""
        if self.peak is None or self.memory.device.type == "cuda":
            self.peak = self.memory.peak()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        pl_module.close_epoch("train")
        if not trainer.is_global_zero:
            return
        epoch = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "seconds": round(time.monotonic() - self.started, 3),
            "learning_rate": max(group["lr"] for group in trainer.optimizers[0].param_groups),
            **{key: value for key, value in pl_module.figures.items() if not key.startswith("test/")},
        }
        self.epochs.append(epoch)
        ended, last_step = self.last or (time.monotonic(), trainer.global_step)
        begun, first_step = self.first
        if last_step > first_step:
            self.step_seconds.append((ended - begun) / (last_step - first_step))
        self.note_memory()
        self.used = {
            "device": torch.cuda.get_device_name() if pl_module.device.type == "cuda" else pl_module.device.type,
            "processes": trainer.world_size,
            "memory_bytes": self.peak,
            "memory": self.memory.kind,
            "process_bytes": resident("VmHWM"),
            "seconds_per_step": statistics.median(self.step_seconds) if self.step_seconds else None,
            "steps": trainer.global_step,
            "seconds": round(sum(epoch["seconds"] for epoch in self.epochs), 3),
        }
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(epoch) + "\n")
        self.write(trainer, pl_module)

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        if trainer.is_global_zero and self.epochs:
            self.write(trainer, pl_module)

    def write(self, trainer: lightning.Trainer, task: Task) -> None:
        """`metrics.json`, whole or not at all."""
        final = self.epochs[-1]
        key = f"val/{task.monitor}"
        judged = [epoch for epoch in self.epochs if math.isfinite(epoch.get(key, math.nan))]
        choose = max if task.mode == "max" else min
        best: dict[str, Any] = choose(judged, key=lambda epoch: epoch[key]) if judged else final
        write_json(
            self.folder / "metrics.json",
            {
                "name": self.config.get("name", ""),
                "epochs": final["epoch"],
                "steps": final["step"],
                "finished": trainer.should_stop or final["step"] >= task.plan.total,
                "monitor": key,
                "seconds": round(sum(epoch["seconds"] for epoch in self.epochs), 3),
                "parameters": sum(p.numel() for p in task.network.parameters()),
                "torch_threads": torch.get_num_threads(),
                "used": self.used,
                "best_epoch": best["epoch"],
                "final": {k: v for k, v in final.items() if "/" in k},
                "best": {k: v for k, v in best.items() if "/" in k},
                "test": {k: v for k, v in task.figures.items() if k.startswith("test/")},
                **({"sacrebleu": task.signatures} if getattr(task, "signatures", None) else {}),
            },
        )

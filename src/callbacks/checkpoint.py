"""Checkpoints: the last and the best; tensors and plain values only."""

import os
import random
import shutil
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint as CheckpointCallback

from ..tasks.base import Task


class Checkpoint(CheckpointCallback):
    """Writes `checkpoints/last.ckpt` at the end of each epoch, and `checkpoints/best.ckpt` where it is the best so far.

    Best is by the task's validation figure `monitor`; of equals the first; without any validation the last. A file gets
    its name only when it is complete. A checkpoint carries, under "torchatlas", what rebuilds the network and its
    preprocessing without any other file, and the state of the random generators of Python, NumPy and torch. It loads
    with `weights_only=True`.

    Not Lightning's `ModelCheckpoint`, whose `last.ckpt` is written only when the best one is.
    """

    def __init__(self) -> None:
        self.best: float | None = None
        self.random_state: dict[str, Any] | None = None

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        figure = pl_module.figures.get(f"val/{pl_module.monitor}")
        sign = 1 if pl_module.mode == "max" else -1
        if figure is None:
            better = self.best is None
        else:
            better = self.best is None or sign * figure > sign * self.best
            self.best = figure if better else self.best
        folder = Path(trainer.default_root_dir) / "checkpoints"
        part = folder / "last.ckpt.part"
        trainer.save_checkpoint(part)  # on all processes: some strategies gather
        if trainer.is_global_zero:
            if better:
                shutil.copyfile(part, folder / "best.ckpt.part")
                os.replace(folder / "best.ckpt.part", folder / "best.ckpt")
            os.replace(part, folder / "last.ckpt")
        trainer.strategy.barrier("checkpoint")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state_of_numpy: Any = np.random.get_state()
        name, keys, position, has_gauss, gauss = state_of_numpy
        version, state, cached = random.getstate()
        checkpoint["torchatlas"] = {
            "config": trainer.run_config,  # type: ignore[attr-defined]
            "data": trainer.datamodule.describe(),  # type: ignore[attr-defined]
            "random": {
                "python": [version, list(state), cached],
                "numpy": [name, keys.tolist(), position, has_gauss, gauss],
                "torch": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
            },
        }

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.random_state = checkpoint["torchatlas"]["random"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """What was drawn since the process began (initial weights) is forgotten in a resumed run.

        The states are those of the first process; the others start from (seed, process, step).
        """
        if trainer.world_size > 1:  # each process draws its own dropout masks
            seed: int = trainer.run_config["seed"]  # type: ignore[attr-defined]
            torch.manual_seed(seed + 1_000_003 * trainer.global_rank + trainer.global_step)
        if self.random_state is None or trainer.global_rank > 0:
            return
        version, state, cached = self.random_state["python"]
        random.setstate((version, tuple(state), cached))
        name, keys, position, has_gauss, gauss = self.random_state["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
        torch.set_rng_state(self.random_state["torch"])
        if self.random_state["cuda"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(self.random_state["cuda"])
        self.random_state = None

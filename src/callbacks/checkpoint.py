"""Checkpoints: the best by the task's figure, and the last; tensors and plain values only."""

import random
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from ..tasks.base import Task


class Checkpoint(ModelCheckpoint):
    """Writes `checkpoints/best.ckpt` and `checkpoints/last.ckpt` at the end of each epoch.

    Best is by the task's validation figure, `task.monitor`; of equals the first.

    A checkpoint carries, under "torchatlas", what rebuilds the network and its preprocessing without any other
    file, and the state of the random generators of Python, NumPy and torch. It loads with `weights_only=True`.
    """

    def __init__(self) -> None:
        super().__init__(save_last=True, save_on_train_epoch_end=True, enable_version_counter=False)
        self.filename = "best"
        self.random_state: dict[str, Any] | None = None

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        assert isinstance(pl_module, Task)
        # ModelCheckpoint reads these at its own setup, and the task is known only now.
        self.monitor, self.mode = f"val/{pl_module.monitor}", pl_module.mode
        worst = float("inf") if pl_module.mode == "min" else -float("inf")
        self.kth_value = torch.tensor(worst)
        self.dirpath = str(Path(trainer.default_root_dir) / "checkpoints")
        super().setup(trainer, pl_module, stage)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002: libraries draw from it
        version, state, cached = random.getstate()
        checkpoint["torchatlas"] = {
            "config": trainer.run_config,  # type: ignore[attr-defined]
            "data": trainer.datamodule.describe(),  # type: ignore[attr-defined]
            "random": {
                "python": [version, list(state), cached],
                "numpy": [name, keys.tolist(), position, has_gauss, gauss],
                "torch": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            },
        }

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.random_state = checkpoint["torchatlas"]["random"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if self.random_state is None:
            return
        version, state, cached = self.random_state["python"]
        random.setstate((version, tuple(state), cached))
        name, keys, position, has_gauss, gauss = self.random_state["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))  # noqa: NPY002
        torch.set_rng_state(self.random_state["torch"])
        if self.random_state["cuda"] and torch.cuda.device_count() == len(self.random_state["cuda"]):
            torch.cuda.set_rng_state_all(self.random_state["cuda"])
        self.random_state = None

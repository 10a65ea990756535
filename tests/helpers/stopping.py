"""Runs that a signal ends, and how they are held against whole ones."""

import os
import runpy
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from helpers import REPOSITORY, Train
from torchatlas.callbacks.progress import Progress

script = runpy.run_path(str(REPOSITORY / "scripts" / "kill_and_resume.py"))


class StopsWithin(Progress):
    """Gets a signal in the middle of the second epoch."""

    number = signal.SIGTERM

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if (trainer.current_epoch, batch_idx) == (1, 4):
            os.kill(os.getpid(), self.number)


class StopsInValidation(StopsWithin):
    """Gets Ctrl-C in the validation of the second epoch."""

    def on_train_batch_end(self, *_: Any) -> None:
        pass

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)


def equal(one: Path, two: Path) -> list[str]:
    names: list[str] = script["differences"](script["result"](one), script["result"](two))
    return [name for name in names if not name.startswith("metrics/name")]


def stopped(train: Train, cls: type, *arguments: str, status: int) -> Path:
    """A run that a signal ends; from there on it has the ordinary progress."""
    target = f"callbacks.progress._target_={__name__}.{cls.__name__}"
    with pytest.raises(SystemExit) as exit_:
        train(*arguments, target)
    assert exit_.value.code == status
    folder = max(Path.cwd().glob("runs/*/*"), key=lambda path: path.stat().st_mtime_ns)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace(target.split("=")[1], "torchatlas.callbacks.progress.Progress"))
    return folder


class Hangs(Progress):
    """In the sixth step of the second epoch, in Python, after a signal."""

    signals = 1

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (1, 5):
            for _ in range(self.signals):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.2)
            end = time.monotonic() + 120
            while time.monotonic() < end:
                time.sleep(0.01)
            raise AssertionError("nobody ended this step")


class HangsTwice(Hangs):
    signals = 2


class StopsAtOnce(Progress):
    def on_train_batch_end(self, *_: Any) -> None:
        raise RuntimeError("the machine is gone")

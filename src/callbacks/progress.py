"""Progress: a bar in a terminal, plain lines elsewhere."""

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

import lightning
import rich
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from ..metrics.figures import clock, format_figure, reported
from ..tasks.base import Task
from .base import Callback

log = logging.getLogger(__name__)

LONG = 3.0  # seconds after which a run should not be silent


class Progress(Callback):
    """Says how far the run is.

    One line at the end of each epoch goes to the terminal and to the log. Between them a terminal has a bar,
    redrawn a few times a second, and a file gets a line every `seconds`. The loss is read from the device only
    when something is shown.

    Args:
        seconds: between two lines within an epoch, where there is no terminal.
        redraw: seconds between two updates of the bar.
    """

    def __init__(self, seconds: float = 30.0, redraw: float = 0.2) -> None:
        self.terminal = rich.get_console().is_terminal
        self.every = redraw if self.terminal else seconds
        self.bar: Bar | None = None
        self.row = TaskID(0)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.reported = reported(type(pl_module), type(trainer.datamodule))  # type: ignore[attr-defined]
        self.started = self.shown = self.trained = time.monotonic()
        self.epoch_started, self.epoch_step, self.first_step = self.started, 0, trainer.global_step
        if self.terminal and trainer.is_global_zero:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
            self.bar = Bar(*columns, console=rich.get_console(), auto_refresh=False, transient=True)
            self.bar.start()
            self.row = self.bar.add_task("", text="", total=None)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.epoch_started, self.epoch_step = time.monotonic(), 0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.epoch_step += 1
        now = self.trained = time.monotonic()
        if now - self.shown < self.every or not trainer.is_global_zero:
            return
        self.shown = now
        total = int(trainer.num_training_batches)
        assert isinstance(pl_module, Task)
        means = {k.removeprefix("metrics/"): v for k, v in outputs.items() if k.startswith("metrics/")}
        means["loss"] = outputs["loss"] * trainer.accumulate_grad_batches  # Lightning has divided it
        figures = {k: float(v) for k, v in pl_module.derive(means).items()}
        loss = figures.pop("loss")
        speed = f"{self.samples_per_second(trainer, now):,.0f} samples/s"
        others = [f"{key.replace('_', ' ')} {self.text(key, value)}" for key, value in figures.items()]
        left = f"{clock(self.time_left(trainer, now))} left"
        text = " | ".join([f"loss {self.text('loss', loss)}", *others, speed, left])
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        if self.bar is not None:
            self.bar.update(self.row, description=epoch, completed=batch_idx + 1, total=total, text=text)
            self.bar.refresh()
        else:
            log.info("%s | step %d/%d | %s", epoch, batch_idx + 1, total, text)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        pl_module.close_epoch("train")
        if not trainer.is_global_zero or self.epoch_step == 0:
            return
        now = time.monotonic()
        figures = pl_module.figures
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        shown = dict.fromkeys(("loss", *pl_module.headline, pl_module.monitor))
        found = [key for key in ("train/loss", *(f"val/{figure}" for figure in shown)) if key in figures]
        said = [f"{_words(key)} {self.text(key, figures[key])}" for key in found]
        speed = f"{self.samples_per_second(trainer, self.trained):,.0f} samples/s"  # without validation and pictures
        left = f"{clock(self.time_left(trainer, now))} left"
        line = " | ".join([epoch, *said, f"{now - self.epoch_started:.2f} s", speed, left])
        short = [part.removeprefix("train ") for part in said[:1]] if found[:1] == ["train/loss"] else []
        if validated := said[len(short) :]:  # "val" is said once
            short.append(", ".join([validated[0], *(part.removeprefix("val ") for part in validated[1:])]))
        log.info(line, extra={"short": " | ".join([epoch, *short, left])})

    def say(self, text: str) -> None:
        """What is being done beside training, at the end of the bar."""
        if self.bar is not None:
            self.bar.update(self.row, text=text)
            self.bar.refresh()

    def text(self, name: str, value: float) -> str:
        return format_figure(name, value, self.reported)

    def samples_per_second(self, trainer: lightning.Trainer, now: float) -> float:
        """Training samples of this epoch per second, over all processes."""
        batch_size: int = trainer.datamodule.batch_size  # type: ignore[attr-defined]
        return self.epoch_step * batch_size / max(now - self.epoch_started, 1e-9)

    def time_left(self, trainer: lightning.Trainer, now: float) -> float:
        """Seconds until the last optimiser step, at this process's average pace."""
        assert isinstance(trainer.lightning_module, Task)
        left = trainer.lightning_module.plan.total - trainer.global_step
        return (now - self.started) / max(1, trainer.global_step - self.first_step) * max(0, left)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.stop()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the bar from the screen."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


@contextlib.contextmanager
def doing(trainer: lightning.Trainer, what: str) -> Iterator[None]:
    """Around what keeps a run from training: a terminal says it meanwhile, and a file afterwards if it took long."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Progress):
            callback.say(what)
    started = time.monotonic()
    yield
    if (took := time.monotonic() - started) >= LONG:
        log.info("%s took %.0f s", what, took)


def _words(key: str) -> str:
    """val/bits_per_character -> val bits per character"""
    return key.replace("/", " ").replace("_", " ")

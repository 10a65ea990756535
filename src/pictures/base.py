"""What pictures for the loggers have in common: when they are due, what they collect, and how they are shown."""

import time
from collections.abc import Iterable
from typing import Any, ClassVar

import lightning
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..analysis.modes import predicting
from ..callbacks.base import Callback
from ..callbacks.progress import doing
from ..errors import UserError
from ..loggers.base import At, RunLogger, each, loggers_of
from ..loggers.base import Shown as ShowsItself
from ..storage.random_state import kept_random_state
from ..tasks.base import Task

FIRST = 1.0  # seconds that the first drawing is taken to cost
STAGES = {"val": "validation", "test": "test"}  # how tags name the splits


Shown = Figure | str | ShowsItself  # a text is Markdown


class Pictures(Callback):
    """Draws of a validation, every few epochs and in the last one, and once of the test set.

    A subclass has `draw`. Where that needs the batches it has `start` and `collect` as well, and `gather` where it
    needs those of all processes. What it has in `inputs` is drawn of the first training batch. Between the epochs at
    which something is due nothing is computed. All of it happens in eval mode, without gradients and without a trace
    in the random state.

    Args:
        every_n_epochs: epochs between two drawings; None: of the test set alone.
        share: of the run's time, what all pictures together may cost before its end: drawings that would cost more are
            left out, but those of the last epoch and of the test set; None: none is.

    Attributes:
        task_class: the tasks of which it can draw.
        kind: the kind of data of which alone it draws, see `DataModule.kind`; "": of all.

    Raises:
        UserError: no number of epochs.
    """

    task_class: ClassVar[type[Task]] = Task
    kind: ClassVar[str] = ""

    def __init__(self, every_n_epochs: int | None = None, share: float | None = None) -> None:
        if every_n_epochs is not None and (
            isinstance(every_n_epochs, bool) or not isinstance(every_n_epochs, int) or every_n_epochs < 1
        ):
            raise UserError(
                f"every_n_epochs={every_n_epochs} of the callback {type(self).__name__} must be a positive whole number"
            )
        if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or share < 0):
            raise UserError(
                f"share={share} of the callback {type(self).__name__} must be part of the run's time, as in .1, or null"
            )
        self.every_n_epochs, self.share = every_n_epochs, share
        self.drawing = False
        self.spent, self.cost, self.begun = 0.0, FIRST, 0.0  # seconds: of all drawings, of the last; on the clock

    # --- what a subclass says

    def inputs(self, data: Any, batch: Any) -> Figure | None:
        """The samples of a training batch as the network gets them."""
        return None

    def start(self, task: Any, data: Any, split: str) -> None:
        """Begin to collect.

        Args:
            task: of `task_class`.
            data: the data module.
            split: "val" or "test".
        """

    def collect(self, task: Any, outputs: Any, batch: Any) -> None:
        """Take from a batch, and from what the task's `step` made of it, what `draw` needs."""

    def gather(self, task: Any, split: str) -> None:
        """Bring together what the processes have collected: called on all of them, and only there may one wait."""

    def draw(self, task: Any, data: Any, split: str) -> Iterable[tuple[str, Shown]]:
        """Tags and what is to be seen under them; called on the first process, if a logger shows such."""
        raise NotImplementedError

    # --- when

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Refuse a task of which nothing can be drawn."""
        if self.suits(trainer) and not isinstance(pl_module, self.task_class):
            name, other = self.task_class.name, getattr(pl_module, "name", type(pl_module).__name__)
            raise UserError(
                f"the callback {type(self).__name__} draws what task={name} does, and this run has task={other}: "
                "use callbacks=default"
            )

    def suits(self, trainer: lightning.Trainer) -> bool:
        """Whether the data are of the kind of which it draws."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        return not self.kind or data.kind == self.kind

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.begun = time.monotonic()
        if type(self).inputs is not Pictures.inputs:
            self.on_train_batch_start = self.show_inputs  # type: ignore[method-assign]

    def show_inputs(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """In place of a hook, of which Lightning calls none after the first batch: there is nothing to call."""
        self.on_train_batch_start = None  # type: ignore[method-assign,assignment]
        if not (loggers := showing(trainer)):
            return
        with kept_random_state():
            figure = self.inputs(trainer.datamodule, batch)  # type: ignore[attr-defined]
        if figure is not None:
            at = At(trainer.global_step, trainer.current_epoch)
            show(loggers, "inputs/training samples as the network gets them", figure, at)

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.every_n_epochs is None or not due(trainer, self.every_n_epochs):
            return
        if last_of(trainer) or self.affordable(trainer):
            self.begin(trainer, pl_module, "val")

    def affordable(self, trainer: lightning.Trainer) -> bool:
        """Whether one more drawing stays within the share of the time; the first process decides for all."""
        if self.share is None:
            return True
        number = sum(isinstance(other, Pictures) for other in trainer.callbacks)  # type: ignore[attr-defined]
        within = self.spent + self.cost <= self.share / max(1, number) * (time.monotonic() - self.begun)
        return bool(trainer.strategy.broadcast(within))

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.begin(trainer, pl_module, "test")

    def begin(self, trainer: lightning.Trainer, module: lightning.LightningModule, split: str) -> None:
        self.drawing = self.wanted(trainer) and self.suits(trainer)
        if self.drawing:
            self.start(module, trainer.datamodule, split)  # type: ignore[attr-defined]

    def wanted(self, trainer: lightning.Trainer) -> bool:
        """Whether any logger shows pictures; the same on all processes."""
        return any(getattr(logger, "pictures", hasattr(logger, "log_image")) for logger in trainer.loggers)

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if self.drawing:
            self.collect(pl_module, outputs, batch)

    def on_test_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if self.drawing:
            self.collect(pl_module, outputs, batch)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.end(trainer, pl_module, "val", trainer.current_epoch + 1)

    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.end(trainer, pl_module, "test", trainer.current_epoch)

    def end(self, trainer: lightning.Trainer, module: lightning.LightningModule, split: str, epoch: int) -> None:
        if self.drawing:
            self.drawing = False
            self.gather(module, split)  # before the other processes leave
            self.show(trainer, module, split, epoch)

    def show(self, trainer: lightning.Trainer, module: lightning.LightningModule, split: str, epoch: int) -> None:
        """Draw, and show it to the loggers."""
        if not (loggers := showing(trainer)):
            return
        started, at = time.monotonic(), At(trainer.global_step, epoch)
        with doing(trainer, "drawing pictures"), predicting(module), kept_random_state():
            for tag, shown in self.draw(module, trainer.datamodule, split):  # type: ignore[attr-defined]
                show(loggers, tag, shown, at)
        self.cost = time.monotonic() - started
        self.spent += self.cost


def due(trainer: lightning.Trainer, every_n_epochs: int) -> bool:
    """Whether pictures are drawn at this epoch's validation: every n epochs, and at the last one."""
    epoch, interval = trainer.current_epoch + 1, trainer.check_val_every_n_epoch or 1
    return epoch // every_n_epochs > (epoch - interval) // every_n_epochs or last_of(trainer)


def last_of(trainer: lightning.Trainer) -> bool:
    """Whether this validation is the run's last one."""
    epoch, interval = trainer.current_epoch + 1, trainer.check_val_every_n_epoch or 1
    last = trainer.max_epochs is not None and 0 < trainer.max_epochs < epoch + interval
    task = trainer.lightning_module
    return last or (isinstance(task, Task) and trainer.global_step >= task.plan.total)


def showing(trainer: lightning.Trainer) -> list[RunLogger]:
    """The loggers that show pictures, on the first process."""
    return [logger for logger in loggers_of(trainer) if logger.pictures]


def show(loggers: Iterable[RunLogger], tag: str, shown: Shown, at: At) -> None:
    """A figure, a text, or what knows how it is shown."""
    if isinstance(shown, Figure):
        each(loggers, lambda logger: logger.picture(tag, shown, at))
    elif isinstance(shown, str):
        each(loggers, lambda logger: logger.text(tag, shown, at))
    else:
        each(loggers, lambda logger: shown.show(logger, tag, at))


def evenly(size: int, number: int) -> Tensor:
    """At most so many places in a split of a size, int64 `n`, the first and the last among them.

    >>> evenly(10, 4).tolist(), evenly(2, 4).tolist()
    ([0, 3, 6, 9], [0, 1])
    """
    return torch.linspace(0, size - 1, min(number, size)).round().long()

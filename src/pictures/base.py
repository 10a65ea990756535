"""What pictures on the dashboard have in common: when they are due, what they collect, and how they are written."""

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

import lightning
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from ..analysis.modes import predicting
from ..callbacks.base import Callback
from ..callbacks.curves import writer_of
from ..errors import UserError
from ..storage.random_state import kept_random_state
from ..tasks.base import Task

STAGES = {"val": "validation", "test": "test"}  # how tags name the splits


class Written(Protocol):
    """What is neither a figure nor a text, and knows how it is written."""

    def write(self, writer: SummaryWriter, tag: str, epoch: int) -> None: ...


Shown = Figure | str | Written  # a text is Markdown


class Pictures(Callback):
    """Draws of a validation, every few epochs and in the last one, and once of the test set.

    A subclass has `draw`. Where that needs the batches it has `start` and `collect` as well, and `gather` where it
    needs those of all processes. What it has in `inputs` is drawn of the first training batch. Between the epochs at
    which something is due nothing is computed. All of it happens in eval mode, without gradients and without a trace
    in the random state.

    Args:
        every_n_epochs: epochs between two drawings; None: of the test set alone.

    Attributes:
        task_class: the tasks of which it can draw.
        kind: the kind of data of which alone it draws, see `DataModule.kind`; "": of all.

    Raises:
        UserError: no number of epochs.
    """

    task_class: ClassVar[type[Task]] = Task
    kind: ClassVar[str] = ""

    def __init__(self, every_n_epochs: int | None = None) -> None:
        if every_n_epochs is not None and (
            isinstance(every_n_epochs, bool) or not isinstance(every_n_epochs, int) or every_n_epochs < 1
        ):
            raise UserError(
                f"every_n_epochs={every_n_epochs} of the callback {type(self).__name__} must be a positive whole number"
            )
        self.every_n_epochs = every_n_epochs
        self.drawing = False

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
        """Tags and what is to be seen under them; called on the first process, if there is a TensorBoard."""
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
        if type(self).inputs is not Pictures.inputs:
            self.on_train_batch_start = self.show_inputs  # type: ignore[method-assign]

    def show_inputs(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """In place of a hook, of which Lightning calls none after the first batch: there is nothing to call."""
        self.on_train_batch_start = None  # type: ignore[method-assign,assignment]
        if (writer := writer_of(trainer)) is None:
            return
        with kept_random_state():
            figure = self.inputs(trainer.datamodule, batch)  # type: ignore[attr-defined]
        if figure is not None:
            writer.add_figure("inputs/training samples as the network gets them", figure, trainer.current_epoch)

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.every_n_epochs is not None and due(trainer, self.every_n_epochs):
            self.begin(trainer, pl_module, "val")

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.begin(trainer, pl_module, "test")

    def begin(self, trainer: lightning.Trainer, module: lightning.LightningModule, split: str) -> None:
        self.drawing = bool(trainer.loggers) and self.suits(trainer)
        if self.drawing:
            self.start(module, trainer.datamodule, split)  # type: ignore[attr-defined]

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
        """Draw, and write it, where there is a TensorBoard."""
        if (writer := writer_of(trainer)) is None:
            return
        with predicting(module), kept_random_state():
            for tag, shown in self.draw(module, trainer.datamodule, split):  # type: ignore[attr-defined]
                write(writer, tag, shown, epoch)


def due(trainer: lightning.Trainer, every_n_epochs: int) -> bool:
    """Whether pictures are drawn at this epoch's validation: every n epochs, and at the last one."""
    epoch, interval = trainer.current_epoch + 1, trainer.check_val_every_n_epoch or 1
    last = trainer.max_epochs is not None and 0 < trainer.max_epochs < epoch + interval
    task = trainer.lightning_module
    ended = isinstance(task, Task) and trainer.global_step >= task.plan.total
    return epoch // every_n_epochs > (epoch - interval) // every_n_epochs or last or ended


def write(writer: SummaryWriter, tag: str, shown: Shown, epoch: int) -> None:
    """A figure, a text, or what writes itself."""
    if isinstance(shown, Figure):
        writer.add_figure(tag, shown, epoch)
    elif isinstance(shown, str):
        writer.add_text(tag, shown, epoch)
    else:
        shown.write(writer, tag, epoch)


def evenly(size: int, number: int) -> Tensor:
    """At most so many places in a split of a size, int64 `n`, the first and the last among them.

    >>> evenly(10, 4).tolist(), evenly(2, 4).tolist()
    ([0, 3, 6, 9], [0, 1])
    """
    return torch.linspace(0, size - 1, min(number, size)).round().long()

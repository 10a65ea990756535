"""The beginning of a run: what is in its folder changes only when plan, optimiser and schedule could be made."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning

from ..data.contents import changes
from ..data.counts import describe_counts
from ..errors import UserError
from ..loggers.base import IDS, At, begin_all, loggers_of
from ..storage.checkpoints import keep_as
from ..storage.record import begin
from ..storage.run_folder import require_space, shown
from ..tasks.base import Task
from .assemble import Parts
from .resume import CHANGED
from .summary import describe_run

log = logging.getLogger(__name__)


class Begin(lightning.Callback):
    """Writes config and record, says what is trained; of a run that goes on takes back what lies after its checkpoint.

    Args:
        folder: the run folder.
        plain: the run's config.
        words: what was typed.
        parts: what is trained.
        path: the checkpoint from which the run goes on.
        accepted: whether it does so with data that have changed.

    Attributes:
        begun: whether nothing speaks against the run any more.

    Raises:
        UserError: the disk has no space for the checkpoints; the data have changed.
    """

    def __init__(
        self, folder: Path, plain: dict[str, Any], words: Sequence[str], parts: Parts, path: Path | None,
        *, accepted: bool = False,
    ) -> None:  # fmt: skip
        # Weights and two moments each in last, previous and the one that is being written, and weights in the best.
        require_space(folder, 11 * sum(p.numel() * p.element_size() for p in parts.network.parameters()))
        self.folder, self.plain, self.words, self.parts, self.path = folder, plain, words, parts, path
        self.events = list(folder.glob("events.out.tfevents.*"))
        self.accepted, self.begun = accepted, False

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """When the data are known, and no length of the run has been computed from them."""
        if stage != "fit":
            return
        found = None
        if trainer.is_global_zero:  # the others need not look at a million files
            data = self.parts.data
            found = changes(self.parts.before, data.contents(data.splits))
        if not (found := trainer.strategy.broadcast(found)):
            return
        if not self.accepted:
            raise UserError(
                f"the data are not those of the checkpoint, {found}: put the former ones back, name their folder, or "
                f"go on with these by {CHANGED}=accept"
            )
        if trainer.is_global_zero:
            log.info("the data have changed since the checkpoint: %s; the run goes on with them", found)

    def on_planned(self, trainer: lightning.Trainer, task: Task) -> None:
        """See `Task.configure_optimizers`."""
        self.begun = True
        if not trainer.is_global_zero:
            return
        begin(self.folder, self.plain, self.words)
        run = describe_run(self.plain["name"], self.parts.network, trainer, self.parts.data)
        for line in (run, *self.parts.said, describe_counts(self.parts.data)):
            if line is not None:
                log.info(line)
        if self.path is not None:
            self.go_on(self.path)
        elif self.events:  # of a start in this folder that came to no checkpoint
            from ..loggers.tensorboard import forget_after

            forget_after(self.events, 0, 0)
        known = self.path is not None or (self.folder / IDS).exists()  # to a tracker
        begin_all(loggers_of(trainer), self.plain, At(task.steps_behind, task.epochs_behind) if known else None)

    def go_on(self, path: Path) -> None:
        """The checkpoint is the last one, and the curves end with it."""
        if path.name != "last.ckpt":  # an older one, from which a run killed soon has to go on too
            keep_as(path, path.with_name("last.ckpt"))
        task = self.parts.task
        if self.events:
            from ..loggers.tensorboard import forget_after

            forget_after(self.events, task.epochs_behind, task.steps_behind)
        log.info("going on from %s, after step %d", shown(path), task.steps_behind)
        was, now = task.behind.steps_per_epoch, task.plan.steps_per_epoch
        if was not in (None, now):
            log.info(
                "from epoch %d on an epoch has %d steps where it had %d, and the run ends at step %d",
                task.epochs_behind + 1, now, was, task.plan.total,
            )  # fmt: skip

"""The beginning of a run: what is in its folder changes only when plan, optimiser and schedule could be made."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning

from ..callbacks.curves import forget_after
from ..storage.checkpoints import keep_as
from ..storage.record import begin
from ..storage.run_folder import require_space, shown
from ..tasks.base import Task
from .assemble import Parts
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

    Raises:
        UserError: the disk has no space for the checkpoints.
    """

    def __init__(
        self, folder: Path, plain: dict[str, Any], words: Sequence[str], parts: Parts, path: Path | None
    ) -> None:
        # Weights and two moments each in last, previous and the one that is being written, and weights in the best.
        require_space(folder, 11 * sum(p.numel() * p.element_size() for p in parts.network.parameters()))
        self.folder, self.plain, self.words, self.parts, self.path = folder, plain, words, parts, path
        self.events = list(folder.glob("events.out.tfevents.*"))

    def on_planned(self, trainer: lightning.Trainer, task: Task) -> None:
        """See `Task.configure_optimizers`."""
        if not trainer.is_global_zero:
            return
        begin(self.folder, self.plain, self.words)
        log.info(describe_run(self.plain["name"], self.parts.network, trainer, self.parts.data))
        for line in self.parts.said:
            log.info(line)
        if self.path is not None:
            self.go_on(self.path)

    def go_on(self, path: Path) -> None:
        """The checkpoint is the last one, and the curves end with it."""
        if path.name != "last.ckpt":  # an older one, from which a run killed soon has to go on too
            keep_as(path, path.with_name("last.ckpt"))
        task = self.parts.task
        forget_after(self.events, task.epochs_behind, task.steps_behind)
        log.info("going on from %s, after step %d", shown(path), task.steps_behind)

"""Runs that are to learn one batch by heart."""

from typing import Any

from torchatlas.callbacks.progress import Progress

EPOCHS = 5


class ByHeart(Progress):
    """Ends a run whose loss has been under a share of the first epoch's for five epochs running.

    Args:
        share: of the first loss.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share, self.first, self.running = share, 0.0, 0

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        loss = pl_module.figures["train/loss"]
        self.first = self.first or loss
        self.running = self.running + 1 if loss < self.share * self.first else 0
        if self.running == EPOCHS:
            trainer.should_stop = True

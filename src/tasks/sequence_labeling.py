"""Sequence labelling: one class at each step."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..metrics.figures import Figure, Reports
from .base import MakeOptimizer, MakeSchedule, Task

IGNORED = -100  # of the labels: as in torch's cross-entropy


class SequenceLabeling(Task):
    """One class out of K at each step of a sequence.

    Network: x `b t` or `b t c` -> logits `b t k`. Batch: (x, labels `b t`), where steps labelled -100 count nowhere.
    Figures, of the steps that count: loss (cross-entropy in nats, averaged over steps), accuracy, and, where a label is
    blank, `recall_accuracy`, the accuracy on the steps whose label is not.

    Args:
        network, optimizer, schedule: see `Task`.
        blank: the label that says nothing; None: each label counts alike.
        common: L1 penalty and so on, see `Task`.
    """

    name = "sequence_labeling"
    reports: ClassVar[Reports] = {
        "accuracy": Figure("higher", "%", headline=True, tabled=True),
        "recall_accuracy": Figure("higher", "%", tabled=True),
    }

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        blank: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(network, optimizer, schedule, **common)
        self.blank = blank

    def step(self, batch: Any) -> dict[str, Tensor]:
        x, labels = batch
        logits = self.network(x)
        counted = labels != IGNORED
        steps = counted.sum().clamp(min=1)
        total = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        right = (logits.argmax(2) == labels) & counted
        out = {"loss": total / steps, "metrics/accuracy": right.sum() / steps, "logits": logits.detach()}
        if self.blank is not None:
            said = counted & (labels != self.blank)
            out |= {"metrics/recalled": (right & said).sum() / steps, "metrics/said": said.sum() / steps}
        return out

    def weight(self, batch: Any) -> Tensor:
        """The steps that count."""
        counted: Tensor = (batch[1] != IGNORED).sum()
        return counted

    def derive(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        if "said" not in means:
            return means
        said, recalled = means.pop("said"), means.pop("recalled")
        return means | {"recall_accuracy": recalled / said.clamp(min=torch.finfo(said.dtype).tiny)}

"""Classification with cross-entropy."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..metrics.classification import accuracy, agreement, calibration_gaps, confusion
from ..metrics.figures import Figure, Reports
from ..models.contract import Claims
from .base import MakeOptimizer, MakeSchedule, Task

MAX_CLASSES = 20  # of texts, for which all confusions are counted


class Classification(Task):
    """One class out of K for each input.

    Network: x -> logits `b k`, and in training those of auxiliary heads behind them. Batch: (x, labels `b`, or, where
    images were mixed, shares of the classes `b k`); of sequences that are padded behind, (x, lengths `b`, labels), with
    lengths that go to networks whose `variable_length` is true; of pairs of texts, (x, lengths, segments `b t`,
    labels), with segments that go to networks whose `paired` is true. Figures: loss (nats), accuracy (share of right
    ones; of mixed images the larger share counts) and in evaluation the expected calibration error (Guo et al. 2017,
    arXiv:1706.04599, eq. 5, with 15 bins), and of texts with at most 20 classes those of `agreement`.

    Args:
        network, optimizer, schedule: see `Task`. A network with auxiliary heads has `auxiliary_weight`, the weight
            of their losses.
        label_smoothing: e of Szegedy et al. 2015 (arXiv:1512.00567, section 7): the target is (1-e) for the
            true class plus e/K for each. Used in training only: validation and test losses are plain.
        monitor: validation figure by which the best weights are chosen: "loss", which a small validation set
            tells more finely, or "accuracy", as most reports on large sets do.
        common: L1 penalty and so on, see `Task`.

    Attributes:
        averaged: in evaluation, how the probabilities of one input are averaged over several forward passes.

    Raises:
        ValueError: an unknown monitor.
    """

    name = "classification"
    reports: ClassVar[Reports] = {
        "accuracy": Figure("higher", "%", headline=True, chooses=True, tabled=True),
        "calibration_error": Figure("lower"),
        "macro_f1": Figure("higher"),
        "f1": Figure("higher"),
        "matthews_correlation": Figure("higher"),
    }

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        label_smoothing: float = 0.0,
        monitor: Literal["loss", "accuracy"] = "loss",
        **common: Any,
    ) -> None:
        super().__init__(network, optimizer, schedule, **common)
        self.monitor, self.mode = self.compared_by({"monitor": monitor})
        self.label_smoothing = label_smoothing
        self.averaged: Callable[..., Tensor] | None = None

    def step(self, batch: Any) -> dict[str, Tensor]:
        x, *lengths, labels = batch
        inputs = inputs_of(self.claims, x, lengths)
        if self.training:
            output = self.network(*inputs)
            logits, *auxiliary = output if isinstance(output, tuple) else (output,)
            loss = self.criterion(x, lengths, logits, auxiliary, labels)
            return {"loss": loss, "metrics/accuracy": accuracy(logits, labels), "logits": logits.detach()}
        logits = self.network(*inputs) if self.averaged is None else log_mean(self.averaged(self.network, *inputs))
        out = {
            "loss": F.cross_entropy(logits, labels),
            "metrics/accuracy": accuracy(logits, labels),
            "metrics/calibration_gaps": calibration_gaps(logits, labels),
            "logits": logits.detach(),
        }
        if not x.is_floating_point() and logits.shape[1] <= MAX_CLASSES:
            out["metrics/confusion"] = confusion(logits, labels)
        return out

    def criterion(
        self, x: Tensor, lengths: list[Tensor], logits: Tensor, auxiliary: list[Tensor], labels: Tensor
    ) -> Tensor:
        """The loss of training."""
        return self.of_labels(logits, auxiliary, labels)

    def of_labels(self, logits: Tensor, auxiliary: list[Tensor], labels: Tensor, share: float = 1.0) -> Tensor:
        """Cross-entropy with smoothed labels, times `share`, and that of auxiliary heads with their weight."""
        loss = share * F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        weight = self.claims.auxiliary_weight
        for other in auxiliary:
            loss = loss + weight * F.cross_entropy(other, labels, label_smoothing=self.label_smoothing)
        return loss

    def derive(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        gaps, confused = means.pop("calibration_gaps", None), means.pop("confusion", None)
        if gaps is not None:
            means = means | {"calibration_error": gaps.abs().sum()}
        return means if confused is None else means | agreement(confused)

    @torch.no_grad()
    def predict(self, *inputs: Tensor) -> Tensor:
        """Class probabilities `b k` of inputs as the network takes them; in eval mode."""
        return self.network.eval()(*inputs).float().softmax(1)  # type: ignore[no-any-return]


def inputs_of(network: Claims, x: Tensor, lengths: list[Tensor]) -> tuple[Tensor, ...]:
    """What a network gets of a batch: the lengths and the segments too, where there are any and it can use them."""
    taken = 2 if network.paired else 1 if network.variable_length else 0
    return (x, *lengths[:taken])


def log_mean(probabilities: Tensor) -> Tensor:
    """The logarithm of the mean over passes, `passes b k` to `b k`, finite where a probability has become 0."""
    return probabilities.mean(0).clamp(min=torch.finfo(probabilities.dtype).tiny).log()

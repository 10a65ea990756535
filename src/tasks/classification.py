"""Classification with cross-entropy."""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..metrics.classification import accuracy, agreement, calibration_gaps, inverse_frequency, tallies
from ..metrics.figures import Figure, Reports
from ..models.contract import Claims
from .base import Chosen, MakeOptimizer, MakeSchedule, Task
from .losses import LossFunction, chosen

log = logging.getLogger(__name__)


class Classification(Task):
    """One class out of K for each input.

    Network: x -> logits `b k`, and in training those of auxiliary heads behind them. Batch: (x, labels `b`, or, where
    images were mixed, shares of the classes `b k`); of sequences that are padded behind, (x, lengths `b`, labels), with
    lengths that go to networks whose `variable_length` is true; of pairs of texts, (x, lengths, segments `b t`,
    labels), with segments that go to networks whose `paired` is true. Figures: loss (nats), accuracy (share of right
    ones; of mixed images the larger share counts) and in evaluation the expected calibration error (Guo et al. 2017,
    arXiv:1706.04599, eq. 5, with 15 bins), balanced accuracy and the others of `agreement`.

    Args:
        network, optimizer, schedule: see `Task`. A network with auxiliary heads has `auxiliary_weight`, the weight
            of their losses.
        label_smoothing: e of Szegedy et al. 2015 (arXiv:1512.00567, section 7): the target is (1-e) for the
            true class plus e/K for each. Used in training only: validation and test losses are plain.
        class_weights: what a sample counts in the loss of training, by its class: a number for each, "balanced", in
            inverse proportion to how often the class is in training, or None, all alike. They are scaled to the mean 1
            over the training samples, so that the learning rate means what it does without. Losses of evaluation are
            without weights, and runs with others compare.
        loss: one in place of the cross-entropy, in evaluation too, of logits `b k` and labels `b`, or shares `b k` of
            mixed images; see `losses`. Evaluation then has the cross-entropy as a figure of its own.
        monitor: validation figure by which the best weights are chosen: "loss", which a small validation set
            tells more finely, "accuracy", as most reports on large sets do, or, where classes are rare,
            "balanced_accuracy", "macro_f1" or "matthews_correlation".
        common: L1 penalty and so on, see `Task`.

    Attributes:
        averaged: in evaluation, how the probabilities of one input are averaged over several forward passes.

    Raises:
        ValueError: an unknown monitor, or weights that cannot be.
    """

    name = "classification"
    takes_loss = True
    reports: ClassVar[Reports] = {
        "accuracy": Figure("higher", "%", headline=True, chooses=True, tabled=True),
        "cross_entropy": Figure("lower"),
        "calibration_error": Figure("lower"),
        "balanced_accuracy": Figure("higher", "%", chooses=True),
        "macro_f1": Figure("higher", chooses=True),
        "f1": Figure("higher"),
        "matthews_correlation": Figure("higher", chooses=True),
    }

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        label_smoothing: float = 0.0,
        class_weights: str | Sequence[float] | None = None,
        loss: LossFunction | None = None,
        monitor: Literal["loss", "accuracy", "balanced_accuracy", "macro_f1", "matthews_correlation"] = "loss",
        **common: Any,
    ) -> None:
        asked_weights = _checked(class_weights)
        super().__init__(network, optimizer, schedule, **common)
        self.monitor, self.mode = self.compared_by({"monitor": monitor})
        self.label_smoothing, self.asked_weights = label_smoothing, asked_weights
        self.chosen_loss = chosen(loss, "classes")
        if loss is not None and (label_smoothing or class_weights is not None):
            raise ValueError(
                "task.label_smoothing and task.class_weights are those of the cross-entropy: give them to the loss in "
                "its place, as in task.loss={_target_:torch.nn.CrossEntropyLoss,label_smoothing:0.1}"
            )
        self.class_weights: Tensor | None = None  # no buffer, which would lose digits in pure half precision
        self.averaged: Callable[..., Tensor] | None = None

    @classmethod
    def check(cls, chosen: Chosen) -> None:
        super().check(chosen)
        config = chosen.config
        if config.task.get("class_weights") == config.data.get("sampling") == "balanced":
            raise UserError(
                "task.class_weights=balanced and data.sampling=balanced each balance the classes, and together rare "
                "ones count twice: leave one of them out"
            )

    def inputs(self, batch: Any) -> tuple[Tensor, ...]:
        x, *lengths, _ = batch
        return inputs_of(self.claims, x, lengths)

    def step(self, batch: Any) -> dict[str, Tensor]:
        x, *lengths, labels = batch
        inputs = self.inputs(batch)
        if self.training:
            output = self.network(*inputs)
            logits, *auxiliary = output if isinstance(output, tuple) else (output,)
            require_logits(logits, labels)
            loss = self.criterion(x, lengths, logits, auxiliary, labels)
            return {"loss": loss, "metrics/accuracy": accuracy(logits, labels), "logits": logits.detach()}
        if self.averaged is not None and self.chosen_loss is not None:
            raise UserError(
                f"{self.chosen_loss.said} is no loss of probabilities, which several passes average: leave them out"
            )
        logits = self.network(*inputs) if self.averaged is None else log_mean(self.averaged(self.network, *inputs))
        plain = F.cross_entropy(logits, labels)
        loss, other = plain, dict[str, Tensor]()
        if self.chosen_loss is not None:
            loss, other = self.chosen_loss(logits, labels), {"metrics/cross_entropy": plain}
        return {
            "loss": loss,
            **other,
            "metrics/accuracy": accuracy(logits, labels),
            "metrics/calibration_gaps": calibration_gaps(logits, labels),
            "metrics/tallies": tallies(logits.detach(), labels),
            "logits": logits.detach(),
        }

    def criterion(
        self, x: Tensor, lengths: list[Tensor], logits: Tensor, auxiliary: list[Tensor], labels: Tensor
    ) -> Tensor:
        """The loss of training."""
        return self.of_labels(logits, auxiliary, labels)

    def of_labels(self, logits: Tensor, auxiliary: list[Tensor], labels: Tensor, share: float = 1.0) -> Tensor:
        """Cross-entropy with smoothed labels, times `share`, and that of auxiliary heads with their weight."""
        loss = share * self.cross_entropy(logits, labels)
        weight = self.claims.auxiliary_weight
        for other in auxiliary:
            loss = loss + weight * self.cross_entropy(other, labels)
        return loss

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over the batch, with smoothed labels and, where there are any, the weights of the classes.

        Where a loss is chosen in its place, that one.
        """
        if self.chosen_loss is not None:
            return self.chosen_loss(logits, labels)  # type: ignore[no-any-return]
        if self.class_weights is None:
            return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        if self.class_weights.device != logits.device:
            self.class_weights = self.class_weights.to(logits.device)
        total = F.cross_entropy(
            logits, labels, self.class_weights.to(logits.dtype), reduction="sum", label_smoothing=self.label_smoothing
        )
        return total / len(labels)

    def balance_classes(self, data: Any) -> None:
        """Make the weights that are asked for from the classes of the training samples.

        Raises:
            UserError: the data have another number of classes, or none for each sample.
        """
        asked = self.asked_weights
        if asked is None:
            return
        counts = self.required_data().class_counts("train") if data is None else data.class_counts("train")
        if not isinstance(asked, str) and len(asked) != len(counts):
            raise UserError(f"task.class_weights has {len(asked)} numbers where there are {len(counts)} classes")
        weights = inverse_frequency(counts) if isinstance(asked, str) else torch.tensor(asked)
        drawn = counts.clamp(max=1) if data.sampling == "balanced" else counts
        mean = (weights.double() * drawn).sum() / drawn.sum()
        if not mean > 0:
            raise UserError(f"task.class_weights={asked} leaves no training sample that counts")
        self.class_weights = (weights / mean).float()
        if self._trainer is None or self.trainer.is_global_zero:
            log.info("%s", describe_weights(self.class_weights, counts, data.classes))

    def derive(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        gaps, counts = means.pop("calibration_gaps", None), means.pop("tallies", None)
        if gaps is not None:
            means = means | {"calibration_error": gaps.abs().sum()}
        return means if counts is None else means | agreement(counts)

    @torch.no_grad()
    def predict(self, *inputs: Tensor) -> Tensor:
        """Class probabilities `b k` of inputs as the network takes them; in eval mode."""
        return self.network.eval()(*inputs).float().softmax(1)  # type: ignore[no-any-return]


def _checked(given: str | Sequence[float] | None) -> str | list[float] | None:
    """Weights of classes as they may be given."""
    if isinstance(given, str):
        if given != "balanced":
            raise ValueError(f"task.class_weights={given} must be balanced, a list or null")
        return given
    if given is None:
        return None
    weights = [float(weight) for weight in given]
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise ValueError(f"task.class_weights={weights} must be numbers from 0, not all of them 0")
    return weights


def describe_weights(weights: Tensor, counts: Tensor, names: Sequence[str]) -> str:
    """One line: which class counts most and which least, with how many samples."""
    places = (counts > 0).nonzero()[:, 0]
    low, high = places[weights[places].argmin()], places[weights[places].argmax()]
    said = [f"{float(weights[k]):.3g} for {names[k]} ({int(counts[k])})" for k in (int(low), int(high))]
    return f"weights of the classes in the loss, with their training samples: from {said[0]} to {said[1]}"


def require_logits(logits: Tensor, labels: Tensor) -> None:
    """Refuse an answer that is no row of logits for each sample.

    Raises:
        UserError: it shows the shape.
    """
    if not isinstance(logits, Tensor):
        raise UserError(f"the network gives {type(logits).__name__} where logits have to be, samples x classes")
    if logits.ndim != 2 or len(logits) != len(labels):
        raise UserError(
            f"the network gives {list(logits.shape)} for {len(labels)} samples where logits have to be, a row for each "
            "sample with a number for each class"
        )


def inputs_of(network: Claims, x: Tensor, lengths: list[Tensor]) -> tuple[Tensor, ...]:
    """What a network gets of a batch: the lengths and the segments too, where there are any and it can use them."""
    taken = 2 if network.paired else 1 if network.variable_length else 0
    return (x, *lengths[:taken])


def log_mean(probabilities: Tensor) -> Tensor:
    """The logarithm of the mean over passes, `passes b k` to `b k`, finite where a probability has become 0."""
    return probabilities.mean(0).clamp(min=torch.finfo(probabilities.dtype).tiny).log()

"""Classification with cross-entropy."""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import MakeOptimizer, MakeSchedule, Task

BINS = 15  # of the calibration error, as in Guo et al. 2017
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
    headline = ("accuracy",)

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
        if monitor not in ("loss", "accuracy"):
            raise ValueError(f"task.monitor={monitor} must be loss or accuracy")
        self.monitor, self.mode = monitor, "max" if monitor == "accuracy" else "min"
        self.label_smoothing = label_smoothing
        self.averaged: Callable[..., Tensor] | None = None

    def step(self, batch: Any) -> dict[str, Tensor]:
        x, *lengths, labels = batch
        inputs = inputs_of(self.network, x, lengths)
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
        for other in auxiliary:
            weight: Any = self.network.auxiliary_weight
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


def inputs_of(network: nn.Module, x: Tensor, lengths: list[Tensor]) -> tuple[Tensor, ...]:
    """What a network gets of a batch: the lengths and the segments too, where there are any and it can use them."""
    taken = 2 if getattr(network, "paired", False) else 1 if getattr(network, "variable_length", False) else 0
    return (x, *lengths[:taken])


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of samples whose largest logit is that of the label, or of the largest share in a mixture."""
    classes = labels if labels.ndim == 1 else labels.argmax(1)
    return (logits.argmax(1) == classes).float().mean()


def calibration_gaps(logits: Tensor, labels: Tensor) -> Tensor:
    """For each of 15 bins of confidence, the batch's mean of confidence minus hit, over the samples in the bin.

    Averaged over batches, the sum of its absolute values is the expected calibration error (Guo et al. 2017, eq. 5).
    """
    confidence, predicted = logits.detach().float().softmax(1).max(1)
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gaps = torch.zeros(BINS, dtype=torch.float32, device=logits.device)
    return gaps.index_add(0, bins, confidence - (predicted == labels).to(torch.float32)) / len(labels)


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """For each class, and each class that was said, the share of the batch, `k k`."""
    k = logits.shape[1]
    pairs = F.one_hot(labels * k + logits.argmax(1), k * k)
    return pairs.float().mean(0).view(k, k)


def agreement(confused: Tensor) -> dict[str, Tensor]:
    """Figures that a rare class does not vanish in.

    Args:
        confused: shares of all samples by class and by what was said, `k k`.

    Returns:
        "macro_f1", the mean over classes of F1, the harmonic mean of precision and recall (0 for a class that neither
        is there nor was said); of two classes "f1", that of the second one, as GLUE reports it of MRPC and QQP; and
        "matthews_correlation" (Matthews 1975; for any number of classes Gorodkin 2004, "Comparing two K-category
        assignments by a K-category correlation coefficient", eq. 8), from -1 to 1, 0 where it is not defined.
    """
    tiny = torch.finfo(confused.dtype).tiny
    right, there, said = confused.diagonal(), confused.sum(1), confused.sum(0)
    f1 = 2 * right / (there + said).clamp(min=tiny)
    covariance = right.sum() - there @ said
    spread = ((1 - there @ there) * (1 - said @ said)).clamp(min=0).sqrt()
    defined = spread > 1e-6
    figures = {"macro_f1": f1.mean()} | ({"f1": f1[1]} if len(f1) == 2 else {})
    return figures | {"matthews_correlation": torch.where(defined, covariance / spread.clamp(min=1e-6), 0.0)}


def log_mean(probabilities: Tensor) -> Tensor:
    """The logarithm of the mean over passes, `passes b k` to `b k`, finite where a probability has become 0."""
    return probabilities.mean(0).clamp(min=torch.finfo(probabilities.dtype).tiny).log()


def views(kind: str) -> list[Callable[[Tensor], Tensor]]:
    """Versions of images `b c h w` for test-time augmentation: the images, mirrored ones, shifted ones.

    Args:
        kind: "none"; "flip", the images and their mirror images; "ten", both in the middle and shifted by an eighth of
            the side towards each corner, with zeros from outside (the ten crops of Krizhevsky et al. 2012, section 4.1,
            for images that have no margin).
    """

    def shifted(x: Tensor, down: int, right: int) -> Tensor:
        h, w = x.shape[-2:]
        dy, dx = down * (h // 8), right * (w // 8)
        y = torch.zeros_like(x)
        y[..., max(dy, 0) : h + min(dy, 0), max(dx, 0) : w + min(dx, 0)] = x[
            ..., max(-dy, 0) : h + min(-dy, 0), max(-dx, 0) : w + min(-dx, 0)
        ]
        return y

    def view(down: int, right: int, mirror: bool) -> Callable[[Tensor], Tensor]:
        return lambda x: shifted(x.flip(-1) if mirror else x, down, right)

    places = [(0, 0)] if kind != "ten" else [(0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]
    return [
        view(down, right, mirror)
        for down, right in places
        for mirror in ((False,) if kind == "none" else (False, True))
    ]


def drops(module: nn.Module) -> bool:
    """Whether a module drops something in training: a dropout layer, or attention that drops weights."""
    return isinstance(module, nn.modules.dropout._DropoutNd) or (
        hasattr(module, "written_out") and bool(getattr(module, "dropout", 0.0))
    )


def passes(kind: str, samples: int) -> Callable[..., Tensor]:
    """Several forward passes of one input: test-time augmentation, Monte Carlo dropout, or both.

    Args:
        kind: see `views`.
        samples: forward passes of each view with the network's dropout layers as in training (Gal and Ghahramani 2015,
            arXiv:1506.02142, section 4); 0 leaves dropout out.

    Returns:
        A function of a network in eval mode and its inputs, `b ...` and perhaps lengths, that gives probabilities
        `passes b k`.
    """

    def run(network: nn.Module, x: Tensor, *lengths: Tensor) -> Tensor:
        dropouts = [m for m in network.modules() if drops(m)] if samples else []
        for module in dropouts:
            module.training = True  # of it alone, and not of the layers in it
        try:
            found = [
                network(view(x), *lengths).float().softmax(1) for view in views(kind) for _ in range(max(1, samples))
            ]
        finally:
            for module in dropouts:
                module.training = False
        return torch.stack(found)

    return run

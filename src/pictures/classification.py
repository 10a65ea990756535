"""TensorBoard: what a classifier sees, says, and gets wrong."""

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassPrecisionRecallCurve, MulticlassROC

from ..drawing.classes import draw_confusion, draw_curves, draw_per_class, draw_reliability
from ..drawing.images import draw_images
from ..drawing.sequences import draw_sequences
from ..drawing.text import MAX_CLASSES_WITH_NAMES, plain
from ..metrics.classification import BINS, area_under, average_precision
from ..models.contract import OfImages
from ..tasks.base import Task
from .base import STAGES, Pictures, Shown

INPUTS = 32  # training samples that are drawn
PICTURES = 16
TITLES = {"right": "right", "wrong": "wrong", "confident": "most confident mistakes"}


class ClassificationPictures(Pictures):
    """Pictures of a classifier on validation, and once on the test set.

    Input samples (images, or sequences `t c`) as the network gets them, with labels; right, wrong and the most
    confident wrong predictions; confusion matrix; precision, recall and F1 of each class; ROC and precision-recall
    curves; a reliability diagram; the first layer's filters. Drawn every `every_n_epochs` and in the last epoch;
    between those nothing is computed.

    Args:
        every_n_epochs: epochs between two drawings.
        share: see `Pictures`.
        thresholds: points of the ROC and precision-recall curves with more than 20 classes; with fewer the
            curves are exact.
    """

    def __init__(self, every_n_epochs: int = 10, share: float | None = 0.1, thresholds: int = 101) -> None:
        super().__init__(every_n_epochs, share)
        self.thresholds = thresholds

    def inputs(self, data: Any, batch: Any) -> Figure | None:
        x, *lengths, labels = batch
        if x.ndim not in (3, 4):
            return None
        names = names_of(data)
        titles = [describe_label(label, names) for label in labels[:INPUTS].cpu()]
        return draw_samples(data, unpadded(x[:INPUTS].cpu(), *(n[:INPUTS] for n in lengths)), titles)

    def start(self, task: Task, data: Any, split: str) -> None:
        k = data.num_classes
        options: dict[str, Any] = {"num_classes": k, "validate_args": False}
        thresholds = None if k <= MAX_CLASSES_WITH_NAMES else self.thresholds
        self.confusion = MulticlassConfusionMatrix(**options).to(task.device)
        self.roc: Any = MulticlassROC(thresholds=thresholds, **options).to(task.device)
        self.pr: Any = MulticlassPrecisionRecallCurve(thresholds=thresholds, **options).to(task.device)
        self.calibrated = False  # whether the task takes its logits for log-probabilities
        # samples, their confidence, their hits
        self.bins = torch.zeros(3, BINS, dtype=torch.float32, device=task.device)
        self.samples: dict[str, list[tuple[float, Tensor, int, int]]] = {kind: [] for kind in TITLES}

    def collect(self, task: Task, outputs: Any, batch: Any) -> None:
        x, *lengths, labels = batch
        probabilities = outputs["logits"].float().softmax(1)
        for metric in (self.confusion, self.roc, self.pr):
            metric.update(probabilities, labels)
        confidence, predicted = probabilities.max(1)
        wrong = predicted != labels
        self.calibrated = self.calibrated or "metrics/calibration_gaps" in outputs
        place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
        self.bins.index_add_(1, place, torch.stack([torch.ones_like(confidence), confidence, (~wrong).float()]))
        if x.ndim not in (3, 4):
            return
        for kind, where in (("right", ~wrong), ("wrong", wrong)):
            missing = PICTURES - len(self.samples[kind])
            self.keep(kind, where.nonzero()[:missing, 0], x, lengths, confidence, predicted, labels)
        mistakes = wrong.nonzero()[:, 0]
        self.keep("confident", mistakes[confidence[mistakes].argsort(descending=True)[:PICTURES]],
                  x, lengths, confidence, predicted, labels)  # fmt: skip
        self.samples["confident"] = sorted(self.samples["confident"], key=lambda s: -s[0])[:PICTURES]

    def keep(
        self, kind: str, where: Tensor, x: Tensor, lengths: list[Tensor], confidence: Tensor, predicted: Tensor,
        labels: Tensor,
    ) -> None:  # fmt: skip
        chosen = unpadded(x[where].cpu(), *(n[where] for n in lengths))
        for i, sample in zip(where.tolist(), chosen, strict=True):
            self.samples[kind].append((float(confidence[i]), sample, int(predicted[i]), int(labels[i])))

    def gather(self, task: Task, split: str) -> None:
        self.counts = self.confusion.compute().cpu()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes without a sample; see below
            fpr, tpr, _ = self.roc.compute()
            precision, recall, _ = self.pr.compute()
        # A class of which there is no sample has an undefined curve (NaN): it is drawn at 0.
        self.roc_curves = [(x.cpu().nan_to_num(0), y.cpu().nan_to_num(0)) for x, y in zip(fpr, tpr, strict=True)]
        self.pr_curves = [
            (x.cpu().nan_to_num(0), y.cpu().nan_to_num(1)) for x, y in zip(recall, precision, strict=True)
        ]
        self.bins = task.trainer.strategy.reduce(self.bins, reduce_op="sum")  # type: ignore[assignment]

    def draw(self, task: Task, data: Any, split: str) -> Iterator[tuple[str, Shown]]:
        stage, names = STAGES[split], names_of(data)
        for kind, title in TITLES.items():
            if samples := self.samples[kind]:
                titles = [
                    f"{names[p]} {100 * c:.0f}%" + ("" if p == y else f"\nis {names[y]}") for c, _, p, y in samples
                ]
                yield f"predictions {stage}/{title}", draw_samples(data, [x for _, x, _, _ in samples], titles)
        yield f"{stage}/confusion matrix", draw_confusion(self.counts, names)
        yield f"{stage}/per class", draw_per_class(self.counts, names)
        if self.calibrated:
            yield f"{stage}/reliability", draw_reliability(self.bins.cpu())
        labels = ("false positive rate", "true positive rate", "area under the curve")
        areas = [area_under(*curve) for curve in self.roc_curves]
        yield f"{stage}/ROC", draw_curves(self.roc_curves, areas, names, labels)
        labels = ("recall", "precision", "average precision")
        areas = [average_precision(*curve) for curve in self.pr_curves]
        yield f"{stage}/precision and recall", draw_curves(self.pr_curves, areas, names, labels)
        if split == "val" and (filters := first_filters(task.network)) is not None:
            yield "network/first-layer filters", draw_images(filters)


def first_filters(network: nn.Module) -> Tensor | None:
    """The weights of the first layer that sees the image, `n c h w` from 0 to 1, of at most 64 filters."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels in (1, 3):
            weights = layer.weight
        elif isinstance(layer, nn.Linear) and isinstance(network, OfImages):
            size, channels = network.image_size, network.in_channels
            if layer.in_features != channels * size**2 or channels not in (1, 3):
                return None
            weights = layer.weight.view(-1, channels, size, size)
        else:
            continue
        filters = weights.detach().float().cpu()[:64]
        low, high = filters.amin((1, 2, 3), keepdim=True), filters.amax((1, 2, 3), keepdim=True)
        return (filters - low) / (high - low + 1e-8)
    return None


def names_of(data: Any) -> list[str]:
    """The names of the classes, for figures."""
    return [plain(name) for name in data.classes]


def draw_samples(data: Any, samples: list[Tensor], titles: list[str]) -> Figure:
    """Images as they are seen, sequences as lines or, with many channels, as maps."""
    if samples[0].ndim == 3:
        return draw_images(visible(data, torch.stack(samples)), titles)
    return draw_sequences(samples, titles)


def visible(data: Any, images: Tensor) -> Tensor:
    """Normalised images back on the scale 0..1; each from its least to its most where data do not say how they were."""
    if not hasattr(data, "mean"):
        levels = images.float().cpu() if images.shape[1] in (1, 3) else images.float().cpu().mean(1, keepdim=True)
        low, high = levels.amin((1, 2, 3), True), levels.amax((1, 2, 3), True)
        return (levels - low) / (high - low).clamp_min(1e-8)
    mean, std = (torch.tensor(v)[:, None, None] for v in (data.mean, data.std))
    return (images.float().cpu() * std + mean).clamp(0, 1)


def describe_label(label: Tensor, names: list[str]) -> str:
    """The class's name; of mixed images the shares of the two largest classes."""
    if label.ndim == 0:
        return names[int(label)]
    shares, places = label.topk(min(2, len(names)))
    mixed = [f"{s:.1f} {names[k]}" for s, k in zip(shares.tolist(), places.tolist(), strict=True) if s >= 0.05]
    return "\n".join(mixed) if len(mixed) > 1 else names[int(places[0])]


def unpadded(x: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
    """The samples of a batch one by one, sequences `t c` without the steps behind their ends."""
    if lengths is None:
        return list(x)
    return [sample[:n] for sample, n in zip(x, lengths.tolist(), strict=True)]

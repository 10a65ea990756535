"""TensorBoard: what a classifier sees, says, and gets wrong."""

import warnings
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.tensorboard.writer import SummaryWriter
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassPrecisionRecallCurve, MulticlassROC

from ..callbacks.base import Callback
from ..callbacks.curves import due, writer_of
from ..drawing.images import draw_images
from ..metrics.classification import BINS

MAX_CLASSES_WITH_NAMES = 20
PICTURES = 16
MAX_LINES = 6  # channels of a sequence that are drawn as lines


class ClassificationPictures(Callback):
    """Pictures of a classifier on validation, and once on the test set.

    Input samples (images, or sequences `t c`) as the network gets them, with labels; right, wrong and the most
    confident wrong predictions; confusion matrix; precision, recall and F1 of each class; ROC and precision-recall
    curves; a reliability diagram; the first layer's filters. Drawn every `every_n_epochs` and in the last epoch;
    between those nothing is computed.

    Args:
        every_n_epochs: epochs between two drawings.
        thresholds: points of the ROC and precision-recall curves with more than 20 classes; with fewer the
            curves are exact.
    """

    def __init__(self, every_n_epochs: int = 10, thresholds: int = 101) -> None:
        self.every_n_epochs, self.thresholds = every_n_epochs, thresholds
        self.collecting = False

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.inputs_shown = False

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self.inputs_shown:
            self.inputs_shown = True
            x, *lengths, labels = batch
            if (writer := writer_of(trainer)) and x.ndim in (3, 4):
                names = self.names(trainer)
                titles = [describe_label(label, names) for label in labels[:32].cpu()]
                figure = self.draw_inputs(trainer, unpadded(x[:32].cpu(), *(n[:32] for n in lengths)), titles)
                writer.add_figure("inputs/training samples as the network gets them", figure, trainer.current_epoch)

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.start(trainer, pl_module, due=due(trainer, self.every_n_epochs))

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.start(trainer, pl_module, due=True)

    def start(self, trainer: lightning.Trainer, module: lightning.LightningModule, *, due: bool) -> None:
        self.collecting = due and bool(trainer.loggers)
        if not self.collecting:
            return
        k: int = trainer.datamodule.num_classes  # type: ignore[attr-defined]
        options: dict[str, Any] = {"num_classes": k, "validate_args": False}
        thresholds = None if k <= MAX_CLASSES_WITH_NAMES else self.thresholds
        self.confusion = MulticlassConfusionMatrix(**options).to(module.device)
        self.roc: Any = MulticlassROC(thresholds=thresholds, **options).to(module.device)
        self.pr: Any = MulticlassPrecisionRecallCurve(thresholds=thresholds, **options).to(module.device)
        self.calibrated = False  # whether the task takes its logits for log-probabilities
        self.bins = torch.zeros(
            3, BINS, dtype=torch.float32, device=module.device
        )  # samples, their confidence, their hits
        self.samples: dict[str, list[tuple[float, Tensor, int, int]]] = {"right": [], "wrong": [], "confident": []}

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        self.collect(outputs, batch)

    def on_test_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        self.collect(outputs, batch)

    def collect(self, outputs: Any, batch: Any) -> None:
        if not self.collecting:
            return
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

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.draw(trainer, pl_module, "validation")

    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.draw(trainer, pl_module, "test")

    def draw(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        if not self.collecting:
            return
        self.collecting = False
        counts = self.confusion.compute().cpu()  # gathers from all processes: before the others leave
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes without a sample; see below
            fpr, tpr, _ = self.roc.compute()
            precision, recall, _ = self.pr.compute()
        bins: Tensor = trainer.strategy.reduce(self.bins, reduce_op="sum").cpu()  # type: ignore[union-attr]
        writer = writer_of(trainer)
        if writer is None:
            return
        names, epoch = self.names(trainer), trainer.current_epoch + (stage == "validation")
        for kind, title in (("right", "right"), ("wrong", "wrong"), ("confident", "most confident mistakes")):
            if samples := self.samples[kind]:
                titles = [
                    f"{names[p]} {100 * c:.0f}%" + ("" if p == y else f"\nis {names[y]}") for c, _, p, y in samples
                ]
                figure = self.draw_inputs(trainer, [x for _, x, _, _ in samples], titles)
                writer.add_figure(f"predictions {stage}/{title}", figure, epoch)
        writer.add_figure(f"{stage}/confusion matrix", draw_confusion(counts, names), epoch)
        writer.add_figure(f"{stage}/per class", draw_per_class(counts, names), epoch)
        if self.calibrated:
            writer.add_figure(f"{stage}/reliability", draw_reliability(bins), epoch)
        # A class of which there is no sample has an undefined curve (NaN): it is drawn at 0.
        roc = [(x.cpu().nan_to_num(0), y.cpu().nan_to_num(0)) for x, y in zip(fpr, tpr, strict=True)]
        pr = [(x.cpu().nan_to_num(0), y.cpu().nan_to_num(1)) for x, y in zip(recall, precision, strict=True)]
        labels = ("false positive rate", "true positive rate", "area under the curve")
        writer.add_figure(f"{stage}/ROC", draw_curves(roc, [area_under(*c) for c in roc], names, labels), epoch)
        labels = ("recall", "precision", "average precision")
        figure = draw_curves(pr, [average_precision(*c) for c in pr], names, labels)
        writer.add_figure(f"{stage}/precision and recall", figure, epoch)
        if stage == "validation":
            self.draw_filters(writer, module, epoch)

    def draw_filters(self, writer: SummaryWriter, module: lightning.LightningModule, epoch: int) -> None:
        """The weights of the first layer that sees the image."""
        network: Any = module.network
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and layer.in_channels in (1, 3):
                weights = layer.weight
            elif isinstance(layer, nn.Linear) and hasattr(network, "image_size"):
                size, channels = network.image_size, network.in_channels
                if layer.in_features != channels * size**2 or channels not in (1, 3):
                    return
                weights = layer.weight.view(-1, channels, size, size)
            else:
                continue
            filters = weights.detach().float().cpu()[:64]
            low, high = filters.amin((1, 2, 3), keepdim=True), filters.amax((1, 2, 3), keepdim=True)
            writer.add_figure("network/first-layer filters", draw_images((filters - low) / (high - low + 1e-8)), epoch)
            return

    def names(self, trainer: lightning.Trainer) -> list[str]:
        # A dollar sign would begin a formula in matplotlib.
        return [str(name).replace("$", r"\$") for name in trainer.datamodule.classes]  # type: ignore[attr-defined]

    def draw_inputs(self, trainer: lightning.Trainer, samples: list[Tensor], titles: list[str]) -> Figure:
        """Images as they are seen, sequences as lines or, with many channels, as maps."""
        if samples[0].ndim == 3:
            return draw_images(self.visible(trainer, torch.stack(samples)), titles)
        return draw_sequences(samples, titles)

    def visible(self, trainer: lightning.Trainer, images: Tensor) -> Tensor:
        """Normalised images back on the scale 0..1."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
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


def draw_sequences(samples: Sequence[Tensor], titles: Sequence[str]) -> Figure:
    """A grid of sequences `t c`, each with a title: lines over time, or a map of time and channel where c is large."""
    columns = min(4, len(samples))
    rows = -(-len(samples) // columns)
    figure = Figure(figsize=(2.4 * columns, 1.5 * rows), layout="constrained")
    for i, (sample, title) in enumerate(zip(samples, titles, strict=True)):
        axes = figure.add_subplot(rows, columns, i + 1)
        if sample.shape[1] <= MAX_LINES:
            axes.plot(sample.float().numpy(), linewidth=0.8)
        else:
            axes.imshow(sample.float().T.numpy(), aspect="auto", origin="lower", interpolation="nearest")
        axes.set_title(title.replace("\n", ", "), fontsize=8)
        axes.tick_params(labelsize=6)
    return figure


def draw_reliability(bins: Tensor) -> Figure:
    """Accuracy against confidence (Guo et al. 2017, arXiv:1706.04599, figure 1), and how many samples there are.

    Args:
        bins: samples, sum of their confidences and number of hits in each of equal bins of confidence, `3 bins`.
    """
    samples, confidence, hits = bins
    filled = samples > 0
    width = 1 / bins.shape[1]
    middle = (torch.arange(bins.shape[1]) + 0.5) * width
    accuracy, mean = (part[filled] / samples[filled] for part in (hits, confidence))
    error = float(((hits - confidence).abs() / samples.sum().clamp(min=1)).sum())
    figure = Figure(figsize=(5, 5.5), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.bar(middle[filled].numpy(), accuracy.numpy(), width * 0.95, label="accuracy")
    axes.plot(mean.numpy(), accuracy.numpy(), "o", color="black", markersize=3, label="at the mean confidence")
    axes.plot((0, 1), (0, 1), "--", color="grey", label="calibrated")
    axes.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02), title=f"expected calibration error {error:.3f}")
    axes.legend(loc="upper left", fontsize=8)
    below.bar(middle.numpy(), samples.numpy(), width * 0.95, color="grey")
    below.set(xlabel="confidence", ylabel="samples")
    return figure


def draw_confusion(counts: Tensor, names: list[str]) -> Figure:
    """Rows are the true classes; colour is the share of the row, numbers are samples."""
    k = len(names)
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    figure = Figure(figsize=(min(1.6 + 0.55 * k, 12),) * 2, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if k <= MAX_CLASSES_WITH_NAMES:
        axes.set_xticks(range(k), names, rotation=45, ha="right")
        axes.set_yticks(range(k), names)
        for i in range(k):
            for j in range(k):
                if counts[i, j]:
                    colour = "white" if shares[i, j] > 0.5 else "black"
                    axes.text(j, i, str(int(counts[i, j])), ha="center", va="center", color=colour, fontsize=8)
    return figure


def draw_per_class(counts: Tensor, names: list[str]) -> Figure:
    """Precision, recall and F1 of each class, from the confusion matrix; undefined ones count as 0."""
    hits = counts.diag().float()
    precision = hits / counts.sum(0).clamp(min=1)
    recall = hits / counts.sum(1).clamp(min=1)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    order = torch.arange(len(names))
    if len(names) > MAX_CLASSES_WITH_NAMES:  # the worst ones are what one wants to know
        order = f1.argsort()[:MAX_CLASSES_WITH_NAMES]
    figure = Figure(figsize=(7, 1 + 0.5 * len(order)), layout="constrained")
    axes = figure.add_subplot()
    for offset, (label, values) in enumerate((("precision", precision), ("recall", recall), ("F1", f1))):
        bars = axes.barh(
            (torch.arange(len(order)) + 0.27 * (offset - 1)).numpy(), values[order].numpy(), 0.25, label=label
        )
        axes.bar_label(bars, fmt="%.2f", fontsize=6, padding=1)
    axes.set_yticks(range(len(order)), [names[i] for i in order.tolist()])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.08)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, fontsize=8, frameon=False)
    if len(names) > len(order):
        axes.set_xlabel(f"the {len(order)} classes with the lowest F1")
    return figure


def draw_curves(
    curves: Sequence[tuple[Tensor, Tensor]], areas: list[float], names: list[str], labels: tuple[str, str, str]
) -> Figure:
    """One curve (x, y) per class; `labels` are those of the axes and of the number beside each class's name."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes: Axes = figure.add_subplot()
    worst = sorted(range(len(names)), key=lambda k: areas[k])[:MAX_CLASSES_WITH_NAMES]
    for k in sorted(worst):
        x, y = curves[k]
        axes.plot(x.numpy(), y.numpy(), label=f"{names[k]} {areas[k]:.3f}", linewidth=1.2)
    axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(title=labels[2], fontsize=7, title_fontsize=7, loc="lower center", ncols=2)
    if len(names) > MAX_CLASSES_WITH_NAMES:
        axes.set_title(f"the {MAX_CLASSES_WITH_NAMES} classes with the smallest area")
    axes.grid(alpha=0.3)
    return figure


def area_under(x: Tensor, y: Tensor) -> float:
    """By trapezoids."""
    return float(torch.trapezoid(y, x).abs())


def average_precision(recall: Tensor, precision: Tensor) -> float:
    """The sum over thresholds of precision times the rise in recall, which falls along torchmetrics' curves."""
    return float(((recall[:-1] - recall[1:]) * precision[:-1]).sum())

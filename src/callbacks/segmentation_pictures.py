"""TensorBoard: what a network for segmentation sees, says, and gets wrong."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor

from ..segment import overlay
from ..tasks.segmentation_losses import IGNORED, confusion, region_figures
from .base import Callback
from .classification_pictures import draw_confusion
from .curves import due, writer_of

SAMPLES = 4  # of each kind
INPUTS = 8  # training samples that are drawn
LEGEND = 24  # classes that a legend names
WRONG, RIGHT, NOWHERE = (0.84, 0.15, 0.16), (0.93, 0.93, 0.93), (0.6, 0.6, 0.6)


class Sample(NamedTuple):
    """An image `c h w` as the network got it, its masks `h w`, and the mean IoU of the image's classes."""

    score: float
    image: Tensor
    truth: Tensor
    said: Tensor


class SegmentationPictures(Callback):
    """Pictures of segmentation on validation, and once on the test set.

    Training samples as the network gets them, with their masks and, where they have some, the weights of pixels; of the
    first and of the worst images: the image, the true mask, the predicted one and where they differ; IoU of each class;
    confusion of pixels. Drawn every `every_n_epochs` and in the last epoch; between those nothing is computed.

    Args:
        every_n_epochs: epochs between two drawings.
    """

    def __init__(self, every_n_epochs: int = 10) -> None:
        self.every_n_epochs = every_n_epochs
        self.collecting = False

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.inputs_shown = False

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self.inputs_shown:
            return
        self.inputs_shown = True
        if writer := writer_of(trainer):
            x, *weights, mask = (part[:INPUTS].cpu() for part in batch)
            names, colours = look_of(trainer)
            figure = draw_inputs(visible(trainer, x), mask, weights[0] if weights else None, names, colours)
            writer.add_figure("inputs/training samples as the network gets them", figure, trainer.current_epoch)

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.start(trainer, due=due(trainer, self.every_n_epochs))

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.start(trainer, due=True)

    def start(self, trainer: lightning.Trainer, *, due: bool) -> None:
        self.collecting = due and bool(trainer.loggers)
        self.counts: Tensor | None = None
        self.first: list[Sample] = []
        self.worst: list[Sample] = []

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
        x, *_, masks = batch
        said, k = outputs["logits"].argmax(1), outputs["logits"].shape[1]
        self.counts = outputs["confusion"] if self.counts is None else self.counts + outputs["confusion"]
        names = [str(i) for i in range(k)]
        for image, truth, answer in zip(x, masks, said, strict=True):
            score = region_figures(confusion(answer, truth, k), names).get("mean_iou")
            if score is None:  # no pixel of the image counts
                continue
            fills = len(self.first) < SAMPLES
            if fills or len(self.worst) < SAMPLES or score < self.worst[-1].score:
                sample = Sample(score, image.float().cpu(), truth.cpu(), answer.cpu())
                self.first += [sample] if fills else []
                self.worst = sorted([*self.worst, sample], key=lambda s: s.score)[:SAMPLES]

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.draw(trainer, "validation")

    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.draw(trainer, "test")

    def draw(self, trainer: lightning.Trainer, stage: str) -> None:
        if not self.collecting or self.counts is None:
            return
        self.collecting = False
        reduced: Any = trainer.strategy.reduce(self.counts, reduce_op="sum")  # before the others leave
        counts = reduced.cpu()
        writer = writer_of(trainer)
        if writer is None:
            return
        names, colours = look_of(trainer)
        epoch = trainer.current_epoch + (stage == "validation")
        for samples, title in ((self.first, "first images"), (self.worst, "worst images")):
            if samples:
                images = visible(trainer, torch.stack([s.image for s in samples]))
                writer.add_figure(f"predictions {stage}/{title}", draw_masks(images, samples, names, colours), epoch)
        writer.add_figure(f"{stage}/IoU per class", draw_ious(counts, names, colours), epoch)
        figure = draw_confusion((100 * counts / counts.sum(1, keepdim=True).clamp(min=1)).round(), names)
        figure.axes[0].set_title("per cent of the true class's pixels", fontsize=9)
        writer.add_figure(f"{stage}/confusion matrix", figure, epoch)


def look_of(trainer: lightning.Trainer) -> tuple[list[str], NDArray[np.float64]]:
    """The names of the classes, and their colours, `k 3` from 0 to 1."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    names = [str(name).replace("$", r"\$") for name in data.classes]  # a dollar sign would begin a formula
    return names, np.array(data.colours, dtype=np.float64) / 255


def visible(trainer: lightning.Trainer, images: Tensor) -> NDArray[np.float64]:
    """Normalised images `b c h w` as people see them, `b h w 3` from 0 to 1."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (data.mean, data.std))
    levels = (images.double().cpu() * std + mean).clamp(0, 1)
    return levels.expand(-1, 3, -1, -1).movedim(1, -1).numpy()


def draw_masks(
    images: NDArray[np.float64], samples: Sequence[Sample], names: Sequence[str], colours: NDArray[np.float64]
) -> Figure:
    """A row for each sample: the image, the true mask over it, the predicted one, and in red where they differ.

    Args:
        images: `n h w 3`.
        samples: of the same length.
        names, colours: of the classes; see `look_of`.
    """
    figure = Figure(figsize=(9, 2.3 * len(samples) + 0.8), layout="constrained")
    grid = figure.subplots(len(samples), 4, squeeze=False)
    for row, image, sample in zip(grid, images, samples, strict=True):
        truth, said = sample.truth.numpy(), sample.said.numpy()
        ignored = truth == IGNORED
        errors = np.where((truth != said)[..., None], WRONG, RIGHT)
        pictures = (image, overlay(image, truth, colours), overlay(image, said, colours), errors)
        titles = ("image", "true", f"predicted: mean IoU {sample.score:.3f}", "wrong")
        for axes, picture, title in zip(row, pictures, titles, strict=True):
            hidden = ignored if title in ("true", "wrong") else np.zeros_like(ignored)
            show(axes, np.where(hidden[..., None], NOWHERE, picture))
            axes.set_title(title, fontsize=8)
    masks = [part for sample in samples for part in (sample.truth, sample.said)]
    add_legend(figure, torch.stack(masks), names, colours)
    return figure


def draw_inputs(
    images: NDArray[np.float64], masks: Tensor, weights: Tensor | None, names: Sequence[str],
    colours: NDArray[np.float64],
) -> Figure:  # fmt: skip
    """Below each image the mask over it, and below that the weights of its pixels, where there are any."""
    rows = 2 + (weights is not None)
    figure = Figure(figsize=(max(4.0, 1.8 * len(images)), 1.8 * rows + 0.8), layout="constrained")
    grid = figure.subplots(rows, len(images), squeeze=False)
    for i, image in enumerate(images):
        mask = masks[i].numpy()
        show(grid[0, i], image)
        show(grid[1, i], np.where((mask == IGNORED)[..., None], NOWHERE, overlay(image, mask, colours)))
        if weights is not None:
            levels = weights[i].float().numpy()
            grid[2, i].imshow(levels, cmap="viridis", interpolation="nearest")
            grid[2, i].set_title(f"weights {levels.min():.2g} to {levels.max():.2g}", fontsize=7)
            grid[2, i].set_axis_off()
    add_legend(figure, masks, names, colours)
    return figure


def show(axes: Axes, image: NDArray[np.float64]) -> None:
    axes.imshow(image, interpolation="nearest", vmin=0, vmax=1)
    axes.set_axis_off()


def add_legend(figure: Figure, masks: Tensor, names: Sequence[str], colours: NDArray[np.float64]) -> None:
    """The classes that are in the masks (of many the most frequent ones), and what is ignored."""
    counts = torch.bincount(masks.flatten(), minlength=IGNORED + 1)
    found = sorted(k for k in counts[: len(names)].argsort(descending=True)[:LEGEND].tolist() if counts[k])
    entries = [Patch(facecolor=colours[k], edgecolor="grey", label=names[k]) for k in found if colours[k].any()]
    entries += [
        Patch(facecolor="white", edgecolor="grey", label=f"{names[k]}: as it is") for k in found if not colours[k].any()
    ]
    if counts[IGNORED]:
        entries.append(Patch(facecolor=NOWHERE, edgecolor="grey", label="ignored"))
    figure.legend(handles=entries, loc="outside lower center", ncols=6, fontsize=8, frameon=False)


def draw_ious(counts: Tensor, names: Sequence[str], colours: NDArray[np.float64]) -> Figure:
    """A bar for the IoU of each class in its colour, and their mean; classes that have none are left out."""
    keys = [str(k) for k in range(len(names))]
    figures = region_figures(counts, keys)
    known = [k for k in range(len(names)) if f"iou_{k}" in figures]
    figure = Figure(figsize=(7, 1.2 + 0.3 * max(1, len(known))), layout="constrained")
    axes = figure.add_subplot()
    values = [figures[f"iou_{k}"] for k in known]
    bars = axes.barh(range(len(known)), values, color=colours[known], edgecolor="grey", linewidth=0.5)
    axes.bar_label(bars, fmt="%.3f", fontsize=7, padding=2)
    axes.axvline(figures["mean_iou"], color="black", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(known)), [names[k] for k in known])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.1), xlabel="intersection over union")
    axes.set_title(f"mean IoU {figures['mean_iou']:.3f} (dashed)", fontsize=9)
    return figure

"""TensorBoard: what a network for segmentation sees, says, and gets wrong."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor

from ..callbacks.base import Callback
from ..callbacks.curves import due, writer_of
from ..predict.masks import overlay
from ..tasks.segmentation_losses import IGNORED, confusion, region_figures
from .classification import draw_confusion

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
        if writer is None or not counts.any():
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
    rows = []
    for image, sample in zip(images, samples, strict=True):
        truth, said = sample.truth.numpy(), sample.said.numpy()
        ignored = (truth == IGNORED)[..., None]
        errors = np.where((truth != said)[..., None], WRONG, RIGHT)
        true, wrong = (np.where(ignored, NOWHERE, part) for part in (overlay(image, truth, colours), errors))
        rows.append([image, true, overlay(image, said, colours), wrong])
    masks = torch.stack([part for sample in samples for part in (sample.truth, sample.said)])
    scores = [f"mean IoU {sample.score:.3f}" for sample in samples]
    return draw_grid(rows, ["image", "true", "predicted", "wrong"], scores, legend(masks, names, colours))


def draw_inputs(
    images: NDArray[np.float64], masks: Tensor, weights: Tensor | None, names: Sequence[str],
    colours: NDArray[np.float64],
) -> Figure:  # fmt: skip
    """Below each image the mask over it, and below that the weights of its pixels, where there are any."""
    painted = [
        np.where((mask == IGNORED)[..., None], NOWHERE, overlay(image, mask, colours))
        for image, mask in zip(images, masks.numpy(), strict=True)
    ]
    rows, titles = [list(images), painted], ["image", "mask"]
    if weights is not None:
        most = max(float(weights.max()), 1e-12)
        rows.append([np.repeat(part[..., None] / most, 3, 2) for part in weights.double().numpy()])
        titles.append(f"weights, white {most:.3g}")
    return draw_grid(rows, [""] * len(images), titles, legend(masks, names, colours))


def draw_grid(
    rows: Sequence[Sequence[NDArray[np.float64]]], above: Sequence[str], beside: Sequence[str], entries: list[Patch]
) -> Figure:
    """Pictures `h w 3` of one size, as one picture, which is drawn faster than many.

    Args:
        rows: of equal length.
        above, beside: what stands at each column and at each row.
        entries: of the legend.
    """
    h, w = rows[0][0].shape[:2]
    gap = max(1, round(0.04 * max(h, w)))
    frames = [[np.pad(part, ((0, gap), (0, gap), (0, 0)), constant_values=1.0) for part in row] for row in rows]
    whole = np.concatenate([np.concatenate(row, 1) for row in frames])[:-gap, :-gap]
    scale = 8 / max(whole.shape[1], 4 * w)  # inches of a pixel
    figure = Figure(
        figsize=(max(4.0, scale * whole.shape[1]) + 0.4, scale * whole.shape[0] + 0.9), layout="constrained"
    )
    axes = figure.add_subplot()
    axes.imshow(whole, interpolation="nearest", vmin=0, vmax=1)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks([(w + gap) * i + w / 2 for i in range(len(above))], above, fontsize=8)
    axes.set_yticks([(h + gap) * i + h / 2 for i in range(len(beside))], beside, fontsize=8, rotation=90, va="center")
    axes.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    figure.legend(handles=entries, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    return figure


def legend(masks: Tensor, names: Sequence[str], colours: NDArray[np.float64]) -> list[Patch]:
    """The classes that are in the masks (of many the most frequent ones), and what is ignored."""
    counts = torch.bincount(masks.flatten(), minlength=IGNORED + 1)
    found = sorted(k for k in counts[: len(names)].argsort(descending=True)[:LEGEND].tolist() if counts[k])
    entries = [Patch(facecolor=colours[k], edgecolor="grey", label=names[k]) for k in found if colours[k].any()]
    entries += [
        Patch(facecolor="white", edgecolor="grey", label=f"{names[k]}: as it is") for k in found if not colours[k].any()
    ]
    if counts[IGNORED]:
        entries.append(Patch(facecolor=NOWHERE, edgecolor="grey", label="ignored"))
    return entries


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

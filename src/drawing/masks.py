"""Masks over images, with a legend of their classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor

from ..tasks.segmentation_losses import IGNORED, region_figures
from .overlay import overlay

LEGEND = 24  # classes that a legend names
WRONG, RIGHT, NOWHERE = (0.84, 0.15, 0.16), (0.93, 0.93, 0.93), (0.6, 0.6, 0.6)


class Sample(NamedTuple):
    """An image `c h w` as the network got it, its masks `h w`, and the mean IoU of the image's classes."""

    score: float
    image: Tensor
    truth: Tensor
    said: Tensor


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

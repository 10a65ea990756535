"""What a classifier says, class by class: confusion, precision and recall, curves over thresholds, calibration."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from .grid import framed, room
from .text import MAX_CLASSES_WITH_NAMES


def draw_confusion(counts: Tensor, names: list[str]) -> Figure:
    """Rows are the true classes; colour is the share of the row, numbers are samples."""
    k = len(names)
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    named, side = k <= MAX_CLASSES_WITH_NAMES, min(0.6 + 0.5 * k, 11)
    long = room(names) if named else 0.4
    figure, axes = framed((side, side), 0.3 + long, 0.1, 0.1, 0.35 + (0.8 * long if named else 0.2))
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if named:
        axes.set_xticks(range(k), names, rotation=45, ha="right")
        axes.set_yticks(range(k), names)
        for i in range(k):
            for j in range(k):
                if counts[i, j]:
                    colour = "white" if shares[i, j] > 0.5 else "black"
                    axes.text(j, i, str(int(counts[i, j])), ha="center", va="center", color=colour, fontsize=8)
    return figure


def draw_per_class(counts: Tensor, names: list[str]) -> Figure:
    """Precision, recall and F1 of each class that is there or was said, of a confusion matrix; undefined ones are 0."""
    hits = counts.diag().float()
    precision = hits / counts.sum(0).clamp(min=1)
    recall = hits / counts.sum(1).clamp(min=1)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    order = (counts.sum(0) + counts.sum(1)).nonzero()[:, 0]
    known = len(order)
    if known > MAX_CLASSES_WITH_NAMES:  # the worst ones are what one wants to know
        order = order[f1[order].argsort()[:MAX_CLASSES_WITH_NAMES]]
    shown = [names[i] for i in order.tolist()]
    figure, axes = framed((6, 0.3 + 0.5 * len(order)), room(shown), 0.15, 0.35, 0.55 if known > len(order) else 0.3)
    for offset, (label, values) in enumerate((("precision", precision), ("recall", recall), ("F1", f1))):
        bars = axes.barh(
            (torch.arange(len(order)) + 0.27 * (offset - 1)).numpy(), values[order].numpy(), 0.25, label=label
        )
        axes.bar_label(bars, fmt="%.2f", fontsize=6, padding=1)
    axes.set_yticks(range(len(order)), shown)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.08)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, fontsize=8, frameon=False)
    if known > len(order):
        axes.set_xlabel(f"the {len(order)} classes with the lowest F1")
    return figure


def draw_curves(
    curves: Sequence[tuple[Tensor, Tensor]], areas: list[float], names: list[str], labels: tuple[str, str, str]
) -> Figure:
    """One curve (x, y) per class; `labels` are those of the axes and of the number beside each class's name."""
    figure, axes = framed((6.2, 4.2), 0.65, 0.15, 0.35, 0.5)
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
    figure = Figure(figsize=(5, 5.5))
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    figure.subplots_adjust(left=0.14, right=0.97, top=0.93, bottom=0.1, hspace=0.06)
    figure.align_ylabels()
    axes.bar(middle[filled].numpy(), accuracy.numpy(), width * 0.95, label="accuracy")
    axes.plot(mean.numpy(), accuracy.numpy(), "o", color="black", markersize=3, label="at the mean confidence")
    axes.plot((0, 1), (0, 1), "--", color="grey", label="calibrated")
    axes.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02), title=f"expected calibration error {error:.3f}")
    axes.legend(loc="upper left", fontsize=8)
    below.bar(middle.numpy(), samples.numpy(), width * 0.95, color="grey")
    below.set(xlabel="confidence", ylabel="samples")
    return figure

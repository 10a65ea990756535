"""Sheets of images without gaps, and codes as points."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from .text import MAX_CLASSES_WITH_NAMES, plain


def draw_grid(images: Tensor, names: list[str] | None = None, title: str = "") -> Figure:
    """Images `rows columns c h w` from 0 to 1 without gaps but for one pixel, each row with its name."""
    rows, columns, c, h, w = images.shape
    canvas = torch.ones(c, rows * (h + 1) - 1, columns * (w + 1) - 1)
    for i in range(rows):
        for j in range(columns):
            canvas[:, i * (h + 1) : i * (h + 1) + h, j * (w + 1) : j * (w + 1) + w] = images[i, j].float().cpu()
    return draw_canvas(canvas, rows, columns, names, title)


def draw_pairs(originals: Tensor, made: Tensor) -> Figure:
    """Originals in the rows above, what was made of them in the rows below."""
    columns = min(8, len(originals))
    n = columns * (len(originals) // columns)
    above, below = (part[:n].cpu().unflatten(0, (-1, columns)) for part in (originals, made))
    rows = torch.stack([above, below], 1).flatten(0, 1)
    return draw_grid(rows, ["original", "made"] * (len(rows) // 2))


def draw_canvas(canvas: Tensor, rows: int, columns: int, names: list[str] | None, title: str) -> Figure:
    size = 0.6 if max(rows, columns) <= 12 else 0.36
    figure = Figure(
        figsize=(max(3.0, size * columns + (0.9 if names else 0.2)), size * rows + (0.5 if title else 0.2)),
        layout="constrained", dpi=120,
    )  # fmt: skip
    axes = figure.add_subplot()
    axes.imshow(canvas.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    height = (canvas.shape[1] + 1) / rows
    axes.set_yticks(
        [(i + 0.5) * height - 1 for i in range(rows)] if names else [],
        [plain(name) for name in names or []], fontsize=7,
    )  # fmt: skip
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    if title:
        axes.set_title(title, fontsize=8, wrap=True)
    return figure


def draw_map(z: Tensor, labels: Tensor, names: list[str]) -> Figure:
    """Codes `n d` as points, coloured by class: the two numbers, or the first two principal components."""
    title, labelled = "codes", ("z0", "z1")
    if z.shape[1] > 2:
        centred = z - z.mean(0)
        _, spread, axes_of_codes = torch.linalg.svd(centred, full_matrices=False)
        share = float((spread[:2] ** 2).sum() / (spread**2).sum().clamp(min=1e-12))
        z = centred @ axes_of_codes[:2].T
        title = (
            f"two principal components of {axes_of_codes.shape[1]}-dimensional codes, {100 * share:.0f} % of variance"
        )
        labelled = ("first", "second")
    figure = Figure(figsize=(6.5, 5.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=labelled[0], ylabel=labelled[1])
    axes.set_title(title, fontsize=9)
    if labels.ndim == 1 and len(names) <= MAX_CLASSES_WITH_NAMES:
        colours = "tab10" if len(names) <= 10 else "tab20"
        points = axes.scatter(z[:, 0], z[:, 1], c=labels, s=6, cmap=colours, vmin=-0.5, vmax=len(names) - 0.5)
        bar = figure.colorbar(points, ticks=range(len(names)))
        bar.ax.set_yticklabels(names, fontsize=8)
    else:
        axes.scatter(z[:, 0], z[:, 1], s=6)
    axes.set_aspect("equal", "datalim")
    return figure

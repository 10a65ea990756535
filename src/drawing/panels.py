"""Rows of panels: an image, or values as colours, over an image."""

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor


class Panel(NamedTuple):
    """One picture of a grid: an image `c h w` on 0..1 or None, a map `h w` over it or alone, and how it is shown."""

    title: str
    image: Tensor | None = None
    heat: Tensor | None = None
    colours: str = "viridis"
    limits: tuple[float, float] = (0, 1)


def draw_panels(rows: list[list[Panel]], side: float = 1.9) -> Figure:
    """A grid of panels, each `side` inches wide; colours of a column's maps, where they have limits of their own, are
    explained by a bar.
    """
    columns = max(map(len, rows))
    lines = max(panel.title.count("\n") + 1 if panel.title else 0 for row in rows for panel in row)
    figure = Figure(figsize=(side * columns + 0.2, (side + 0.17 * lines) * len(rows) + 0.2), layout="constrained")
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            axes: Axes = figure.add_subplot(len(rows), columns, i * columns + j + 1)
            axes.set_axis_off()
            axes.set_title(panel.title, fontsize=8, parse_math=False)
            if panel.image is not None:
                axes.imshow(panel.image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
            if panel.heat is None:
                continue
            low, high = panel.limits
            shown_map = axes.imshow(
                panel.heat.numpy(), panel.colours, vmin=low, vmax=high, alpha=None if panel.image is None else 0.55
            )
            if panel.limits != (0, 1):
                bar = figure.colorbar(shown_map, ax=axes, shrink=0.8, ticks=[low, 0, high])
                bar.ax.tick_params(labelsize=7)
                bar.ax.set_yticklabels([f"{value:.2g}" for value in (low, 0, high)])
    return figure


def scaled(x: Tensor) -> Tensor:
    """Each of `n ...` on its own scale from 0 to 1; constant ones become 0."""
    flat = x.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    return ((flat - low) / (high - low).clamp(min=1e-12)).view(x.shape)

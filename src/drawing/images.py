"""Images in a grid, each with a line of text."""

from matplotlib.figure import Figure
from torch import Tensor

CELL, GAP, LINE = 0.85, 0.04, 0.15  # inches: the side of a place in the grid, what stays free around it, a line of text


def draw_images(images: Tensor, titles: list[str] | None = None) -> Figure:
    """A grid of images `n c h w` on the scale 0..1, each with a title.

    All lie in one pair of axes, whose units are inches: a pair for each image would take ten times as long to draw.
    """
    columns = min(8, len(images))
    rows = -(-len(images) // columns)
    lines = max(title.count("\n") + 1 for title in titles) if titles else 0
    high = CELL + LINE * lines
    figure = Figure(figsize=(CELL * columns, high * rows))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    height, width = images.shape[2:]
    scale = (CELL - 2 * GAP) / max(height, width)
    for i, image in enumerate(images):
        middle, bottom = (i % columns + 0.5) * CELL, (i // columns + 1) * high - GAP
        left, top = middle - scale * width / 2, bottom - scale * height
        extent = (left, left + scale * width, bottom, top)
        axes.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1, extent=extent)
        if titles:
            axes.text(middle, top - GAP, titles[i], fontsize=8, ha="center", va="bottom", linespacing=1.1)
    axes.set(xlim=(0, CELL * columns), ylim=(high * rows, 0))
    return figure

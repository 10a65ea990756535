"""Images in a grid, each with a line of text."""

from matplotlib.figure import Figure
from torch import Tensor


def draw_images(images: Tensor, titles: list[str] | None = None) -> Figure:
    """A grid of images `n c h w` on the scale 0..1, each with a title."""
    columns = min(8, len(images))
    rows = -(-len(images) // columns)
    lines = max(title.count("\n") + 1 for title in titles) if titles else 0
    figure = Figure(figsize=(0.85 * columns, (0.85 + 0.17 * lines) * rows), layout="constrained")
    for i, image in enumerate(images):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        if titles:
            axes.set_title(titles[i], fontsize=8)
    return figure

"""Sequences in a grid, each with a title."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

MAX_LINES = 6  # channels of a sequence that are drawn as lines


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

"""Sequences in a grid, each with a title."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from .grid import TICKS, small_axes

MAX_LINES = 6  # channels of a sequence that are drawn as lines


def draw_sequences(samples: Sequence[Tensor], titles: Sequence[str]) -> Figure:
    """A grid of sequences `t c`, each with a title: lines over time, or a map of time and channel where c is large."""
    figure, grid = small_axes(len(samples), min(4, len(samples)), (2.4, 1.5))
    for axes, sample, title in zip(grid, samples, titles, strict=True):
        if sample.shape[1] <= MAX_LINES:
            axes.plot(sample.float().numpy(), linewidth=0.8)
        else:
            axes.imshow(sample.float().T.numpy(), aspect="auto", origin="lower", interpolation="nearest")
        axes.set_title(title.replace("\n", ", "), fontsize=8)
        axes.locator_params(nbins=TICKS)
    return figure

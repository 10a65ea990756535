"""Curves of runs: one figure over the epochs, in a picture and in a line of text."""

import itertools
import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

LEVELS = {True: "▁▂▃▄▅▆▇█", False: "_.-~=+*#"}  # eight heights, where a terminal has the signs and where not


def sparkline(values: Sequence[float | None], low: float, high: float, width: int, *, blocks: bool = True) -> str:
    """One sign for each value, or for each of `width` means where there are more; a blank where there is none.

    >>> sparkline([0.0, 0.5, None, 1.0], 0.0, 1.0, 10)
    '▁▅ █'

    Args:
        values: of the epochs.
        low, high: what the lowest and the highest sign stand for.
        width: signs, at most.
        blocks: whether the terminal has blocks.
    """
    signs = LEVELS[blocks]
    if len(values) > width:
        cuts = [round(i * len(values) / width) for i in range(width + 1)]
        values = [_mean(values[a:b]) for a, b in itertools.pairwise(cuts)]
    line = ""
    for value in values:
        if value is None or not math.isfinite(value):
            line += " "
            continue
        share = (value - low) / (high - low) if high > low else 0.5
        line += signs[min(max(round(share * (len(signs) - 1) + 1e-9), 0), len(signs) - 1)]
    return line


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None and math.isfinite(value)]
    return sum(there) / len(there) if there else None


def draw_curves(panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]) -> Figure:
    """A panel for each figure, with a curve for each run that has it.

    Args:
        panels: by the figure's name the curves by the run's, pairs of epoch and value.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(6 * columns, 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    for ax, (title, curves) in zip(axes, panels.items(), strict=False):
        for name, points in curves.items():
            marker = "o" if len(points) == 1 else None
            ax.plot(*zip(*points, strict=True), label=name, color=f"C{names.index(name) % 10}", marker=marker)
        ax.set_title(title)
        ax.set_xlabel("epoch")
        ax.grid(alpha=0.3)
        ax.legend(fontsize="small")
    for ax in list(axes)[len(panels) :]:
        ax.set_visible(False)
    return figure

"""Axes with known margins, alone or in a grid of one kind.

Matplotlib's constrained layout finds margins by measuring all that is drawn, twice; where they are known, a figure is
drawn in half of its time.
"""

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

LEFT, RIGHT, TOP, BOTTOM = 0.42, 0.16, 0.24, 0.26  # inches about each of them: numbers, and a title of one line
TICKS = 5  # on an axis at most


def room(names: Iterable[str], size: float = 10) -> float:
    """Inches for the longest of some names in a font of a size in points, of which letters are .6 wide on average."""
    return max(map(len, names), default=0) * 0.6 * size / 72 + 0.1


def framed(size: tuple[float, float], left: float, right: float, top: float, bottom: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes.

    Args:
        size: width and height of the axes, in inches.
        left, right, top, bottom: what is free about them, in inches.
    """
    width, height = size[0] + left + right, size[1] + top + bottom
    figure = Figure(figsize=(width, height))
    return figure, figure.add_axes((left / width, bottom / height, size[0] / width, size[1] / height))


def small_axes(
    number: int, columns: int, size: tuple[float, float], bottom: float = BOTTOM
) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row, each with room for small numbers and a title of one line.

    Args:
        number: of axes.
        columns: in a row.
        size: width and height of one with what is about it, in inches.
        bottom: inches below each of them.
    """
    rows, (width, height) = -(-number // columns), size
    figure = Figure(figsize=(width * columns, height * rows))
    figure.subplots_adjust(
        left=LEFT / (width * columns),
        right=1 - RIGHT / (width * columns),
        bottom=bottom / (height * rows),
        top=1 - TOP / (height * rows),
        wspace=(LEFT + RIGHT) / (width - LEFT - RIGHT),
        hspace=(TOP + bottom) / (height - TOP - bottom),
    )
    found = [figure.add_subplot(rows, columns, i + 1) for i in range(number)]
    for axes in found:
        axes.tick_params(labelsize=6)
        axes.ticklabel_format(axis="y", scilimits=(-2, 5))
        axes.yaxis.get_offset_text().set_fontsize(6)
    return figure, found

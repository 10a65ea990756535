"""Small axes of one kind in a grid."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

LEFT, RIGHT, TOP, BOTTOM = 0.42, 0.16, 0.24, 0.26  # inches about each of them: numbers, and a title of one line
TICKS = 5  # on an axis at most


def small_axes(
    number: int, columns: int, size: tuple[float, float], bottom: float = BOTTOM
) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row, each with room for small numbers and a title of one line.

    Matplotlib's constrained layout finds margins by measuring all that is drawn, twice; those of small axes are known,
    and so are drawn in half of its time.

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

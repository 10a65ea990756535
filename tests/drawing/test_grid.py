"""What small axes show stays within the figure, and keeps off its neighbours."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from torchatlas.drawing.grid import small_axes
from torchatlas.drawing.sequences import draw_sequences
from torchatlas.drawing.spectrograms import draw_spectrograms


def sequences() -> Figure:
    samples = [torch.randn(300, 1) * 10.0**i for i in range(-4, 5)] + [torch.rand(1000, 20)] * 2
    return draw_sequences(samples, [f"seven, 0.99\nfor {i}" for i in range(11)])


def spectrograms() -> Figure:
    return draw_spectrograms([torch.randn(n) for n in (800, 8000, 80_000, 4000, 4001)], 8000, ["a"] * 5, ["red"] * 5)


def dated() -> Figure:
    figure, grid = small_axes(8, 4, (4.0, 2.2), bottom=0.5)
    times = np.arange("2024-01-01", "2024-01-15", np.timedelta64(1, "h"), dtype="datetime64[h]")
    for i, axes in enumerate(grid):
        axes.plot(times, np.arange(len(times)) * 10.0 ** (3 * i - 9))
        axes.tick_params(axis="x", rotation=30)
    return figure


@pytest.mark.parametrize("draw", [sequences, spectrograms, dated], ids=lambda draw: draw.__name__)
def test_all_is_within_the_figure(draw: Callable[[], Figure]) -> None:
    figure = draw()
    FigureCanvasAgg(figure).draw()
    whole = figure.bbox.padded(1)
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    for box in boxes:
        assert whole.containsx(box.x0)
        assert whole.containsx(box.x1)
        assert whole.containsy(box.y0)
        assert whole.containsy(box.y1)
    for one, two in combinations(boxes, 2):
        covered = max(0, min(one.x1, two.x1) - max(one.x0, two.x0)) * max(0, min(one.y1, two.y1) - max(one.y0, two.y0))
        assert covered < 0.02 * one.width * one.height

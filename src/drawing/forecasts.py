"""Forecasts beside what came, errors by step, and scores over time."""

from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from .grid import small_axes
from .text import plain

SERIES = 4  # that are drawn at most
SEEN = 2  # horizons of the past that a picture shows


def draw_forecasts(
    data: Any, split: Any, indices: Tensor, output: Tensor, point: Tensor, baseline: tuple[str, Tensor]
) -> Figure:
    """A row for each window and a column for each series, in the data's units.

    Args:
        data: the data module, for names, times and scales.
        split: its windows.
        indices: which windows, `n`.
        output: quantiles, `n h c q`; of one nothing is drawn.
        point: forecasts, `n h c`.
        baseline: a name and forecasts `n h c`.
    """
    h, series = split.horizon, min(SERIES, split.out_channels)
    seen = min(split.lookback, SEEN * h)
    figure, grid = small_axes(series * len(indices), series, (4.0, 2.2), bottom=0.5)
    for i, index in enumerate(indices.tolist()):
        origin = split.first + index
        times, ahead = data.times[origin - seen : origin + h], data.times[origin : origin + h]
        for k in range(series):
            axes, mean, std = grid[i * series + k], data.mean[k], data.std[k]
            truth = split.values[origin - seen : origin + h, k] * std + mean
            axes.plot(times, truth.numpy(), color="black", linewidth=1, label="truth")
            axes.plot(ahead, (baseline[1][i, :, k] * std + mean).numpy(), "--", color="grey", label=baseline[0])
            axes.plot(ahead, (point[i, :, k] * std + mean).numpy(), color="C0", label="network")
            if output.shape[-1] > 1:
                low, high = ((output[i, :, k, q] * std + mean).numpy() for q in (0, -1))
                axes.fill_between(ahead, low, high, color="C0", alpha=0.25, linewidth=0)
            axes.tick_params(axis="x", rotation=30)
            if i == 0:
                axes.set_title(plain(data.series[k]), fontsize=8)
    grid[0].legend(fontsize=6)
    return figure


def draw_by_step(errors: dict[str, Tensor]) -> Figure:
    """The mean squared error at each step of the horizon, a line for each forecaster."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, values in errors.items():
        own = name == "network"
        steps = range(1, len(values) + 1)
        axes.plot(
            steps, values.numpy(), "-o" if own else "--", color="black" if own else None, markersize=2,
            linewidth=2 if own else 1, label=name.replace("_", " "),
        )  # fmt: skip
    axes.set(xlabel="step ahead", ylabel="mean squared error, scaled", ylim=(0, None))
    axes.legend(fontsize=8)
    return figure


def draw_scores(times: Any, scores: Any, threshold: float) -> Figure:
    """The largest robust score over the series at each time; what is over the threshold is marked."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(times, scores, linewidth=0.8)
    over = scores > threshold
    axes.plot(times[over], scores[over], ".", color="C3")
    axes.axhline(threshold, linestyle="--", color="grey")
    axes.set(ylabel="robust score", title=f"one step ahead: {int(over.sum())} of {len(scores)} over {threshold:g}")
    axes.tick_params(labelsize=7)
    return figure

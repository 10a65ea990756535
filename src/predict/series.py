"""A trained forecaster and a user's file: what comes after its end, and where it was surprised."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.reading import find_files, read_each
from ..data.series.base import SeriesData
from ..data.series.clock import text_of, times_after
from ..errors import UserError, nearest
from ..tasks.forecasting import Forecasting
from .registry import answers
from .rows import ERROR

Row = dict[str, Any]
TABLES = (".csv", ".tsv", ".txt", ".gz")
MODES = ("forecast", "anomalies")  # what is said of a table of series
MAD = 1.4826  # times the median absolute deviation is the standard deviation of a normal distribution
MEAN_DEVIATION = 1.2533  # times the mean absolute deviation likewise


@answers(tasks=("forecasting",), kinds=("series",), reads=True, ends=" input=FILE")
def forecast_or_score(
    task: Forecasting, data: SeriesData, given: str, *, mode: Literal["forecast", "anomalies"] = "forecast",
    threshold: float | None = None,
) -> Iterator[Row]:  # fmt: skip
    """What comes after the end of a user's table, or where in it the network was surprised; or of each in a folder.

    Args:
        task: in eval mode, with the trained network.
        data: of the training, see `reader`.
        given: a CSV file, see `SeriesData.read`, or a folder of such files.
        mode: of series: the steps after the end, or how far each step was off its forecast.
        threshold: deviations over which a step is an anomaly; else 5.

    Yields:
        The rows of the file; of a folder those of each, in front the file, or its reason, as "error".

    Raises:
        UserError: another mode, or no file is like that of the training.
    """
    if mode not in MODES:
        raise UserError(f"mode={mode} is unknown{nearest(mode, list(MODES))}")
    if mode != "anomalies" and threshold is not None:
        raise UserError(f"threshold={threshold} is for mode=anomalies: add that, or leave threshold out")

    def rows_of(path: str | Path, own: Sequence[str] = ()) -> list[Row]:
        if mode == "anomalies":
            return find_anomalies(task, data, str(path), 5.0 if threshold is None else threshold, own)
        return forecast(task, data, str(path), own)

    if not Path(given).expanduser().is_dir():
        yield from rows_of(given)
        return
    found, unread = read_each(find_files(given, TABLES), lambda path: rows_of(path, ("file", ERROR)))
    for path, rows in found:
        yield from ({"file": str(path), **row} for row in rows)
    yield from unread


def forecast(task: Forecasting, data: SeriesData, given: str, own: Sequence[str] = ()) -> list[Row]:
    """The next h steps after the end of a file.

    Args:
        task, data, given: see `forecast_or_score`.
        own: further columns of the answer, which no series may be called as.

    Returns:
        A row for each step: the time; for each series its forecast, in its units; and with quantiles each of them, in
        columns such as "OT 0.1". See `called`.
    """
    windows = data.read(given)
    table = windows.table
    x, _ = data.transform(windows.samples[-1, torch.tensor([len(windows) - 1])])
    (output,) = answers_in_order(task, x.to(task.device)).cpu().double()  # h c, or h c q
    levels = [f" {level:g}" for level in task.quantiles or ()]
    names = called(table.series, ("time", *own), ("", *levels))
    rows = []
    for time, step in zip(times_after(table.times[-1], table.step, len(output)), output, strict=True):
        row: Row = {"time": text_of(time, table.zone)}
        for i, name in enumerate(names):
            mean, std = data.mean[i], data.std[i]
            row[name] = float(task.point(step[i]) * std + mean)
            for level, value in zip(levels, step[i].reshape(-1), strict=False):
                row[f"{name}{level}"] = float(value * std + mean)
        rows.append(row)
    return rows


def called(series: Sequence[str], own: Sequence[str], endings: Sequence[str]) -> list[str]:
    """The names of series in the columns of an answer, in which each column has its own name.

    Args:
        series: their names.
        own: the answer's own columns: a series that is called so, or as one of another series, becomes "time (series)".
        endings: what stands behind a name in the columns of each series.

    >>> called(["load", "time", "load score"], ("time", "score"), ("", " score"))
    ['load', 'time (series)', 'load score (series)']
    """
    taken, names = set(own), []
    for name in series:
        while not taken.isdisjoint(f"{name}{ending}" for ending in endings):
            name += " (series)"
        taken |= {f"{name}{ending}" for ending in endings}
        names.append(name)
    return names


def find_anomalies(
    task: Forecasting, data: SeriesData, given: str, threshold: float = 5.0, own: Sequence[str] = ()
) -> list[Row]:
    """How much each row of a file surprised the network, which forecast it one step ahead.

    Args:
        task, data: see `forecast_or_score`.
        given: a CSV file with one row more than the lookback at least.
        threshold: score from which a row is called an anomaly.
        own: see `forecast`.

    Returns:
        For each row after the first lookback: the time; score, the largest over the series; anomaly, whether it is over
        the threshold; and for each series value, forecast and score. What the file does not have has no score. See
        `robust_scores` and `called`.
    """
    if not threshold > 0:
        raise UserError(f"threshold={threshold} must be a positive number, as in threshold=5")
    windows = data.read(given)
    table = windows.table
    look, c, scaled = data.lookback, len(table.series), windows.samples.values
    if len(scaled) <= look:
        raise UserError(
            f"{given} has {len(scaled)} rows: the first {look} are looked back on, and none is left to score"
        )
    parts = []
    for places in torch.arange(len(windows) - 1).split(windows.size):  # what comes after the last row is not known
        x, _ = data.transform(windows.samples[-1, places])
        parts.append(task.point(answers_in_order(task, x.to(task.device)))[:, 0].cpu())
    forecasts = torch.cat(parts)
    errors = (scaled[look:, :c] - forecasts).double().numpy()
    errors[np.isnan(table.values[look:, :c])] = np.nan
    scores = robust_scores(errors)
    mean, std = (np.array(values[:c]) for values in (data.mean, data.std))
    in_units = forecasts.double().numpy() * std + mean
    names = called(table.series, ("time", "score", "anomaly", *own), ("", " forecast", " score"))
    rows = []
    for i, score in enumerate(scores):
        if np.isnan(score).all():
            continue
        largest = float(np.nanmax(score))
        row: Row = {
            "time": text_of(table.times[look + i], table.zone), "score": largest, "anomaly": largest > threshold,
        }  # fmt: skip
        for k, name in enumerate(names):
            known = not np.isnan(score[k])
            row |= {
                name: float(table.values[look + i, k]) if known else None,
                f"{name} forecast": float(in_units[i, k]),
                f"{name} score": float(score[k]) if known else None,
            }
        rows.append(row)
    return rows


def robust_scores(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances from the median in robust standard deviations, `t c`, NaN where there is none.

    Iglewicz and Hoaglin 1993, "How to Detect and Handle Outliers", chapter 3.

    The standard deviation is 1.4826 times the median absolute deviation, or, where more than half of the errors are
    equal, 1.2533 times the mean one; where all are equal the scores are zero.
    """
    if (unknown := np.isnan(errors).all(0)).any():  # a series of which no value is known
        errors = np.where(unknown, 0.0, errors)
    distances = np.abs(errors - np.nanmedian(errors, 0))
    scale = MAD * np.nanmedian(distances, 0)
    scale = np.where(scale > 0, scale, MEAN_DEVIATION * np.nanmean(distances, 0))
    scores: NDArray[np.float64] = distances / np.where(scale > 0, scale, 1.0)
    return scores


def answers_in_order(task: Forecasting, x: Tensor) -> Tensor:
    """Forecasts of scaled values, `b h c`, or with quantiles, the least first, `b h c q`."""
    output = task.predict(x)
    return output if task.quantiles is None else output.sort(-1).values

"""A trained forecaster and a user's file: what comes after its end, and where it was surprised."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.series.base import Table, fill, text_of
from ..data.series.series_csv import read_table
from ..errors import UserError
from ..tasks.forecasting import Forecasting

BATCH = 256
MAD = 1.4826  # times the median absolute deviation is the standard deviation of a normal distribution
MEAN_DEVIATION = 1.2533  # times the mean absolute deviation likewise


def read_like(about: dict[str, Any], path: str | Path) -> tuple[Table, Tensor]:
    """A file's series as the network takes them.

    Args:
        about: the data's description from the checkpoint.
        path: a CSV file with the columns and the step of the training.

    Returns:
        The table as it is in the file, and its scaled values, float32 `t c`, of which none is missing.

    Raises:
        UserError: a column is missing, the step is another one, there are too few rows, or the file has a mistake.
    """
    if about.get("kind") != "series":
        raise UserError(f"this checkpoint was trained on {about.get('kind')}, and not on series to forecast")
    missing = about["missing"]
    try:
        table = read_table(
            path, time=about["time"], series=about["series"], covariates=about["covariates"], missing=missing
        )
    except UserError as error:  # what it says of data.missing and the like is for training
        raise UserError(re.sub(r", or use data\.missing.*| for data\.\w+", "", str(error))) from error
    if table.step != about["step"]:
        raise UserError(
            f"{path} has the step {table.step}, and the network was trained with the step {about['step']}: resample it"
        )
    if len(table.values) < about["lookback"]:
        raise UserError(f"{path} has {len(table.values)} rows, and the network looks back on {about['lookback']}")
    values = fill(table, 0, missing)
    scaled = torch.from_numpy(((values - about["mean"]) / about["std"]).astype(np.float32))
    return table, scaled


def forecast_file(task: Forecasting, about_data: dict[str, Any], path: str | Path) -> list[dict[str, Any]]:
    """The next h steps after the end of a file.

    Args:
        task: with the trained network.
        about_data: what the checkpoint says of the data.
        path: see `read_like`.

    Returns:
        A row for each step: the time; for each series its forecast, in its units; and with quantiles each of them, in
        columns such as "OT 0.1".
    """
    import pandas as pd

    table, scaled = read_like(about_data, path)
    x = scaled[None, -about_data["lookback"] :].to(task.device)
    (output,) = _predict(task, x).cpu().double()  # h c, or h c q
    times = pd.date_range(table.times[-1], periods=len(output) + 1, freq=table.step)[1:]
    rows = []
    for time, step in zip(times, output, strict=True):
        row: dict[str, Any] = {"time": text_of(time.to_numpy())}
        for i, name in enumerate(table.series):
            mean, std = about_data["mean"][i], about_data["std"][i]
            row[name] = float(task.point(step[i]) * std + mean)
            for level, value in zip(task.quantiles or (), step[i].reshape(-1), strict=False):
                row[f"{name} {level:g}"] = float(value * std + mean)
        rows.append(row)
    return rows


def score_file(
    task: Forecasting, about_data: dict[str, Any], path: str | Path, threshold: float = 5.0
) -> list[dict[str, Any]]:
    """How much each row of a file surprised the network, which forecast it one step ahead.

    Args:
        task: with the trained network.
        about_data: what the checkpoint says of the data.
        path: see `read_like`; one row more than the lookback at least.
        threshold: score from which a row is called an anomaly.

    Returns:
        For each row after the first lookback: the time; score, the largest over the series; anomaly, whether it is over
        the threshold; and for each series value, forecast and score. What the file does not have has no score. See
        `robust_scores`.
    """
    if not threshold > 0:
        raise UserError(f"threshold={threshold} must be a positive number, as in threshold=5")
    table, scaled = read_like(about_data, path)
    look, c = about_data["lookback"], len(table.series)
    if len(scaled) <= look:
        raise UserError(
            f"{path} has {len(scaled)} rows: the first {look} are looked back on, and none is left to score"
        )
    starts = torch.arange(len(scaled) - look)
    parts = []
    for start in starts.split(BATCH):
        x = scaled[start[:, None] + torch.arange(look)].to(task.device)
        parts.append(task.point(_predict(task, x))[:, 0].cpu())
    forecast = torch.cat(parts)
    errors = (scaled[look:, :c] - forecast).double().numpy()
    errors[np.isnan(table.values[look:, :c])] = np.nan
    scores = robust_scores(errors)
    mean, std = (np.array(about_data[key][:c]) for key in ("mean", "std"))
    in_units = forecast.double().numpy() * std + mean
    rows = []
    for i, score in enumerate(scores):
        if np.isnan(score).all():
            continue
        largest = float(np.nanmax(score))
        row: dict[str, Any] = {
            "time": text_of(table.times[look + i]), "score": largest, "anomaly": largest > threshold,
        }  # fmt: skip
        for k, name in enumerate(table.series):
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


def _predict(task: Forecasting, x: Tensor) -> Tensor:
    output = task.predict(x)
    return output if task.quantiles is None else output.sort(-1).values

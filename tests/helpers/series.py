"""Made series, and data of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from torchatlas.data.series.series_csv import SeriesCSV

RNG = np.random.default_rng(0)


def waves(rows: int, *, period: int = 24, noise: float = 0.0) -> pd.DataFrame:
    """Two hourly series, 100 + 10 sin and its half, and a column of words."""
    t = np.arange(rows)
    sine = np.sin(2 * np.pi * t / period)
    return pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=rows, freq="h").astype(str),
            "load": 100 + 10 * sine + noise * RNG.normal(size=rows),
            "oil": 50 + 5 * np.roll(sine, 3) + noise * RNG.normal(size=rows),
            "sky": "clear",
        }
    )


def write(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


def series_csv(path: Path, **options: Any) -> SeriesCSV:
    sizes = {"in_channels": 2, "out_channels": 2, "lookback": 24, "horizon": 6, "batch_size": 8, "period": None}
    data = SeriesCSV(path=str(path), **{**sizes, **options})
    data.setup()
    return data

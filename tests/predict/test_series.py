"""Forecasts of a user's table, and its anomalies."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.series import RNG, waves, write

from torchatlas.data.series.base import SeriesData
from torchatlas.errors import UserError
from torchatlas.predict.series import find_anomalies, forecast, forecast_or_score, robust_scores
from torchatlas.run.restore import reader, restore
from torchatlas.tasks.forecasting import Forecasting


@pytest.fixture
def resolved(train: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """A short run on a file of waves."""
    path = write(waves(700, noise=0.5), tmp_path / "waves.csv")

    def run(*overrides: str) -> Path:
        return train(
            "data=series_csv", f"data.path={path}", "data.lookback=24", "data.horizon=6", "trainer=cpu",
            "optim.lr=0.01", *overrides,
        )  # fmt: skip

    return run


def test_predict_and_anomalies(resolved: Callable[..., Path], tmp_path: Path) -> None:
    """Quantile forecasts continue a known wave; an injected value is the first that is found."""
    folder = resolved("model=n_linear", "task.quantiles=[0.1,0.5,0.9]", "trainer.max_epochs=12", "logger=none")
    _, task, about = restore(str(folder))
    data = reader(about)
    assert isinstance(task, Forecasting)
    assert isinstance(data, SeriesData)
    frame = waves(200)
    rows = forecast(task, data, str(write(frame, tmp_path / "new.csv")))
    assert [row["time"] for row in rows][:2] == ["2024-01-09 08:00", "2024-01-09 09:00"]
    truth = waves(206)[200:]
    assert len(rows) == 6
    for row, load, oil in zip(rows, truth["load"], truth["oil"], strict=True):
        assert row["load"] == pytest.approx(load, abs=3)
        assert row["oil"] == pytest.approx(oil, abs=2)
        assert row["load 0.1"] <= row["load"] == row["load 0.5"] <= row["load 0.9"]

    frame = waves(200, noise=0.5)
    frame.loc[150, "oil"] += 15
    scored = find_anomalies(task, data, str(write(frame, tmp_path / "new.csv")), threshold=6.0)
    assert len(scored) == 200 - 24
    worst = max(scored, key=lambda row: row["score"])
    assert worst["time"] == "2024-01-07 06:00"  # row 150
    assert worst["anomaly"] is True
    assert worst["score"] == worst["oil score"] > worst["load score"]
    assert worst["oil"] == pytest.approx(frame.loc[150, "oil"])
    first = next(row for row in scored if row["anomaly"])
    assert first is worst

    daily = frame.assign(when=pd.date_range("2024-01-01", periods=200, freq="D").astype(str))
    mistakes = {
        r"step D, and the network was trained with the step h": daily,
        r"no column 'oil': did you mean": frame.rename(columns={"oil": "oils"}),
        r"has 20 rows, and the network looks back on 24": frame[:20],
    }
    for message, wrong in mistakes.items():
        with pytest.raises(UserError, match=message):
            forecast(task, data, str(write(wrong, tmp_path / "wrong.csv")))
    with pytest.raises(UserError, match="has 24 rows: the first 24 are looked back on"):
        find_anomalies(task, data, str(write(frame[:24], tmp_path / "wrong.csv")))
    for message, options in {
        "mode=anomaly is unknown: did you mean anomalies": {"mode": "anomaly"},
        "threshold=4.0 is for mode=anomalies": {"threshold": 4.0},
        "threshold=-1.0 must be a positive number": {"mode": "anomalies", "threshold": -1.0},
    }.items():
        with pytest.raises(UserError, match=message):
            list(forecast_or_score(task, data, str(tmp_path / "new.csv"), **options))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="is a folder: name one table"):
        forecast(task, data, str(tmp_path))


def test_robust_scores() -> None:
    """Standard deviations of normal errors; a constant series has none, a single step is found among equal errors."""
    errors = RNG.normal(loc=3, scale=2, size=(100_000, 1))
    np.testing.assert_allclose(robust_scores(errors), np.abs(errors - 3) / 2, atol=0.1)
    assert robust_scores(np.ones((10, 2))).tolist() == np.zeros((10, 2)).tolist()
    one = np.zeros((100, 1))
    one[40] = 1
    assert robust_scores(one).argmax() == 40

"""The clock of a table: jitter, gaps, daylight saving, and how times are told."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from torchatlas.data.series.clock import text_of, times_after, to_utc
from torchatlas.data.series.tables import Form, read_table
from torchatlas.errors import UserError


def saved(path: Path, times: Any) -> Path:
    path.write_text("\n".join(["time,x", *(f"{time},{i}" for i, time in enumerate(times))]) + "\n")
    return path


def test_times_beside_the_clock(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    times = pd.date_range("2024-01-01 00:00:30", periods=200, freq="min")
    beside = times + pd.to_timedelta(np.random.default_rng(0).integers(-5, 6, 200), "ms")
    with caplog.at_level(logging.INFO):
        table = read_table(saved(tmp_path / "a.csv", beside))
    assert table.step == "min"
    assert (table.times == times.to_numpy()).all()
    assert "times lie up to 0.005 s beside a clock with the step min, and count as on it" in caplog.text
    with pytest.raises(UserError, match=r"no row for 2024-01-01 00:50:30, and 1 of 200 times with the step min"):
        read_table(saved(tmp_path / "a.csv", beside.delete(50)))
    filled = read_table(saved(tmp_path / "a.csv", beside.delete(50)), missing="last")
    assert np.flatnonzero(np.isnan(filled.values[:, 0])).tolist() == [50]
    drifting = times + pd.to_timedelta(np.arange(200) ** 2 // 40, "s")
    with pytest.raises(UserError, match="irregular"):
        read_table(saved(tmp_path / "a.csv", drifting))


@pytest.mark.parametrize("freq", ["15min", "h"])
@pytest.mark.parametrize(("zone", "day"), [("Europe/Berlin", "2024-10-27"), ("America/New_York", "2024-11-03")])
def test_the_end_of_daylight_saving(zone: str, day: str, freq: str, tmp_path: Path) -> None:
    true = pd.date_range(f"{day} 00:00", periods=40 if freq == "h" else 160, freq=freq, tz=zone)
    path = saved(tmp_path / "a.csv", true.strftime("%Y-%m-%d %H:%M"))
    with pytest.raises(UserError, match=r"goes back by an hour at .*: name its zone, as in data\.zone=Europe/Berlin"):
        read_table(path)
    table = read_table(path, form=Form(zone=zone))
    assert (table.times == true.tz_convert("UTC").tz_localize(None).to_numpy()).all()
    assert table.zone == zone
    one = saved(tmp_path / "a.csv", pd.date_range(day, periods=30, freq="D").strftime("%Y-%m-%d"))
    days = read_table(one, form=Form(zone=zone))
    assert (days.step, days.zone) == ("D", None)  # days are days wherever the clock is


def test_the_begin_of_daylight_saving(tmp_path: Path) -> None:
    times = pd.date_range("2024-03-30", periods=60, freq="h", tz="Europe/Berlin").strftime("%Y-%m-%d %H:%M")
    path = saved(tmp_path / "a.csv", times)
    with pytest.raises(UserError, match=r"no row for 2024-03-31 02:00.*, or data\.zone=Europe/Berlin, if"):
        read_table(path)
    assert read_table(path, form=Form(zone="Europe/Berlin")).step == "h"


def test_a_file_that_begins_or_ends_in_the_hour_that_comes_twice() -> None:
    def utc(*hours: str) -> list[str]:
        times = pd.DatetimeIndex([f"2024-10-27 {hour}" for hour in hours])
        return [str(time)[11:16] for time in to_utc(times, "Europe/Berlin", "a.csv", lambda row: row).to_numpy()]

    assert utc("01:00", "02:00", "02:00", "03:00") == ["23:00", "00:00", "01:00", "02:00"]
    assert utc("02:00", "02:00", "03:00") == ["00:00", "01:00", "02:00"]
    assert utc("02:00", "03:00", "04:00") == ["01:00", "02:00", "03:00"]
    assert utc("02:30", "02:00", "02:30", "03:00") == ["00:30", "01:00", "01:30", "02:00"]
    assert utc("00:00", "01:00", "02:00") == ["22:00", "23:00", "00:00"]


def test_how_times_are_told() -> None:
    for text, shown in {
        "2024-01-01T00:00:00": "2024-01-01",
        "2024-01-01T10:00:00": "2024-01-01 10:00",
        "2024-01-01T00:00:07": "2024-01-01 00:00:07",
        "2024-01-01T00:00:00.010": "2024-01-01 00:00:00.01",
        "2024-01-01T00:00:00.000000001": "2024-01-01 00:00:00.000000001",
    }.items():
        assert text_of(np.datetime64(text)) == shown
    assert text_of(np.datetime64("2024-07-01T10:00"), "Europe/Berlin") == "2024-07-01 12:00+02:00"
    assert text_of(np.datetime64("2024-07-01T00:00"), "UTC") == "2024-07-01 00:00+00:00"
    assert text_of(np.int64(7)) == "7"
    assert times_after(np.int64(7), "row", 2) == [8, 9]

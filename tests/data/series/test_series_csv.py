"""A user's table of series: times, numbers, and mistakes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.series import waves, write

from torchatlas.data.series.series_csv import SeriesCSV
from torchatlas.data.series.tables import read_table
from torchatlas.errors import UserError
from torchatlas.run.check import check

# --- windows and splits


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%d/%m/%Y", "%Y-%m-%d"])
def test_months_are_months_whichever_way_they_are_written(form: str, tmp_path: Path) -> None:
    """01.02.1990 could be the second of January; as days before months the steps are even."""
    times = pd.date_range("1990-01-01", periods=48, freq="MS")
    path = tmp_path / "a.csv"
    pd.DataFrame({"month": times.strftime(form), "x": np.arange(48.0)}).to_csv(path, index=False)
    table = read_table(path)
    assert (table.step, len(table.values)) == ("MS", 48)


@pytest.mark.parametrize(("freq", "step"), [("QS", "QS-JAN"), ("YE", "YE-DEC"), ("2MS", "2MS")])
def test_a_missing_quarter_or_year_makes_no_months(freq: str, step: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"time": pd.date_range("1980-01-01", periods=24, freq=freq), "x": np.arange(24.0)})
    path = tmp_path / "a.csv"
    frame.drop(index=7).to_csv(path, index=False)
    table = read_table(path, missing="last")
    assert (table.step, len(table.values), int(np.isnan(table.values).sum())) == (step, 24, 1)


def test_decimal_commas_blank_lines_and_columns_of_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.csv"
    lines = [
        "day;a;b;who",
        "",
        *(f"{d};{i},5;{i};me" for i, d in enumerate(pd.date_range("2024-01-01", periods=30).date)),
    ]
    path.write_text("\n".join(lines))
    with caplog.at_level("INFO"):
        table = read_table(path)
    assert table.series == ["a", "b"]
    assert table.values[3].tolist() == [3.5, 3]
    assert "left out, since they hold no numbers or count the rows: who" in caplog.text
    lines[5] = lines[5].replace(",5", "?")
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"'3\?' in line 6, which is no number|'2\?' in line 6"):
        read_table(path, series=["a"])


# --- users' files


def test_times_are_found_and_understood(tmp_path: Path) -> None:
    frame = waves(50)
    steps = {
        "h": "h",
        "D": "D",
        "MS": "MS",
        "ME": "ME",
        "B": "B",
        "W": "7D",
        "15min": "15min",
        "QS": "QS-JAN",
        "YS": "YS-JAN",
    }
    for step, expected in steps.items():
        times = pd.date_range("2024-01-01", periods=50, freq=step)
        table = read_table(write(frame.assign(when=times.astype(str)), tmp_path / "a.csv"))
        assert (table.time, table.step, table.series) == ("when", expected, ["load", "oil"]), step
        assert table.times[-1] == times[-1].to_datetime64()
    for form in ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d %b %Y"):
        times = pd.date_range("2024-01-01", periods=50)
        path = write(frame.assign(when=times.strftime(form)), tmp_path / "a.csv")
        assert read_table(path).times[-1] == times[-1].to_datetime64(), form
    offsets = pd.date_range("2024-03-30", periods=50, freq="h", tz="Europe/Berlin")  # the clock moves in between
    path = write(frame.assign(when=[time.isoformat() for time in offsets]), tmp_path / "a.csv")
    assert read_table(path).step == "h"
    frame.to_csv(tmp_path / "a.csv", index=True, sep=";")  # with a column of row numbers
    assert read_table(tmp_path / "a.csv").series == ["load", "oil"]


def test_mistakes_in_a_file_are_named(tmp_path: Path) -> None:
    frame = waves(60)
    words = frame.astype({"oil": object})
    words.loc[7, "oil"] = "n.b."
    twice = pd.concat([frame[:10], frame[9:]])
    unsorted = pd.concat([frame[:10], frame[12:13], frame[10:12], frame[13:]])
    shifted = frame.copy()
    shifted.loc[20, "when"] = "2024-01-01 20:17:00"
    months = frame.assign(when=pd.date_range("2020-01-01", periods=60, freq="MS").astype(str)).drop(index=14)
    infinite = frame.assign(load=np.where(frame.index == 3, np.inf, frame["load"]))
    mistakes: list[tuple[pd.DataFrame, dict[str, Any], str]] = [
        (words, {}, r"'oil' of .* holds 'n\.b\.' in line 9, which is no number"),
        (infinite, {}, r"'load' of .* holds 'inf' in line 5"),
        (twice, {}, r"has the time 2024-01-01 09:00 twice \(line 12\)"),
        (unsorted, {}, r"not in the order of time: 2024-01-01 10:00 in line 13 is too early"),
        (shifted, {}, r"irregular: after 2024-01-01 19:00 comes 2024-01-01 20:17 \(line 22\), and most steps are h"),
        (months, {}, r"no row for 2021-03-01, and 1 of 60 times with the step MS are missing"),
        (frame, {"series": ["lode"]}, r"no column 'lode' for data\.series: did you mean load\?"),
        (frame, {"covariates": ["oill"]}, r"no column 'oill' for data\.covariates: did you mean oil\?"),
        (frame, {"time": "wen"}, r"no column 'wen' for data\.time: did you mean when\?"),
        (frame, {"time": "load"}, r"column 'load' .* does not hold a time in every row, as in 2024"),
        (frame.drop(columns="when"), {}, r"has no column in which every row has a time"),
        (frame[["when", "sky"]], {}, r"no column of numbers beside its times"),
        (frame[:0], {}, r"is empty: it has a line of names and no row"),
        (frame[:1], {}, r"has 1 row: a series"),
    ]
    for wrong, options, message in mistakes:
        path = write(wrong, tmp_path / "a.csv")
        with pytest.raises(UserError, match=message):
            read_table(path, **options)
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(UserError, match="is empty: it must have"):
        read_table(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"when,a\n\xff\xfe\x00,1\n")
    with pytest.raises(UserError, match="save it as CSV in UTF-8"):
        read_table(tmp_path / "a.csv")
    with pytest.raises(UserError, match=r"there is no file .*: name one with data\.path"):
        read_table(tmp_path / "b.csv")
    with pytest.raises(UserError, match=r"name it with data\.path=FILE\.csv"):
        read_table(None)


def test_channels_are_counted_before_anything_is_built(tmp_path: Path, compose: Callable[..., Any]) -> None:
    path = write(waves(300), tmp_path / "a.csv")
    assert SeriesCSV.declare_in_channels(2, ["a"]) == 3
    assert SeriesCSV.declare_out_channels(path=str(path), covariates=["oil"]) == 1
    assert SeriesCSV.declare_out_channels(fake=True) == 2
    config = compose("model=d_linear", "data=series_csv", f"data.path={path}", "data.covariates=[oil]")
    assert (config.data.in_channels, config.data.out_channels) == (2, 1)
    assert (config.model.in_channels, config.model.out_channels, config.model.lookback) == (2, 1, 48)
    config = compose("model=d_linear", "data=etth1", "data.series=[OT]", "data.covariates=[HUFL,LULL]")
    assert (config.model.in_channels, config.model.out_channels) == (3, 1)
    config = compose("model=n_linear", "data=weather", "task.quantiles=[0.1,0.5,0.9]")
    assert list(config.model.quantiles) == [0.1, 0.5, 0.9]
    check(config, "n_linear", "weather")

"""Forecasts of tables as people write them: the times and the numbers of an answer are those of the file."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.series import series_csv

from torchatlas.data.series.base import SeriesData
from torchatlas.data.series.series_csv import SeriesCSV
from torchatlas.errors import UserError
from torchatlas.models.n_linear import NLinear
from torchatlas.predict.series import find_anomalies, forecast, forecast_or_score
from torchatlas.tasks.forecasting import Forecasting


def asked(path: Path, series: int, **options: Any) -> tuple[SeriesData, Forecasting]:
    """Data as `predict` restores them from a checkpoint, and an untrained network: it forecasts near the last row."""
    trained = series_csv(path, in_channels=series, out_channels=series, **options)
    sizes = {"lookback": 24, "horizon": 6, "in_channels": series, "out_channels": series, "fake": True, "period": None}
    data = SeriesCSV(path=str(path), **{**sizes, **options})
    data.load_state_dict(dict(trained.describe()))
    return data, Forecasting(NLinear(in_channels=series, out_channels=series, lookback=24, horizon=6)).eval()


def rows_of(times: list[str], *columns: Any) -> str:
    return "\n".join(",".join(map(str, row)) for row in zip(times, *columns, strict=True))


def values(n: int) -> list[float]:
    return [i % 24 + 100.5 for i in range(n)]


def test_series_that_are_called_as_columns_of_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    days = pd.date_range("2024-01-01", periods=200).astype(str).tolist()
    columns = [(np.arange(200) % 7 + 100 * k).tolist() for k in range(1, 5)]
    path.write_text("date,time,anomaly,score,time score\n" + rows_of(days, *columns))
    data, task = asked(path, 4)
    assert data.series == ["time", "anomaly", "score", "time score"]
    row = forecast(task, data, str(path))[0]
    assert list(row) == ["time", "time (series)", "anomaly", "score", "time score"]
    assert row["time"] == "2024-07-19"
    assert [round(row[name] / 100) for name in list(row)[1:]] == [1, 2, 3, 4]
    scored = find_anomalies(task, data, str(path), threshold=1e9)[0]
    assert len(scored) == 3 + 4 * 3  # no column has taken the place of another
    assert scored["time"] == "2024-01-25"
    assert scored["anomaly"] is False
    for name, value in zip(("time", "anomaly", "score", "time score"), (1, 2, 3, 4), strict=True):
        own = next(key for key in scored if key.startswith(f"{name} (series)") or key == name == "time score")
        assert round(scored[own] / 100) == value


def test_times_finer_than_seconds_and_none(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    times = pd.date_range("2024-01-01", periods=300, freq="10ms").strftime("%Y-%m-%d %H:%M:%S.%f").tolist()
    path.write_text("time,load\n" + rows_of(times, values(300)))
    data, task = asked(path, 1)
    assert [row["time"] for row in forecast(task, data, str(path))][:2] == [
        "2024-01-01 00:00:03", "2024-01-01 00:00:03.01",
    ]  # fmt: skip
    assert len({row["time"] for row in find_anomalies(task, data, str(path))}) == 300 - 24
    path.write_text(rows_of([str(x) for x in values(300)], values(300)))  # no header either
    data, task = asked(path, 2)
    assert (data.step, data.period, data.series) == ("row", 1, ["1", "2"])
    assert [row["time"] for row in forecast(task, data, str(path))] == [str(301 + i) for i in range(6)]
    assert find_anomalies(task, data, str(path))[0]["time"] == "25"


def test_a_local_clock(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    times = pd.date_range("2024-10-20", periods=300, freq="h", tz="Europe/Berlin").strftime("%Y-%m-%d %H:%M").tolist()
    path.write_text("time,load\n" + rows_of(times, values(300)))
    with pytest.raises(UserError, match=r"back by an hour at 2024-10-27 02:00 in line 173.*data\.zone=Europe/Berlin"):
        series_csv(path, in_channels=1, out_channels=1)
    with pytest.raises(UserError, match=r"data\.zone=Europe/Berlim is unknown"):
        series_csv(path, in_channels=1, out_channels=1, zone="Europe/Berlim")
    data, task = asked(path, 1, zone="Europe/Berlin")
    assert data.step == "h"
    start, end = (times.index("2024-10-27 02:00") + i for i in (0, 1))
    for last, after in ((start, "2024-10-27 02:00+01:00"), (end, "2024-10-27 03:00+01:00")):
        path.write_text("time,load\n" + rows_of(times[: last + 1], values(last + 1)))
        assert forecast(task, data, str(path))[0]["time"] == after
    path.write_text("time,load\n" + rows_of(times[end:], values(300 - end)))  # begins in the hour that comes twice
    assert find_anomalies(task, data, str(path))[0]["time"] == "2024-10-28 02:00+01:00"
    path.write_text("time,load\n" + rows_of(["2024-03-31 02:30", *times[1:]], values(300)))
    with pytest.raises(UserError, match=r"line 2: no clock in Europe/Berlin shows 2024-03-31 02:30"):
        forecast(task, data, str(path))


def test_what_training_has_decided_counts(tmp_path: Path) -> None:
    """A short file cannot tell 1.003 from 1003, nor the first of February from the second of January."""
    path = tmp_path / "a.csv"
    days = pd.date_range("2024-01-01", periods=300)
    sold = [f"{x:,}".replace(",", ".") for x in range(900, 1200)]
    path.write_text("day;sold\n" + rows_of(days.strftime("%d/%m/%Y").tolist(), sold).replace(",", ";"))
    data, task = asked(path, 1)
    short = "day\tsold\n" + rows_of(days[31:60].strftime("%d/%m/%Y").tolist(), ["1.003"] * 29).replace(",", "\t")
    path.write_text(short.split("\n13/02")[0] + "\n" * 2)
    with pytest.raises(UserError, match="has 12 rows, and the network looks back on 24"):
        forecast(task, data, str(path))
    path.write_text(short)
    row = forecast(task, data, str(path))[0]
    assert row["time"] == "2024-03-01"
    assert row["sold"] == pytest.approx(1003, abs=50)
    path.write_text(short.replace("1.003", "1.003 t"))
    assert forecast(task, data, str(path))[0]["sold"] == pytest.approx(1003, abs=50)


def test_units_of_training_and_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    days = pd.date_range("2024-01-01", periods=300).astype(str).tolist()
    path.write_text("day,load\n" + rows_of(days, [f"{x} kW" for x in values(300)]))
    data, task = asked(path, 1)
    path.write_text("day,load\n" + rows_of(days, [f"{x} MW" for x in values(300)]))
    with pytest.raises(UserError, match=r"column 'load' of .* is in MW, and that of training was in kW"):
        forecast(task, data, str(path))
    path.write_text("day,load\n" + rows_of(days, [f"{x} {'kW' if x > 101 else 'MW'}" for x in values(300)]))
    with pytest.raises(UserError, match=r"holds '100\.5 MW' in line 2, which is no number in kW as the others"):
        forecast(task, data, str(path))


def test_series_one_under_another(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    days = pd.date_range("2024-01-01", periods=200).astype(str).tolist()
    rows = [
        f"{day},{shop},{100 * k + i % 7}" for i, day in enumerate(days) for k, shop in enumerate(("north", "south"), 1)
    ]
    path.write_text("date,shop,sold\n" + "\n".join(rows))
    with pytest.raises(UserError, match=r"several series .* column 'shop' tells apart.*data\.group=shop"):
        series_csv(path)
    assert SeriesCSV.declare_out_channels(path=str(path), group="shop") == 2
    data, task = asked(path, 2, group="shop")
    path.write_text("date,shop,sold\n" + "\n".join(sorted(rows, key=lambda row: row.split(",")[1])))  # one block each
    row = forecast(task, data, str(path))[0]
    assert {key: value if key == "time" else round(value / 100) for key, value in row.items()} == {
        "time": "2024-07-19", "sold north": 1, "sold south": 2,
    }  # fmt: skip
    path.write_text("date,shop,sold\n" + "\n".join([*rows, rows[-1]]))
    with pytest.raises(UserError, match=r"has the time 2024-07-18 of shop south twice \(line 402\)"):
        forecast(task, data, str(path))


def test_the_tables_of_a_folder(tmp_path: Path) -> None:
    """Each as alone, with its name in front; one that cannot be read has the reason."""
    path, folder = tmp_path / "a.csv", tmp_path / "new"
    days = pd.date_range("2024-01-01", periods=200).astype(str).tolist()
    path.write_text("day,file\n" + rows_of(days, values(200)))
    data, task = asked(path, 1)
    folder.mkdir()
    for name, rows in (("b.csv", 100), ("c.tsv", 150), ("short.csv", 3)):
        text = "day,file\n" + rows_of(days[:rows], values(rows))
        (folder / name).write_text(text.replace(",", "\t") if name.endswith("tsv") else text)
    for options in ({}, {"mode": "anomalies", "threshold": 1e9}):
        *found, wrong = forecast_or_score(task, data, str(folder), **options)  # type: ignore[arg-type]
        for name in ("b.csv", "c.tsv"):
            alone = list(forecast_or_score(task, data, str(folder / name), **options))  # type: ignore[arg-type]
            own = [row for row in found if row["file"] == str(folder / name)]
            assert [row["time"] for row in own] == [row["time"] for row in alone]
            assert [row["file (series)"] for row in own] == [row["file"] for row in alone]
        assert wrong["file"] == str(folder / "short.csv")
        assert "has 3 rows, and the network looks back on 24" in wrong["error"]

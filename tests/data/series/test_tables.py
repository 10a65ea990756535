"""What stands in a table of series beside what was measured: units, sums, counters, series without a name."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.series import series_csv

from torchatlas.data.series.series_csv import SeriesCSV
from torchatlas.data.series.tables import Form, read_table
from torchatlas.errors import UserError

DAYS = pd.date_range("2024-01-01", periods=20).astype(str).tolist()
ROWS = [f"{day},{i}.5,{20 - i}" for i, day in enumerate(DAYS)]
NAMES = "day,load,temp"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([NAMES, "[UTC],kW,°C", *ROWS], ["line 2: left out is '[UTC], kW, °C', which is no row of measurements"]),
        ([NAMES, ",kW,", *ROWS], ["line 2: left out is ', kW, '"]),
        ([NAMES, *ROWS, "Total,190,190"], ["line 22: left out is 'Total, 190, 190'"]),
        (
            [NAMES, *ROWS, "", "Summe:,190,190", "Mittelwert,9.5,9.5"],
            ["line 23: left out is 'Summe:", "line 24: left out is 'Mittelwert"],
        ),
        (["# of May", "Station 5", NAMES, *ROWS], ["left out are 2 lines above the names, from '# of May' on"]),
        (["No,day,load,temp", *(f"{i},{row}" for i, row in enumerate(ROWS))], ["or count the rows: No"]),
    ],
)
def test_what_was_not_measured_is_left_out_and_told(
    lines: list[str], said: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines) + "\n")
    with caplog.at_level(logging.INFO):
        table = read_table(path)
    assert (table.series, table.step, len(table.values)) == (["load", "temp"], "D", 20)
    assert table.values.tolist() == [[i + 0.5, 20 - i] for i in range(20)]
    assert str(table.times[0])[:10] == DAYS[0]
    for sentence in said:
        assert sentence in caplog.text


def test_a_last_row_that_begins_with_such_a_word_may_be_measured(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [f"{name},{day},5" for name in ("Bern", "Total") for day in DAYS]
    path.write_text("\n".join(["place,day,load", *rows]) + "\n")
    assert read_table(path, form=Form(group="place")).series == ["load Bern", "load Total"]


def test_a_column_of_times_that_is_none_is_not_forecast(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time,load\n" + "".join(f"{i / 100:.2f},{i % 3}\n" for i in range(40)))
    table = read_table(path)
    assert (table.step, table.series) == ("row", ["load"])
    assert read_table(path, series=["time"]).values[:3, 0].tolist() == [0, 0.01, 0.02]  # as asked
    path.write_text("time,load\n" + "".join(f"{45321 + i / 24:.9f},{i % 3}\n" for i in range(40)))
    table = read_table(path)
    assert (table.time, table.step, table.series) == ("time", "h", ["load"])
    assert table.times[25] == np.datetime64("2024-01-31T01:00")
    path.write_text("No,n\n" + "".join(f"{i},{2 * i}\n" for i in range(40)))
    assert read_table(path).series == ["No", "n"]  # there is nothing else


def test_commas_between_cells_and_in_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time,load\n" + "".join(f"2024-01-01 {i:02}:00,{i},5\n" for i in range(24)))
    with pytest.raises(
        UserError, match=r"'time' stands above numbers: if commas both divide .* save it with semicolons"
    ):
        read_table(path)
    path.write_text("load,temp\n" + "".join(f"2024-01-01 {i:02}:00,{i},5\n" for i in range(24)))  # as R writes it
    assert read_table(path).series == ["load", "temp"]


def test_each_row_says_its_series(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["day,shop,load", *(f"{day},{shop},5" for shop in "A " for day in DAYS)]))
    with pytest.raises(UserError, match=r"line 22, column 'shop' is empty: each row must say its series"):
        read_table(path, form=Form(group="shop"))


def test_numbers_that_stand_for_no_value_are_filled_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("load\n" + "".join(f"{-9999 if i in (5, 250) else i % 7}\n" for i in range(300)))
    one = {"in_channels": 1, "out_channels": 1, "missing": "last"}
    data = series_csv(path, absent=[-9999], **one)
    assert data.mean[0] == pytest.approx(3, abs=0.1)
    again = SeriesCSV(absent=[-9999], lookback=24, horizon=6, fake=True, period=None, **one)
    again.load_state_dict(dict(data.describe()))
    assert again.read(str(path)).samples.values.min() > -3
    with pytest.raises(UserError, match=r"data\.absent=none must be a list of numbers, as in data\.absent=\[-9999\]"):
        series_csv(path, absent="none", **one)

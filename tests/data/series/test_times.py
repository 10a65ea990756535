"""Cells as times, where forms differ, and cells that are none."""

import numpy as np
import pytest

from torchatlas.data.series.times import parse_numbers, parse_times


def first(*cells: str, form: str | None = None) -> str | None:
    times = parse_times(cells, form) or parse_numbers(cells, form)
    return None if times is None else str(times.stamps.astype("datetime64[ms]")[0])


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("12/31/2023 12:00 AM", "01/01/2024 12:00 PM"), "2023-12-31T00:00:00.000"),
        (("12/31/2023 12:30 p.m.", "12/31/2023 1:30 p.m."), "2023-12-31T12:30:00.000"),
        (("31.12.68", "01.01.69"), "2068-12-31T00:00:00.000"),
        (("2024-02-29", "2024-03-01"), "2024-02-29T00:00:00.000"),
        (("2023-02-29", "2023-03-01"), None),
        (("2024-01-01 25:00", "2024-01-01 26:00"), None),
        (("13/13/2024", "14/13/2024"), None),
        (("2024-01-01 24:00", "2024-01-02 01:00"), "2024-01-02T00:00:00.000"),
        (("2024-01-01", ""), None),
        (("2024-01-01", "NA"), None),
        (("1. Mai 2024", "2. Mai 2024"), "2024-05-01T00:00:00.000"),
        (("12 août 2024", "13 août 2024"), "2024-08-12T00:00:00.000"),
        (("2020-W53", "2021-W01"), "2020-12-28T00:00:00.000"),
        (("2024-03-31T01:30:00+01:00", "2024-03-31T03:30:00+02:00"), "2024-03-31T00:30:00.000"),
        (("2024-01-01T00:00Z", "2024-01-01T01:00"), None),
        (("2021-W53", "2022-W01"), None),  # 2021 has 52 weeks
        (("2024-03-31 01:00 CET", "2024-03-31 03:00 CEST"), "2024-03-31T00:00:00.000"),
        (("2024-01-01 00:00 EST", "2024-01-01 01:00 EST"), "2024-01-01T05:00:00.000"),
        (("2024-01-01 00:00 IST", "2024-01-01 01:00 IST"), None),  # of India, Israel or Ireland
        (("20240131.0", "20240201.0"), "2024-01-31T00:00:00.000"),
        (("1711324800", "1711328400"), "2024-03-25T00:00:00.000"),
        (("1711324800123456789", "1711324800123456790"), "2024-03-25T00:00:00.123"),
        (("00:00", "01:00"), None),
        (("1", "2"), None),
        (("1.5", "2.5"), None),
        (("12", "1e3"), None),
        (("noon", "night"), None),
        ((), None),
    ],
)
def test_one_time(cells: tuple[str, ...], expected: str | None) -> None:
    assert first(*cells) == expected


def test_days_before_months_or_behind() -> None:
    """The order that keeps the times in order and even; else months stand first, and the log says so."""
    assert first("01/02/2024", "02/02/2024", "03/02/2024") == "2024-02-01T00:00:00.000"
    assert first("01/02/2024", "01/03/2024", "01/04/2024") == "2024-01-02T00:00:00.000"
    assert first("01.02.2024", "01.03.2024") == "2024-02-01T00:00:00.000"
    assert first("01.02.2024", "01.13.2024") is None
    times = parse_times(["01/02/2024", "01/03/2024"])
    assert times is not None
    assert "times such as 01/02/2024 are read as month/day/year" in times.said
    assert first("01/02/2024", "01/03/2024", form="day/month/year") == "2024-02-01T00:00:00.000"
    assert first("01/02/2024", "01/03/2024", form="%d/%m/%Y") == "2024-02-01T00:00:00.000"
    assert first("01/32/2024", "01/03/2024", form="%d/%m/%Y") is None


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("45321", "45322"), ["2024-01-30T00:00:00", "2024-01-31T00:00:00"]),
        (("45321.5", "45321.75"), ["2024-01-30T12:00:00", "2024-01-30T18:00:00"]),
        (("45321,5", "45322"), ["2024-01-30T12:00:00", "2024-01-31T00:00:00"]),
        (("45321.041666667", "45321.083333333"), ["2024-01-30T01:00:00", "2024-01-30T02:00:00"]),
    ],
)
def test_days_of_excel_where_a_name_says_times(cells: tuple[str, ...], expected: list[str]) -> None:
    times = parse_numbers(cells, named=True)
    assert times is not None
    assert times.stamps.tolist() == np.array(expected, "datetime64[us]").tolist()
    assert (
        f"times such as {cells[0].replace(',', '.')} are Excel's days, here {expected[0].replace('T', ' ')}"
        in times.said
    )
    assert parse_numbers(cells) is None
    assert parse_numbers(("12345.5", "12346.5"), named=True) is None  # of 1933


def test_nanoseconds_stay() -> None:
    times = parse_times(["2024-01-01 00:00:00.000000001", "2024-01-01 00:00:00.000000002"])
    assert times is not None
    assert np.diff(times.stamps).astype(np.int64).tolist() == [1]
    times = parse_times(["2024-01-01 00:00:00.000001", "2024-01-01 00:00:00.000002"])
    assert times is not None
    assert times.stamps.dtype == np.dtype("datetime64[us]")

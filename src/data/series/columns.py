"""Which columns of a table hold times, parts of times, numbers, and the name of a series."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ...errors import UserError
from ..tables import MISSING, Cells
from .numbers import is_numbers
from .times import LIKELY, PARTS, TIME_OF_DAY, Times, parse_numbers, parse_times

FORM = "as in 2024-01-31 or 2024-01-31 12:00"
NONE = "none"  # data.time of a table without times
COUNTER = re.compile(r"no\.?|nr\.?|n|num|number|#|id|idx|index|row|line|record|obs|lfd.*|step|t|s|sec|seconds", re.I)
HOUR = re.compile(PARTS["hour"], re.IGNORECASE)
Name = str | list[str]


class Found(NamedTuple):
    """Times of a table.

    Attributes:
        name: of their column, or the names of the columns that hold a part each; "": the table has none.
        times: None: the table has none.
    """

    name: Name
    times: Times | None

    def names(self) -> list[str]:
        """The columns."""
        return [self.name] if isinstance(self.name, str) else self.name


def find_times(cells: Cells, time: Name | None, form: str | None = None, others: Iterable[str] = ()) -> Found:
    """The column of times, or the columns that hold a part each.

    Args:
        cells: the table.
        time: the name, or the names; "none": it has no times; None: the first column that holds times in every row,
            with the one of times of day beside it where the dates repeat; or columns such as year, month and day; or
            one of numbers such as 20240131 or Unix time, if it is the first or its name says so. A table of nothing
            but numbers has no times.
        form: see `parse_times`.
        others: columns that are something else.

    Raises:
        UserError: there is none, or a row has no time; it names the line.
    """
    if time == NONE and NONE not in cells.names:
        return Found("", None)
    if time is not None:
        return _given(cells, time, form)
    free = [name for name in cells.names if name not in set(others)]
    for name in free:
        if (times := parse_times(cells.column(name), form)) is None:
            continue
        _require_names(cells, name)
        beside = _time_of_day(cells, times, [each for each in free if each != name])
        return Found(name, times) if beside is None else _given(cells, [name, beside], form)
    if parts := _parts(cells, free):
        return _given(cells, parts, form)
    for name in (each for each in free if each == cells.names[0] or LIKELY.search(each)):
        if (times := parse_numbers(cells.column(name), form, named=bool(LIKELY.search(name)))) is not None:
            return Found(name, times)
    if all(is_numbers(cells.column(name)) or not any(cells.column(name)) for name in free):
        return Found("", None)
    raise UserError(_without(cells, free, form))


def _given(cells: Cells, time: Name, form: str | None) -> Found:
    """Times of the columns that a user names."""
    names = [cells.require(name, "data.time") for name in ([time] if isinstance(time, str) else time)]
    columns = [cells.column(name) for name in names]
    if len(columns) > 1:
        date = len(names) - 1 if parse_times(columns[0], form) is not None else min(3, len(names))
        joined = [
            " ".join(["-".join(row[:date]), ":".join(part.zfill(2) for part in row[date:])]).strip()
            for row in zip(*columns, strict=True)
        ]
        if (times := parse_times(joined, form)) is None:
            shown = " and ".join(map(repr, names))
            raise UserError(f"columns {shown} of {cells.path} do not make a time in every row, {FORM}")
        return Found(names, times)
    (name,), (column,) = names, columns
    times = parse_times(column, form) or parse_numbers(column, form, named=True)
    if times is None:
        raise UserError(_wrong_time(cells, name, form))
    if beside := _time_of_day(cells, times, [each for each in cells.names if each != name]):
        raise UserError(
            f"{cells.path} has its times of day in the column {beside!r}: name both, data.time=[{name},{beside}]"
        )
    return Found(name, times)


def _require_names(cells: Cells, time: str) -> None:
    """Refuse times without a name where what is called time has numbers: commas divide cells and begin decimals."""
    after = cells.names[1] if len(cells.names) > 1 else ""
    if time == cells.names[0] == "Unnamed: 0" and LIKELY.search(after) and is_numbers(cells.column(after)):
        raise UserError(
            f"{cells.path} has one cell more in each row than names, so that {after!r} stands above numbers: if commas "
            "both divide its cells and begin its decimals, save it with semicolons between cells"
        )


def _time_of_day(cells: Cells, times: Times, names: Sequence[str]) -> str | None:
    """The column of times of day, where the dates repeat: 00:00 and so on, or an hour."""
    if times.clock or len(np.unique(times.stamps)) == len(times.stamps):
        return None
    for name in names:
        column = cells.column(name)
        if all(":" in cell and TIME_OF_DAY.fullmatch(cell) for cell in column):
            return name
        if HOUR.fullmatch(name) and all(re.fullmatch(r"1?\d|2[0-4]|0\d", cell) for cell in column):
            return name
    return None


def _parts(cells: Cells, names: Sequence[str]) -> list[str]:
    """Columns for year, month, day and so on; nothing if there are not the first two."""
    found = []
    for pattern in PARTS.values():
        named = [name for name in names if re.fullmatch(pattern, name, re.IGNORECASE)]
        if not named or not all(cell.isdigit() for cell in cells.column(named[0])):
            break
        found.append(named[0])
    return found if len(found) > 1 else []


def _wrong_time(cells: Cells, name: str, form: str | None) -> str:
    """What is said of a column that was named; the first cell without a time is shown."""
    column = cells.column(name)
    row = next((row for row, cell in enumerate(column) if not _one(cell, form)), 0)
    return (
        f"column {name!r} of {cells.path} does not hold a time in every row, {FORM}: line {cells.lines[row]} has "
        f"{column[row][:40]!r}; data.time_format=FORMAT says how others are written, data.time=none that there are none"
    )


def _without(cells: Cells, names: Sequence[str], form: str | None) -> str:
    """What is said of a table without a column of times: the first cell without one, where others have some."""
    for name in names:
        column = cells.column(name)
        sample = column[:: max(1, len(column) // 20)]
        if not is_numbers(column) and sum(_one(cell, form) for cell in sample) > 0.5 * len(sample):
            return _wrong_time(cells, name, form)
    return (
        f"{cells.path} has no column in which every row has a time, {FORM}: name it with data.time=COLUMN, or use "
        "data.time=none if it has none and its rows are in order"
    )


def _one(cell: str, form: str | None) -> bool:
    return (parse_times([cell], form) or parse_numbers([cell], form, named=True)) is not None


def find_series(cells: Cells, others: Iterable[str]) -> list[str]:
    """Names of the columns that hold numbers and are nothing else.

    Raises:
        UserError: there is none.
    """
    rest = [name for name in cells.names if name not in set(others) and not name.startswith("Unnamed: ")]
    found = [name for name in rest if is_numbers(cells.column(name))]
    found = [name for name in found if not is_counter(name, cells.column(name))] or found
    if not found:
        raise UserError(f"{cells.path} has no column of numbers beside its times: there is nothing to forecast")
    return found


def is_counter(name: str, column: Sequence[str]) -> bool:
    """Whether a column counts the rows, or the time since the first one: by its name, and by even steps upwards.

    >>> is_counter("No", ["1", "2", "3"]), is_counter("time", ["0.0", "0.1", "0.2"]), is_counter("load", ["1", "2"])
    (True, True, False)
    """
    if not (LIKELY.search(name) or COUNTER.fullmatch(name)):
        return False
    try:
        steps = np.diff(np.array([float(cell) for cell in column]))
    except ValueError:
        return False
    return len(steps) > 1 and steps[0] > 0 and bool(np.allclose(steps, steps[0], rtol=1e-3, atol=0))


def find_group(cells: Cells, found: Found) -> str | None:
    """The column that tells several series one under another apart: with it each time comes once, and without it most
    come several times.
    """
    if found.times is None:
        return None
    stamps = found.times.stamps.astype(np.int64).tolist()
    if len(set(stamps)) > 0.7 * len(stamps):
        return None
    for name in cells.names:
        if name in found.names():
            continue
        column = cells.column(name)
        counts = Counter(column)
        few = 1 < len(counts) <= len(column) / 3 and min(counts.values()) > 2 and MISSING.isdisjoint(counts)
        if few and len(set(zip(stamps, column, strict=True))) == len(column):
            return name
    return None

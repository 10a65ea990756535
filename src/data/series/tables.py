"""Tables of series: how they are read from a file, checked, and filled."""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ..splits import sort_labels
from ..tables import SHOWN, VALUE, Cells, read_cells
from .clock import ROWS, Clock, find_clock, text_of, to_utc
from .columns import Found, Name, find_group, find_series, find_times
from .numbers import Written, read_numbers

log = logging.getLogger(__name__)
SUMS = re.compile(
    r"(grand )?(sub)?(totale?s?|totaal|sum|sums|summen?|gesamt|somme|suma|average|avg|mean|mittel(wert)?|moyenne|media|"
    r"min(imum)?|max(imum)?|count|median|std|stdev)\s*:?", re.IGNORECASE,
)  # fmt: skip
SIGNS = {"point": ".", "comma": ","}


@dataclass(frozen=True)
class Form:
    """How a file is to be read, where looking at it does not tell.

    Attributes:
        encoding, header: see `read_cells`.
        decimal: "point" or "comma"; None: what the numbers say, see `read_numbers`.
        time_format: as strptime has it; None: what the times say, see `parse_times`.
        zone: of a local clock; None: it has no daylight saving.
        group: the column that tells apart series which stand one under another.
        absent: numbers that stand for no value.
    """

    encoding: str | None = None
    header: bool | None = None
    decimal: str | None = None
    time_format: str | None = None
    zone: str | None = None
    group: str | None = None
    absent: tuple[float, ...] = ()


@dataclass(frozen=True)
class Known:
    """How the file of training was written; a file of the same make is read in the same way.

    Attributes:
        times: see `Times.form`.
        numbers: the signs and units of its numbers.
    """

    times: str | None = None
    numbers: Written = field(default_factory=Written)


@dataclass(frozen=True)
class Table:
    """Series that share one regular clock.

    Attributes:
        time: name of the column of times, or names of the columns that hold a part each; "": there is none.
        series: names of the columns to be forecast, the first ones of `values`.
        covariates: names of the other columns.
        times: datetime64 `t`; of a table without times the numbers of its rows, int64, from 1 on.
        step: the distance between two times as pandas writes it: "h", "D", "15min", "MS" (month's start); or "row".
        values: float64 `t c`; NaN where a value is missing.
        zone: in which times are told to people, where the file says a zone: the times themselves are UTC then.
        known: how the file is written.
    """

    time: Name
    series: list[str]
    covariates: list[str]
    times: NDArray[np.datetime64] | NDArray[np.int64]
    step: str
    values: NDArray[np.float64]
    zone: str | None = None
    known: Known = field(default_factory=Known)


def read_table(
    path: str | Path | None,
    *,
    time: Name | None = None,
    series: Sequence[str] | None = None,
    covariates: Sequence[str] = (),
    missing: str = "error",
    form: Form | None = None,
    known: Known | None = None,
) -> Table:
    """The columns of a table in a file, checked.

    Args:
        path: the file.
        time: the column of times, see `find_times`.
        series: columns to be forecast; None: all columns of numbers. Of series one under another they are called by
            column and series: "sales 1", "sales 2".
        covariates: further columns.
        missing: "error", or what fills the gaps later: then missing values are NaN, and so are missing rows.
        form: how the file is to be read; None: as looking at it tells.
        known: how that of training was written.

    Raises:
        UserError: there is no such file or column; it is empty; a cell is no number; times are out of order, there
            twice or irregular; a value is missing.
    """
    form, known = form or Form(), known or Known()
    cells = read_frame(path, form, [*listed(time), *(series or ()), *covariates, form.group or ""])
    found = find_times(cells, time, form.time_format or known.times, [*(series or ()), *covariates, form.group or ""])
    if len(cells) < 3:
        raise UserError(f"{path} has {len(cells)} row{'s' * (len(cells) > 1)}: a series to forecast needs many more")
    if found.times is None:
        log.info("%s has no column of times: its rows are numbered, and data.period=ROWS is its season", path)
    elif found.times.said or len(found.names()) > 1:
        together = f"times stand in the columns {', '.join(found.names())}" if len(found.names()) > 1 else ""
        log.info("%s: %s", path, "; ".join(filter(None, (together, found.times.said))))
    if form.group is None and (group := find_group(cells, found)):
        raise UserError(
            f"{path} has several series one under another, which column {group!r} tells apart: read them with "
            f"data.group={group}"
        )
    cells, found = _forwards(cells, found)
    wide = wide_names(cells, found, form.group)
    chosen = choose(cells, wide, found, series, covariates)
    columns = list(dict.fromkeys(wide[name][0] for name in (*chosen, *covariates)))
    if series is None and (rest := _left_out(cells, found, form, columns)):
        log.info("%s: left out, since they hold no numbers or count the rows: %s", path, ", ".join(rest))
    numbers, written = read_numbers(cells, columns, SIGNS.get(form.decimal or ""), known.numbers, form.absent)
    stamps, rows, values = _spread(cells, found, form, wide, [*chosen, *covariates], columns, numbers)
    clock, zone = _clock(stamps, rows, cells, form, found, missing)
    table = np.full((len(clock.times), values.shape[1]), np.nan)
    table[clock.places] = values
    if clock.said:
        log.info("%s: %s", path, clock.said)
    times = np.asarray(clock.times) if found.times is None else clock.times.to_numpy()
    known = Known(None if found.times is None else found.times.form, written)
    return Table(found.name, chosen, list(covariates), times, clock.step, table, zone, known)


def read_frame(path: str | Path | None, form: Form, expected: Iterable[str] = ()) -> Cells:
    """The cells of a user's file that has rows."""
    if path is None:
        raise UserError("data=series_csv needs your file: name it with data.path=FILE.csv")
    names = [name for name in expected if name]
    cells = read_cells(path, encoding=form.encoding, header=form.header, expected=names, blanks=True)
    cells = _measured(cells)
    if not len(cells):
        raise UserError(f"{path} is empty: it has a line of names and no row")
    return cells


def _measured(cells: Cells) -> Cells:
    """The rows but for one of units under the names, and for sums and means at the end; what is left out is logged."""
    begin, end = 0, len(cells)
    has_value = [any(VALUE.match(str(column[row])) for column in cells.columns) for row in range(min(2, end))]
    if cells.header and has_value == [False, True]:
        begin = 1
    first = cells.columns[0].tolist() if cells.columns else []
    while end > begin and SUMS.fullmatch(first[end - 1]) and first.count(first[end - 1]) == 1:
        end -= 1
    left = [*range(begin), *range(end, len(cells))]
    for row in left:
        shown = ", ".join(str(column[row]) for column in cells.columns)
        log.info("%s: left out is %r, which is no row of measurements", cells.place(row), shown[:SHOWN])
    return cells.rows(slice(begin, end)) if left else cells


def wide_names(cells: Cells, found: Found, group: str | None) -> dict[str, tuple[str, str | None]]:
    """The names by which columns are asked for, with the column of each, and the series where several are in it."""
    rest = [name for name in cells.names if name not in found.names()]
    if group is None:
        return {name: (name, None) for name in rest}
    labels = sort_labels(cells.column(cells.require(group, "data.group")))
    return {f"{name} {label}": (name, label) for name in rest if name != group for label in labels}


def choose(
    cells: Cells, wide: dict[str, tuple[str, str | None]], found: Found, series: Sequence[str] | None,
    covariates: Sequence[str],
) -> list[str]:  # fmt: skip
    """Names of the columns to be forecast, see `find_series`, of series one under another too."""
    for key, names in (("series", series or ()), ("covariates", covariates)):
        for name in names:
            if name not in wide:
                raise UserError(cells.lacks(name, f"data.{key}", list(wide)))
    if series is not None:
        return list(series)
    taken = {wide[name][0] for name in covariates}
    groups = set(cells.names) - {column for column, _ in wide.values()}
    columns = find_series(cells, {*found.names(), *groups, *taken})
    return [name for name, (column, _) in wide.items() if column in columns]


def listed(time: Name | None) -> list[str]:
    """The columns that are named."""
    return [] if time is None else [time] if isinstance(time, str) else list(time)


def _left_out(cells: Cells, found: Found, form: Form, columns: Sequence[str]) -> list[str]:
    return [name for name in cells.names if name not in {*found.names(), *columns, form.group}]


def _forwards(cells: Cells, found: Found) -> tuple[Cells, Found]:
    """Rows from the earliest to the latest, where they stand the other way round."""
    if found.times is None or not (np.diff(found.times.stamps.astype(np.int64)) < 0).all():
        return cells, found
    log.info("%s begins with its latest row: it is read from its end", cells.path)
    return cells.rows(slice(None, None, -1)), Found(found.name, replace(found.times, stamps=found.times.stamps[::-1]))


def _spread(
    cells: Cells, found: Found, form: Form, wide: dict[str, tuple[str, str | None]], names: Sequence[str],
    columns: Sequence[str], numbers: NDArray[np.float64],
) -> tuple[Any, NDArray[np.int64], NDArray[np.float64]]:  # fmt: skip
    """Times in order, the row in which each stands first, and the values beside each, `t c`.

    Series one under another come to lie beside one another; where one has no row for a time, its value is missing.
    """
    import pandas as pd

    everything = np.arange(len(cells))
    stamps = everything + 1 if found.times is None else pd.DatetimeIndex(found.times.stamps)
    place = {name: k for k, name in enumerate(columns)}
    if form.group is None:
        stamps = stamps if found.times is None else _in_utc(stamps, everything, cells, form, found)
        return stamps, everything, numbers[:, [place[wide[name][0]] for name in names]]
    if found.times is None:
        raise UserError(f"data.group={form.group} needs times, by which the series belong together: name data.time")
    labels = np.array(cells.column(form.group))
    if (absent := labels == "").any():
        raise UserError(f"{cells.place(int(absent.argmax()), form.group)} is empty: each row must say its series")
    rows = {label: np.flatnonzero(labels == label) for label in dict.fromkeys(labels.tolist())}
    own = {label: _in_utc(stamps[at], at, cells, form, found) for label, at in rows.items()}
    for label, times in own.items():
        if (twice := times.duplicated()).any():
            at = int(twice.argmax())
            raise UserError(
                f"{cells.path} has the time {text_of(times[at].to_numpy())} of {form.group} {label} twice (line "
                f"{cells.lines[rows[label][at]]}): give each time one row"
            )
    index = pd.DatetimeIndex(np.unique(np.concatenate([times.to_numpy() for times in own.values()])))
    first = np.full(len(index), len(cells))
    values = np.full((len(index), len(names)), np.nan)
    for label, times in own.items():
        at = index.get_indexer(times)
        first[at] = np.minimum(first[at], rows[label])
        for k, name in enumerate(names):
            if wide[name][1] == label:
                values[at, k] = numbers[rows[label], place[wide[name][0]]]
    log.info("%s: %d series by column %r, side by side", cells.path, len(own), form.group)
    return index, first, values


def _in_utc(times: Any, rows: NDArray[np.int64], cells: Cells, form: Form, found: Found) -> Any:
    """Times of a local clock as UTC, unless they say their zone, or are days and longer steps."""
    assert found.times is not None
    if form.zone is None or found.times.offset or not _hourly(times):
        return times
    return to_utc(times, form.zone, cells.path, lambda row: int(cells.lines[rows[row]]))


def _hourly(times: Any) -> bool:
    """Whether the usual step is shorter than a day."""
    return len(times) > 1 and bool(
        np.median(np.diff(times.to_numpy()).astype("timedelta64[s]").astype(np.int64)) < 86400
    )


def _clock(
    stamps: Any, rows: NDArray[np.int64], cells: Cells, form: Form, found: Found, missing: str
) -> tuple[Clock, str | None]:
    """The clock, and the zone in which its times are told."""
    if found.times is None:
        return Clock(stamps, np.arange(len(stamps)), ROWS), None
    zone = form.zone if form.zone is not None and _hourly(stamps) else None
    clock = find_clock(stamps, cells.path, lambda row: int(cells.lines[rows[row]]), fill=missing != "error", zone=zone)
    return clock, zone or ("UTC" if found.times.offset else None)


def fill(table: Table, train: int, missing: str) -> NDArray[np.float64]:
    """The values with missing ones filled, `t c`; behind the training rows no value depends on a later one.

    Args:
        table: it may hold NaN where `missing` is not "error".
        train: the number of training rows, among which alone lines are drawn.
        missing: "error", "last" or "interpolate".

    Raises:
        UserError: a value is missing and may not be filled, or a series begins with missing ones.
    """
    gaps = np.isnan(table.values)
    if not gaps.any():
        return table.values
    names = [*table.series, *table.covariates]
    column = int(gaps.any(0).argmax())
    row = int(gaps[:, column].argmax())
    where = f"column {names[column]!r} has no value at {text_of(table.times[row])}"
    if missing == "error":
        more = f" and at {gaps[:, column].sum() - 1} other times" if gaps[:, column].sum() > 1 else ""
        raise UserError(f"{where}{more}: fill the file, or use data.missing=last or data.missing=interpolate")
    begins = gaps[0]
    if begins.any():
        raise UserError(f"column {names[int(begins.argmax())]!r} begins without a value: cut the file's first rows")
    values = table.values.copy()
    for series in values.T:
        if missing == "interpolate" and train > 0:
            part, rows = series[:train], np.arange(train)
            there = ~np.isnan(part)
            inside = ~there & (rows < rows[there][-1])
            part[inside] = np.interp(rows[inside], rows[there], part[there])
        latest = np.maximum.accumulate(np.where(np.isnan(series), 0, np.arange(len(series))))
        series[:] = series[latest]
    return values

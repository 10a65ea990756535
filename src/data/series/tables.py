"""Tables of series: how they are read from a file, checked, and filled."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError, nearest

# pandas takes most of a second to import, which every run on series would wait for: so it comes in late.

log = logging.getLogger(__name__)
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
HEADER = 2  # the line of a file's first row of numbers; the first line has the names


@dataclass(frozen=True)
class Table:
    """Series that share one regular clock.

    Attributes:
        time: name of the column of times.
        series: names of the columns to be forecast, the first ones of `values`.
        covariates: names of the other columns.
        times: datetime64 `t`.
        step: the distance between two times as pandas writes it: "h", "D", "15min", "MS" (month's start).
        values: float64 `t c`; NaN where a value is missing.
    """

    time: str
    series: list[str]
    covariates: list[str]
    times: NDArray[np.datetime64]
    step: str
    values: NDArray[np.float64]


def read_table(
    path: str | Path | None,
    *,
    time: str | None = None,
    series: Sequence[str] | None = None,
    covariates: Sequence[str] = (),
    missing: str = "error",
) -> Table:
    """The columns of a CSV file, checked.

    Args:
        path: the file; its first line has the names.
        time: the column of times; None: the first that holds times.
        series: columns to be forecast; None: all columns of numbers.
        covariates: further columns.
        missing: "error", or what fills the gaps later: then missing values are NaN, and so are missing rows.

    Raises:
        UserError: there is no such file or column; it is empty; a cell is no number; times are out of order, there
            twice or irregular; a value is missing.
    """
    frame = read_frame(path)
    name, times = find_times(frame, path, time)
    names = find_series(frame, path, name, series, covariates)
    if len(frame) < 3:
        raise UserError(f"{path} has {len(frame)} row{'s' * (len(frame) > 1)}: a series to forecast needs many more")
    if series is None and (rest := [c for c in frame.columns if c not in (name, *names, *covariates)]):
        log.info("%s: left out, since they hold no numbers: %s", path, ", ".join(map(str, rest)))
    columns = np.stack([numbers(frame, path, column) for column in (*names, *covariates)], 1)
    grid, step = clock(times, path, frame.index + HEADER, fill=missing != "error")
    values = np.full((len(grid), columns.shape[1]), np.nan)
    values[grid.get_indexer(times)] = columns
    return Table(name, names, list(covariates), grid.to_numpy().astype("datetime64[s]"), step, values)


def read_frame(path: str | Path | None) -> Any:
    """The file as a pandas DataFrame, whose index says in which line a row stands."""
    import pandas as pd

    if path is None:
        raise UserError("data=series_csv needs your file: name it with data.path=FILE.csv")
    where = Path(path).expanduser()
    if not where.is_file():
        raise UserError(f"there is no file {path}: name one with data.path=FILE.csv")
    try:
        with where.open(encoding="utf-8-sig") as file:
            header = file.readline()
        separator = max(",;\t", key=header.count)
        frame = pd.read_csv(
            where, sep=separator, encoding="utf-8-sig", skipinitialspace=True, skip_blank_lines=False
        ).dropna(how="all")  # fmt: skip
    except pd.errors.EmptyDataError:
        raise UserError(f"{path} is empty: it must have a line of names and a row for each time") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is no table of text ({' '.join(str(error).split())}): save it as CSV in UTF-8"
        ) from None
    if not len(frame):
        raise UserError(f"{path} is empty: it has a line of names and no row")
    if separator != ",":
        for name in frame.columns:
            column = frame[name]
            if not pd.api.types.is_numeric_dtype(column) and column.astype(str).str.contains(",").any():
                points = column.astype("string").str.replace(",", ".", regex=False)
                if pd.to_numeric(points, errors="coerce").notna().sum() >= 0.5 * column.notna().sum():
                    frame[name] = points.astype(object)
    return frame


def parse_times(column: Any) -> Any:
    """A DatetimeIndex, or None where the column holds something else. Times with an offset become UTC.

    01/02/2024 is the second of January, unless the column is in order, or has more even steps, as days before months.
    """
    import pandas as pd

    if not (pd.api.types.is_string_dtype(column) or pd.api.types.is_object_dtype(column)) or column.isna().any():
        return None
    found = []
    for options in ({}, {"dayfirst": True}, {"utc": True}):
        with warnings.catch_warnings(record=True) as doubts:
            warnings.simplefilter("always")
            try:
                times = pd.DatetimeIndex(pd.to_datetime(column, **options))
            except (ValueError, TypeError, OverflowError):
                continue
        if doubts:  # what pandas guesses cell by cell, or against the options, is no column of times
            continue
        if times.tz is not None:
            times = times.tz_convert("UTC").tz_localize(None)
        found.append(times)
    ordered = [times for times in found if times.is_monotonic_increasing] or found[:1]
    return min(ordered, key=_unevenness, default=None)


def _unevenness(times: Any) -> float:
    """How many times as long as the shortest step the longest one is."""
    steps = np.diff(times.to_numpy()).astype(np.float64)
    return 1.0 if not len(steps) else float(steps.max() / max(steps.min(), 1.0))


def find_times(frame: Any, path: Any, time: str | None) -> tuple[str, Any]:
    """The name of the column of times, and the times."""
    form = "as in 2024-01-31 or 2024-01-31 12:00"
    if time is None:
        for name in frame.columns:
            if (times := parse_times(frame[name])) is not None:
                return str(name), times
        raise UserError(f"{path} has no column in which every row has a time, {form}: name it with data.time=COLUMN")
    if time not in frame.columns:
        raise UserError(f"{path} has no column {time!r} for data.time{nearest(time, list(map(str, frame.columns)))}")
    times = parse_times(frame[time])
    if times is None:
        raise UserError(f"column {time!r} of {path} does not hold a time in every row, {form}")
    return time, times


def find_series(frame: Any, path: Any, time: str, series: Sequence[str] | None, covariates: Sequence[str]) -> list[str]:
    """Names of the columns to be forecast: the given ones, or all that hold numbers and are no covariates."""
    import pandas as pd

    others = [str(name) for name in frame.columns if name != time]
    for key, names in (("series", series or ()), ("covariates", covariates)):
        for name in names:
            if name not in others:
                raise UserError(f"{path} has no column {name!r} for data.{key}{nearest(name, others)}")
    if series is not None:
        return list(series)
    rest = [name for name in others if name not in covariates and not name.startswith("Unnamed: ")]
    # A column of numbers with a few words in it is a mistake to be told, not a column of words.
    found = [
        name
        for name in rest
        if len(cells := frame[name].dropna()) and pd.to_numeric(cells, errors="coerce").notna().mean() >= 0.5
    ]
    if not found:
        raise UserError(f"{path} has no column of numbers beside its times: there is nothing to forecast")
    return found


def numbers(frame: Any, path: Any, name: str) -> NDArray[np.float64]:
    """A column as float64, NaN where a cell is empty."""
    import pandas as pd

    column = frame[name]
    values: NDArray[np.float64] = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    wrong = (np.isnan(values) & column.notna().to_numpy()) | np.isinf(values)
    if wrong.any():
        row = int(wrong.argmax())
        line, cell = frame.index[row] + HEADER, str(column.iloc[row])
        raise UserError(
            f"column {name!r} of {path} holds {cell!r} in line {line}, which is no number: "
            "correct it, or name other columns with data.series=[...]"
        )
    return values


def one_name(step: str) -> str:
    """Quarters have four names, of which pandas takes the one of a file's first month: one of them for all.

    >>> [one_name(step) for step in ("QS-OCT", "QS-JAN", "QE-DEC", "MS", "W-SUN")]
    ['QS-JAN', 'QS-JAN', 'QE-MAR', 'MS', 'W-SUN']
    """
    kind, _, month = step.partition("-")
    if kind not in ("QS", "QE"):
        return step
    return f"{kind}-{('JAN', 'FEB', 'MAR')[MONTHS.index(month) % 3]}"


def clock(times: Any, path: Any, lines: Any, *, fill: bool) -> tuple[Any, str]:
    """The regular times on which the given ones lie, and their step as pandas writes it.

    Args:
        times: DatetimeIndex of at least three times.
        path, lines: for messages: the file, and the line of each time in it.
        fill: whether times may be missing; the result then has them.

    Raises:
        UserError: times are out of order, there twice, irregular, or missing.
    """
    import pandas as pd

    steps = times[1:] - times[:-1]
    if (steps <= pd.Timedelta(0)).any():
        row = int((steps <= pd.Timedelta(0)).argmax())
        line, time = lines[row + 1], text_of(times[row + 1].to_numpy())
        if steps[row] == pd.Timedelta(0):
            raise UserError(f"{path} has the time {time} twice (line {line}): leave one of the rows out")
        raise UserError(
            f"{path} is not in the order of time: {time} in line {line} is too early: sort its rows by time"
        )
    usual = pd.Series(steps).mode()[0]
    days, rest = divmod(usual, pd.Timedelta(days=1))
    step = (f"{days}D" if days > 1 else "D") if not rest else str(pd.tseries.frequencies.to_offset(usual).freqstr)
    if len(steps.unique()) == 1:
        return times, step
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas 3 announces an object in place of the text
        calendar = pd.infer_freq(times)
    if calendar is not None:
        return times, one_name(str(getattr(calendar, "freqstr", calendar)))
    if (times.day_of_week < 5).all() and usual == pd.Timedelta(days=1):
        step = "B"
    elif times.is_month_start.all() or times.is_month_end.all():
        kind = "S" if times.is_month_start.all() else "E"
        months, name = int(np.gcd.reduce(np.diff(12 * times.year + times.month))), MONTHS[times[0].month - 1]
        step = {1: f"M{kind}", 3: one_name(f"Q{kind}-{name}"), 12: f"Y{kind}-{name}"}.get(months, f"{months}M{kind}")
    grid = pd.date_range(times[0], times[-1], freq=step)
    if times.isin(grid).all():
        if fill:
            return grid, step
        absent = grid.difference(times)
        raise UserError(
            f"{path} has no row for {text_of(absent[0].to_numpy())}, and {len(absent)} of {len(grid)} times with the "
            f"step {step} are missing: add them, or use data.missing=last or data.missing=interpolate"
        )
    row = int((steps != usual).argmax())
    before, after = (text_of(times[i].to_numpy()) for i in (row, row + 1))
    raise UserError(
        f"the times in {path} are irregular: after {before} comes {after} (line {lines[row + 1]}), and most steps "
        f"are {step}: bring them to one step"
    )


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


def text_of(time: Any) -> str:
    """2016-07-01 13:00, without what is zero at the end."""
    text = str(time.astype("datetime64[s]")).replace("T", " ")
    return text.removesuffix(":00").removesuffix(" 00:00")

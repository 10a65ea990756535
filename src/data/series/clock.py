"""The regular clock on which the times of a table lie, and the zone of a local one."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError

# pandas takes most of a second to import, which every run on series would wait for: so it comes in late.

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
JITTER = 0.1  # of a step: so far beside a clock a time may lie that belongs to it
NICE = tuple(10**9 * s for s in (86400, 3600, 60, 10, 1)) + tuple(
    10**i for i in range(8, -1, -1)
)  # ns of rounded steps
ROWS = "row"  # the step of a table without times


@dataclass(frozen=True)
class Clock:
    """Regular times.

    Attributes:
        times: DatetimeIndex with all of them.
        places: where among them each given time lies.
        step: the distance between two as pandas writes it.
        said: what was rounded, for the log.
    """

    times: Any
    places: NDArray[np.int64]
    step: str
    said: str = ""


def find_clock(times: Any, path: Any, line: Callable[[int], int], *, fill: bool, zone: str | None = None) -> Clock:
    """The regular times on which the given ones lie.

    Args:
        times: DatetimeIndex of at least three times.
        path: for messages: the file.
        line: where the time of a row stands in it.
        fill: whether times may be missing; the result then has them.
        zone: of the times, where it is known.

    Raises:
        UserError: times are out of order, there twice, irregular, or missing.
    """
    import pandas as pd

    steps = times[1:] - times[:-1]
    if (steps <= pd.Timedelta(0)).any():
        raise UserError(_backwards(times, steps, path, line, zone))
    usual = pd.Series(steps).mode()[0]
    everywhere = np.arange(len(times))
    if len(steps.unique()) == 1:
        return Clock(times, everywhere, name_of(usual))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas 3 announces an object in place of the text
        calendar = pd.infer_freq(times)
    if calendar is not None:
        return Clock(times, everywhere, one_name(str(getattr(calendar, "freqstr", calendar))))
    step = _calendar_step(times, usual)
    grid = pd.date_range(times[0], times[-1], freq=step)
    places, said = grid.get_indexer(times), ""
    if (places < 0).any() and (near := _nearly(times)) is not None:
        grid, places, step, said = near
    if (places >= 0).all():
        if len(grid) > len(times) and not fill:
            raise UserError(_absent(grid, places, step, path, zone))
        return Clock(grid, places, step, said)
    row = int((steps != usual).argmax())
    before, after = (text_of(times[i].to_numpy()) for i in (row, row + 1))
    raise UserError(
        f"the times in {path} are irregular: after {before} comes {after} (line {line(row + 1)}), and most steps "
        f"are {step}: bring them to one step"
    )


def name_of(step: Any) -> str:
    """A distance of time as pandas writes it."""
    import pandas as pd

    days, rest = divmod(step, pd.Timedelta(days=1))
    return (f"{days}D" if days > 1 else "D") if not rest else str(pd.tseries.frequencies.to_offset(step).freqstr)


def one_name(step: str) -> str:
    """Quarters have four names, of which pandas takes the one of a file's first month: one of them for all.

    >>> [one_name(step) for step in ("QS-OCT", "QS-JAN", "QE-DEC", "MS", "W-SUN")]
    ['QS-JAN', 'QS-JAN', 'QE-MAR', 'MS', 'W-SUN']
    """
    kind, _, month = step.partition("-")
    if kind not in ("QS", "QE"):
        return step
    return f"{kind}-{('JAN', 'FEB', 'MAR')[MONTHS.index(month) % 3]}"


def _calendar_step(times: Any, usual: Any) -> str:
    """The step of times some of which are missing: working days, months, quarters, years, or the usual one."""
    import pandas as pd

    if (times.day_of_week < 5).all() and usual == pd.Timedelta(days=1):
        return "B"
    if usual > pd.Timedelta(days=27) and (times.is_month_start.all() or times.is_month_end.all()):
        kind = "S" if times.is_month_start.all() else "E"
        months, name = int(np.gcd.reduce(np.diff(12 * times.year + times.month))), MONTHS[times[0].month - 1]
        return {1: f"M{kind}", 3: one_name(f"Q{kind}-{name}"), 12: f"Y{kind}-{name}"}.get(months, f"{months}M{kind}")
    return name_of(usual)


def _nearly(times: Any) -> tuple[Any, NDArray[np.int64], str, str] | None:
    """The clock of times that lie up to a tenth of a step beside it, of less than a day; some may be missing."""
    import pandas as pd

    stamps = times.to_numpy().astype("datetime64[ns]").astype(np.int64)
    steps = np.diff(stamps)
    step = _rounded(int(np.median(steps)), JITTER * float(np.median(steps)) / 5)
    if step < 1 or step >= NICE[0]:
        return None
    places = np.concatenate([[0], np.cumsum(np.round(steps / step).astype(np.int64))])
    if (np.diff(places) < 1).any():
        return None
    beside = stamps - places * step
    middle = int(np.median(beside))
    start = _rounded(middle, JITTER * step / 5)
    most = int(np.abs(beside - start).max())
    if most > JITTER * step:
        return None
    first = pd.Timestamp(np.datetime64(start, "ns")).as_unit("ns" if start % 1000 or step % 1000 else "us")
    name = name_of(pd.Timedelta(step, "ns"))
    grid = pd.date_range(first, periods=int(places[-1]) + 1, freq=name)
    far = pd.Timedelta(most, "ns").total_seconds()
    return grid, places, name, f"times lie up to {far:g} s beside a clock with the step {name}, and count as on it"


def _rounded(value: int, most: float) -> int:
    """Nanoseconds, rounded as far as they change by no more than `most`."""
    return next((near for unit in NICE if abs((near := round(value / unit) * unit) - value) <= most), value)


def _backwards(times: Any, steps: Any, path: Any, line: Callable[[int], int], zone: str | None) -> str:
    import pandas as pd

    row = int((steps <= pd.Timedelta(0)).argmax())
    time, usual, hour = text_of(times[row + 1].to_numpy()), pd.Series(steps).mode()[0], pd.Timedelta(hours=1)
    where = f"{time} in line {line(row + 1)}"
    sunday = times[row + 1].day_of_week == 6 and times[row + 1].hour < 4
    if zone is None and sunday and pd.Timedelta(0) < usual <= hour and steps[row] == usual - hour:
        return (
            f"{path} goes back by an hour at {where}, as a clock at the end of daylight saving does: name its zone, as "
            "in data.zone=Europe/Berlin"
        )
    if steps[row] == pd.Timedelta(0):
        return f"{path} has the time {time} twice (line {line(row + 1)}): give each time one row"
    return f"{path} is not in the order of time: {where} is too early: sort its rows by time"


def _absent(grid: Any, places: NDArray[np.int64], step: str, path: Any, zone: str | None) -> str:
    import pandas as pd

    absent = grid[np.setdiff1d(np.arange(len(grid)), places)]
    hour = pd.Timedelta(hours=1)
    spring = zone is None and len(absent) and absent[0].day_of_week == 6 and absent[0].hour in (1, 2)
    whole = spring and (grid[1] - grid[0]) * int((absent < absent[0] + hour).sum()) == hour
    advice = ", or data.zone=Europe/Berlin, if that is where the clock began daylight saving" if whole else ""
    return (
        f"{path} has no row for {text_of(absent[0].to_numpy())}, and {len(absent)} of {len(grid)} times with the "
        f"step {step} are missing: add them, or use data.missing=last or data.missing=interpolate{advice}"
    )


def to_utc(times: Any, zone: str, path: Any, line: Callable[[int], int]) -> Any:
    """Times of a local clock as UTC, without a zone.

    Where daylight saving ends an hour comes twice: the second time it is an hour later.

    Args:
        times: DatetimeIndex in the order of the file.
        zone: as in "Europe/Berlin".
        path, line: see `find_clock`.

    Raises:
        UserError: there is no such zone, or its clock never shows such a time.
    """
    import pandas as pd

    require_zone(zone)
    summer, winter = (
        times.tz_localize(zone, ambiguous=np.full(len(times), first), nonexistent="NaT") for first in (True, False)
    )
    if summer.isna().any():
        row = int(summer.isna().argmax())
        raise UserError(
            f"{path}, line {line(row)}: no clock in {zone} shows {text_of(times[row].to_numpy())}, where daylight "
            "saving begins: name the zone of this clock with data.zone=, or leave that out"
        )
    one, two = (each.tz_convert("UTC").tz_localize(None).to_numpy() for each in (summer, winter))
    chosen = one.copy()
    for row in np.flatnonzero(one != two).tolist():
        if not _again(times, row) if row == 0 else one[row] <= chosen[row - 1]:
            chosen[row] = two[row]
    return pd.DatetimeIndex(chosen)


def _again(times: Any, row: int) -> bool:
    """Whether the clock goes back within the two hours after a row."""
    near = times[row : row + 1 + int((times[row:] < times[row] + np.timedelta64(2, "h")).sum())]
    return bool((near[1:] <= near[:-1]).any())


def require_zone(zone: str) -> None:
    """Refuse a zone that nobody knows.

    Raises:
        UserError: it is none.
    """
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise UserError(f"data.zone={zone} is unknown: zones are called as in Europe/Berlin or Etc/GMT-1") from None


def text_of(time: Any, zone: str | None = None) -> str:
    """2016-07-01 13:00, without what is zero at the end; with a zone in its time, as in 2016-07-01 13:00+02:00.

    Args:
        time: datetime64, or the number of a row.
        zone: where the time, which is UTC, is told in that of a place.
    """
    if not isinstance(time, np.datetime64):
        return str(int(time))
    behind = ""
    if zone is not None:
        import pandas as pd

        local = pd.Timestamp(time).tz_localize("UTC").tz_convert(zone)
        behind, time = local.strftime("%z"), local.tz_localize(None).to_numpy()
        behind = f"{behind[:3]}:{behind[3:]}"
    text = np.datetime_as_string(time.astype("datetime64[ns]")).replace("T", " ")
    whole, _, fraction = str(text).partition(".")
    if fraction := fraction.rstrip("0"):
        return f"{whole}.{fraction}{behind}"
    whole = whole.removesuffix(":00")
    return f"{whole}{behind}" if behind else whole.removesuffix(" 00:00")


def times_after(last: Any, step: str, count: int) -> list[Any]:
    """The times that follow on one, or the rows."""
    if step == ROWS:
        return [last + i + 1 for i in range(count)]
    import pandas as pd

    return list(pd.date_range(last, periods=count + 1, freq=step)[1:].to_numpy())

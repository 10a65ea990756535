"""Cells of a table as times, in the forms in which people write them."""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from ..tables import MISSING

Stamps = NDArray[np.datetime64]
# The first letters of months in English, German, French, Spanish, Italian, Portuguese and Dutch.
MONTHS = (
    "jan ene gen janv", "feb fév fev fevr févr", "mar mär mrz mrt mae", "apr avr abr", "may mai mei mag",
    "jun juin giu", "jul juil lug", "aug ago août aou", "sep set", "oct okt ott out", "nov", "dec dez déc dic",
)  # fmt: skip
MONTH = {begin: number for number, begins in enumerate(MONTHS, 1) for begin in begins.split()}
WEEKDAY = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+(?=\S)", re.IGNORECASE)
WORD = re.compile(r"[^\W\d_]{3,}\.?")
CLOCK = (
    r"(?P<H>\d{1,2})(?:[:h.](?P<M>\d{2})(?:[:.](?P<S>\d{2})(?:[.,:](?P<f>\d+))?)?)?"
    r"\s*(?P<half>[AaPp]\.?\s?[Mm]\.?)?"
)
# Hours east of UTC of zones by name: those of RFC 5322, section 4.3, of Europe, in German too, and of Japan. Names such
# as IST, which several countries have, are none.
ZONES = {
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "WET": 0, "WEST": 1,
    "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MEZ": 1, "MESZ": 2, "MSK": 3, "JST": 9,
}  # fmt: skip
OFFSET = rf"\s*(?P<zone>Z|UTC|GMT|(?:UTC|GMT)?\s?[-+]\d{{2}}(?::?\d{{2}})?|{'|'.join(ZONES)})?"
YEAR, SHORT = r"(?P<y>\d{4})", r"(?P<y>\d{4}|\d{2})"
# The date in front; months by name have become M01 to M12. Of three numbers `a` and `b` are day and month in any order.
DATES = {
    "year-month-day": rf"{YEAR}(?P<s>[-/.\s])\s?M?(?P<m>\d{{1,2}})(?P=s)\s?(?P<d>\d{{1,2}})",
    "three": r"(?P<a>\d{1,2})(?P<s>[-/.\s])\s?(?P<b>\d{1,2})(?P=s)\s?(?P<c>\d{4}|\d{2})",
    "day-name-year": rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[-/.,\s]*M(?P<m>\d\d)[-/.,\s]*{SHORT}",
    "name-day-year": rf"M(?P<m>\d\d)[\s.]*(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s+{YEAR}",
    "name-year": rf"M(?P<m>\d\d)(?:[-/.,\s]*{YEAR}|[-'’](?P<y2>\d{{2}}))",
    "year-name": rf"{YEAR}[-/.\s]*M(?P<m>\d\d)",
    "year-month": rf"{YEAR}[-/](?P<m>\d{{1,2}})",
    "month-year": rf"(?P<m>\d{{1,2}})[-/]{YEAR}",
    "year-quarter": rf"{YEAR}[-/.\s]*Q(?P<q>[1-4])",
    "quarter-year": rf"(?:Q(?P<q>[1-4])|(?P<q2>[1-4])Q)[-/.\s'’]*{SHORT}",
    "year-week": rf"{YEAR}[-/\s]*(?:CW|KW|W)(?P<w>\d{{1,2}})(?:-?(?P<wd>[1-7]))?",
    "week-year": rf"(?:CW|KW|W)\s?(?P<w>\d{{1,2}})[-/\s]+{YEAR}",
}
FORMS = {name: re.compile(rf"{date}(?:[T_\s,;:]+{CLOCK}{OFFSET})?", re.IGNORECASE) for name, date in DATES.items()}
FORMS["digits"] = re.compile(
    r"(?P<y>1[5-9]\d\d|2[0-4]\d\d)(?P<m>\d\d)(?:(?P<d>\d\d)"
    r"(?:[T_\s]?(?P<H>\d\d)(?::?(?P<M>\d\d)(?::?(?P<S>\d\d)(?:\.?(?P<f>\d+))?)?)?"
    rf"{OFFSET})?)?"
)
FORMS["year"] = re.compile(r"(?P<y>1[5-9]\d\d|2[0-4]\d\d)")
EPOCHS = {"s": (8, 10), "ms": (11, 13), "us": (14, 16), "ns": (17, 19)}  # digits of times since 1970: 1973 to 2286
EXCEL = "excel days"
ORDERS = {"day/month/year": "dmy", "month/day/year": "mdy", "year/month/day": "ymd"}
TIME_OF_DAY = re.compile(rf"{CLOCK}", re.IGNORECASE)
LIKELY = re.compile(
    r"time|date|stamp|day|month|year|week|quarter|epoch|unix|dat(um|a)|zeit|tag|jahr|monat|fecha|heure|when", re.I
)
PARTS = {  # columns that hold a part of a time each, in the order of an ISO date
    "year": r"year|yr|yyyy|jahr|año|anno|année", "month": r"month|mon|mo|mm|monat|mes|mois",
    "day": r"day|dy|dd|tag|dia|día|jour", "hour": r"hour|hr|hh|h|stunde|hora|heure", "minute": r"minute|min|mi",
    "second": r"second|sec|ss",
}  # fmt: skip
PIVOT = 69  # a year of two digits from here on is of the last century, as in POSIX


@dataclass(frozen=True)
class Times:
    """A column of times.

    Attributes:
        stamps: datetime64 `t`, in microseconds, or in nanoseconds where they are finer.
        form: in which form they are written: a key of `FORMS` or of `ORDERS`, "unix s" and so on, or a strptime format.
        offset: whether each says its distance from UTC; then the stamps are UTC.
        clock: whether there are times of day in them.
        said: what had to be decided, for the log.
    """

    stamps: Stamps
    form: str
    offset: bool = False
    clock: bool = False
    said: str = ""


def parse_times(cells: Sequence[str], form: str | None = None) -> Times | None:
    """Times of all cells, or None where one is none.

    01/02/2024 is the second of January unless the column is in order, or has more even steps, as days before months;
    with points, 01.02.2024, the day stands first wherever it can.

    Args:
        cells: as they stand in the table.
        form: a strptime format, with a %; or the form in which training had them, which decides where several can be.
    """
    if not len(cells) or any(cell in MISSING for cell in cells):
        return None
    if form is not None and "%" in form:
        return _formatted(cells, form)
    if (fast := _iso(cells)) is not None:
        return fast
    named = [_with_numbers(cell) for cell in cells]
    candidates = list(_candidates(named, form))
    if not candidates:
        return None
    known = [times for times in candidates if times.form == form]
    ordered = [times for times in candidates if _in_order(times.stamps)] or candidates[:1]
    best = (known or sorted(ordered, key=lambda times: _unevenness(times.stamps)))[0]
    if len(candidates) > 1 and not known:
        said = f"times such as {cells[0]} are read as {best.form} (data.time_format=FORMAT if they are not)"
        return replace(best, said=said)
    return best


def parse_numbers(cells: Sequence[str], form: str | None = None, *, named: bool = False) -> Times | None:
    """Times that are written as numbers: 20240131, 202401, 1999, or Unix time in seconds to nanoseconds.

    Args:
        cells: as they stand in the table.
        form: in which training had them.
        named: whether the user or the column's name says that these are times: then they may be Excel's days, too.
    """
    if named and all(re.fullmatch(r"\d{5}(,\d*)?", cell) for cell in cells):
        cells = [cell.replace(",", ".") for cell in cells]
    if not len(cells) or not all(re.fullmatch(r"-?\d+(\.\d*)?([eE]\+?\d+)?", cell) for cell in cells):
        return None
    if all(re.fullmatch(r"\d+\.0*", cell) for cell in cells):  # whole numbers that a program had as real ones
        cells = [cell.partition(".")[0] for cell in cells]
    sizes = {len(cell) for cell in cells}
    kinds: list[Callable[[], Times | None]] = []
    if sizes in ({6}, {8}, {10}, {12}, {14}) and all(cell.isdigit() for cell in cells):
        kinds.append(lambda: _matched(cells, "digits"))
    if sizes == {4}:
        kinds.append(lambda: _matched(cells, "year"))
    kinds.append(lambda: _epoch(cells))
    if named or form == EXCEL:
        kinds.append(lambda: _excel_days(cells))
    found = [times for kind in kinds if (times := kind()) is not None]
    return next((times for times in found if times.form == form), found[0] if found else None)


def _iso(cells: Sequence[str]) -> Times | None:
    """2024-01-31 and 2024-01-31 12:00, as NumPy reads them at once."""
    if not all(cell[4:5] == "-" == cell[7:8] and len(cell) <= 26 and cell[-1:].isdigit() for cell in cells):
        return None
    if any("+" in cell or "-" in cell[10:] for cell in cells):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            stamps = np.array(cells, "datetime64[us]")
    except (ValueError, Warning):
        return None
    return Times(stamps, "year-month-day", clock=any(len(cell) > 10 for cell in cells))


def _formatted(cells: Sequence[str], form: str) -> Times | None:
    import pandas as pd

    try:
        index = pd.DatetimeIndex(pd.to_datetime(list(cells), format=form, utc="%z" in form))
    except (ValueError, TypeError, OverflowError):
        return None
    offset = index.tz is not None
    index = index.tz_convert("UTC").tz_localize(None) if offset else index
    return Times(_shortest(index.to_numpy().astype("datetime64[ns]")), form, offset, clock="%H" in form or "%I" in form)


def _with_numbers(cell: str) -> str:
    """A cell whose month's name has become a number, M01 to M12, and whose weekday is left out.

    >>> [_with_numbers(cell) for cell in ("Wed, 31 Jan 2024", "Mär 2024", "5. Dezember 2023", "2024-Q1", "noon")]
    ['31 M01 2024', 'M03 2024', '5. M12 2023', '2024-Q1', 'noon']
    """
    if cell[:1].isalpha():
        cell = WEEKDAY.sub("", cell, count=1)

    def number(match: re.Match[str]) -> str:
        word = match[0].lower().rstrip(".")
        month = MONTH.get(word[:4]) or MONTH.get(word[:3])
        return f"M{month:02}" if month else match[0]

    return WORD.sub(number, cell)


def _candidates(cells: Sequence[str], form: str | None) -> Iterator[Times]:
    """Each form in which all cells are times."""
    for name, pattern in FORMS.items():
        if name in ("digits", "year") and all(cell.isdigit() for cell in cells):
            continue  # these may be numbers
        if pattern.fullmatch(cells[0]) is None:
            continue
        orders = [""] if name != "three" else _orders(cells[0])
        yield from (times for order in orders if (times := _matched(cells, name, order)) is not None)


def _orders(cell: str) -> list[str]:
    """In which order three numbers may stand, the likeliest first."""
    match = FORMS["three"].fullmatch(cell)
    assert match is not None
    if match["s"] == ".":
        return ["day/month/year"]
    orders = ["month/day/year", "day/month/year"]
    return ["year/month/day", *orders] if len(match["c"]) == 2 and match["s"] == "-" else orders


def _matched(cells: Sequence[str], name: str, order: str = "") -> Times | None:
    """Times of all cells in one form, None where one is in another."""
    fullmatch, names = FORMS[name].fullmatch, list(FORMS[name].groupindex)
    rows = []
    for cell in cells:
        match = fullmatch(cell)
        if match is None:
            return None
        rows.append(match.group(*names) if len(names) > 1 else (match[1],))
    parts = _Parts(dict(zip(names, zip(*rows, strict=True), strict=True)), len(rows))
    if order:
        parts.texts |= dict(zip(ORDERS[order], (parts.texts[each] for each in "abc"), strict=True))
    offsets, days = {bool(zone) for zone in parts.get("zone")}, _dates(parts)
    time = None if days is None or len(offsets) > 1 else _times_of_day(parts)
    if days is None or time is None:
        return None
    stamps = days.astype("datetime64[ns]") + time.astype("timedelta64[ns]")
    said = [f"years of two digits are of this century below {PIVOT}"] if any(parts.short()) else []
    zones = sorted({zone.upper() for zone in parts.get("zone") if zone and zone.upper() in ZONES})
    said += [f"{zone} is {ZONES[zone]:+} hours from UTC" for zone in zones]
    return Times(_shortest(stamps), order or name, offsets.pop(), clock=any(parts.get("H")), said="; ".join(said))


class _Parts:
    """What the groups of a form matched in each cell."""

    def __init__(self, texts: dict[str, Sequence[str | None]], count: int) -> None:
        self.texts, self.count = texts, count

    def get(self, *keys: str) -> Sequence[str | None]:
        """The texts of the first of some groups that matched."""
        found = [self.texts[key] for key in keys if key in self.texts]
        if len(found) > 1:
            return [one or other for one, other in zip(*found, strict=True)]
        return found[0] if found else [None] * self.count

    def numbers(self, *keys: str, default: int = 0) -> NDArray[np.int64]:
        return np.array([int(text) if text else default for text in self.get(*keys)], np.int64)

    def short(self) -> list[bool]:
        """Whether the year has two digits."""
        return [len(text or "") == 2 for text in self.get("y", "y2")]


def _dates(parts: _Parts) -> Stamps | None:
    """Days; None where one does not exist, or is none that nanoseconds can hold."""
    year = parts.numbers("y", "y2")
    year = np.where(parts.short(), year + np.where(year < PIVOT, 2000, 1900), year)
    if (year < 1678).any() or (year > 2261).any():
        return None
    if any(parts.get("w")):
        week, weekday = parts.numbers("w"), parts.numbers("wd", default=1)
        monday, after = _first_monday(year), _first_monday(year + 1)
        if (week < 1).any() or (7 * week > (after - monday).astype(np.int64)).any():
            return None
        of_weeks: Stamps = monday + (7 * (week - 1) + weekday - 1).astype("timedelta64[D]")
        return of_weeks
    quarter = parts.numbers("q", "q2")
    month, day = np.where(quarter > 0, 3 * quarter - 2, parts.numbers("m", default=1)), parts.numbers("d", default=1)
    if (month < 1).any() or (month > 12).any() or (day < 1).any():
        return None
    days = _days(year, month, day)
    there = days.astype("datetime64[M]") == _days(year, month, np.ones_like(day)).astype("datetime64[M]")
    return days if there.all() else None  # the 30th of February is in March


def _first_monday(year: NDArray[np.int64]) -> Stamps:
    """The begin of the first week of years, in which their fourth of January is."""
    fourth = _days(year, np.ones_like(year), np.full_like(year, 4))
    monday: Stamps = fourth - ((fourth.astype(np.int64) + 3) % 7).astype("timedelta64[D]")
    return monday


def _times_of_day(parts: _Parts) -> NDArray[np.int64] | None:
    """Nanoseconds since midnight, of UTC where there are offsets; 24:00 is the midnight after; None: 25:00."""
    hour, minute, second = parts.numbers("H"), parts.numbers("M"), parts.numbers("S")
    if any(parts.get("half")):
        half = np.array([(text or "")[:1].lower() for text in parts.get("half")])
        if (half == "").any() or (hour < 1).any() or (hour > 12).any():
            return None
        hour = hour % 12 + 12 * (half == "p")
    if (hour > 24).any() or (minute > 59).any() or (second > 59).any() or ((hour == 24) & (minute + second > 0)).any():
        return None
    time = ((hour * 60 + minute) * 60 + second) * 10**9
    if any(parts.get("f")):
        time += np.array([int((text or "")[:9].ljust(9, "0")) for text in parts.get("f")], np.int64)
    if any(parts.get("zone")):
        time -= np.array([_offset(text or "") for text in parts.get("zone")], np.int64) * 60 * 10**9
    return time


def _offset(zone: str) -> int:
    """Minutes east of UTC.

    >>> [_offset(zone) for zone in ("Z", "+01:00", "UTC-0330", "CEST")]
    [0, 60, -210, 120]
    """
    if zone.upper() in ZONES:
        return 60 * ZONES[zone.upper()]
    match = re.search(r"([-+])(\d\d):?(\d\d)?$", zone)
    return 0 if match is None else int(f"{match[1]}1") * (60 * int(match[2]) + int(match[3] or 0))


def _days(year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64]) -> Stamps:
    months = (12 * (year - 1970) + month - 1).astype("datetime64[M]")
    days: Stamps = months.astype("datetime64[D]") + (day - 1).astype("timedelta64[D]")
    return days


def _epoch(cells: Sequence[str]) -> Times | None:
    """Unix time, whose unit its number of digits tells."""
    sizes = {len(str(abs(int(Decimal(cell))))) for cell in (cells[0], cells[len(cells) // 2], cells[-1])}
    unit = next((unit for unit, (low, high) in EPOCHS.items() if low < min(sizes) and max(sizes) <= high), None)
    if unit is None:
        return None
    each = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    try:
        stamps = np.array([int(Decimal(cell) * each) for cell in cells], np.int64).astype("datetime64[ns]")
    except OverflowError:
        return None
    years = stamps.astype("datetime64[Y]").astype(np.int64) + 1970
    if years.min() < 1973:
        return None
    return Times(
        _shortest(stamps), f"unix {unit}", clock=True, said=f"times such as {cells[0]} are Unix time in {unit}"
    )


def _excel_days(cells: Sequence[str]) -> Times | None:
    """Days since the end of 1899 with their fractions, as Excel counts them from March 1900 on; of 1954 to 2091."""
    if not all(re.fullmatch(r"\d{5}(\.\d*)?", cell) for cell in cells):
        return None
    days = [Decimal(cell) for cell in cells]
    if not 20_000 <= min(days) <= max(days) < 70_000:
        return None
    seconds = [day * 86400 for day in days]
    places = max(len(cell.partition(".")[2]) for cell in cells)
    far = 43200 * Decimal(10) ** -places + Decimal("0.001")  # as far beside a second as digits are missing
    digits = 0 if all(abs(second - round(second)) <= far for second in seconds) else 3
    since = np.array([int(round(second, digits) * 10**9) for second in seconds], np.int64)
    stamps = np.datetime64("1899-12-30", "ns") + since.astype("timedelta64[ns]")
    clock = any("." in cell for cell in cells)
    said = f"times such as {cells[0]} are Excel's days, here {np.datetime_as_string(stamps[0], 's').replace('T', ' ')}"
    return Times(_shortest(stamps), EXCEL, clock=clock, said=f"{said} (data.time=none if they are not)")


def _shortest(stamps: Stamps) -> Stamps:
    """Microseconds, unless they are finer."""
    return stamps if (stamps.astype(np.int64) % 1000).any() else stamps.astype("datetime64[us]")


def _in_order(stamps: Stamps) -> bool:
    steps = np.diff(stamps.astype(np.int64))
    return bool((steps >= 0).all() or (steps <= 0).all())


def _unevenness(stamps: Stamps) -> float:
    """How many times as long as the shortest step the longest one is."""
    steps = np.abs(np.diff(stamps.astype(np.int64)).astype(np.float64))
    return 1.0 if not len(steps) else float(steps.max() / max(steps.min(), 1.0))

"""Cells of a table as numbers: which sign begins the decimals, marks of thousands, currencies and units."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ..tables import MISSING, Cells

log = logging.getLogger(__name__)
LOOKED = 1_000  # cells by which a column of numbers is told from others
GAPS = "'’\u00a0\u202f\u2009 "  # stand between thousands and nowhere else in a number
STAND_INS = (-99.0, -99.9, -999.0, -999.9, -9999.0, -99999.0)  # for no value
CALLED = {".": "point", ",": "comma"}  # what begins the decimals
WORDS = {"true": 1.0, "false": 0.0}
# A sign, a currency, digits with marks, an exponent, unit: -1.234,5 · $5 · EUR 5 · 12 % · 3e-4 · 5 m/s · (5.00) · 5.00-
NUMBER = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-+−–])?\s*(?P<before>(?:[A-Z]{{0,3}}[$€£¥₹₩₽])|(?:[A-Z]{{3}}(?=\s)))?\s*(?P<inner>[-+−–])?"
    rf"(?P<digits>\d(?:[\d.,{GAPS}]*\d)?[.,]?|[.,]\d+)(?P<exponent>[eE][-+]?\d+)?(?P<behind>[-−])?"
    r"\s*(?P<after>(?:[^\W\d_]|[%‰°$€£¥₹₩₽])[^|;]{0,15})?(?P<close>\))?"
)
THOUSAND = re.compile(r"[1-9]\d{0,2}([.,])\d{3}")  # a mark of thousands, or three decimals


@dataclass(frozen=True)
class Written:
    """How the numbers of a table are written, so that a file of the same make is read in the same way.

    Attributes:
        decimal: what begins the decimals, "." or ",", by the name of the column.
        units: what stands at each number of a column, before or after it.
    """

    decimal: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)


def is_numbers(cells: Sequence[str]) -> bool:
    """Whether a column holds numbers: half of its cells at least, or all are true or false.

    A column of numbers with a few words in it is a mistake to be told, not a column of words. One in which each number
    has something else at it (12 Main Street, 3rd) is of words.
    """
    said = [cell for cell in cells[:: max(1, len(cells) // LOOKED)] if cell not in MISSING]
    if not said:
        return False
    if all(cell.lower() in WORDS for cell in said):
        return True
    units = Counter(_unit(match) for cell in said if (match := NUMBER.fullmatch(cell)))
    return sum(units.values()) >= 0.5 * len(said) and units.most_common(1)[0][1] > 0.5 * sum(units.values())


def read_numbers(
    cells: Cells,
    names: Sequence[str],
    decimal: str | None = None,
    known: Written | None = None,
    absent: Sequence[float] = (),
) -> tuple[NDArray[np.float64], Written]:
    """Columns as float64 `t c`, NaN where a cell is empty or says so, and how they are written.

    What begins the decimals is told by cells that leave no doubt, of the column, or else of the other columns: 0,5 and
    1.234,5 and 1.234.567 have decimal commas. Where each cell might be either, as 1.003, the same column of training
    decides, else commas begin decimals where semicolons divide the cells, and points elsewhere; that is logged.

    Args:
        cells: the table.
        names: of the columns.
        decimal: "." or "," where the user says it.
        known: how those of training were written.
        absent: numbers that stand for no value.

    Raises:
        UserError: a cell is no number, or has another unit than the others; it names the line.
    """
    known = known or Written()
    columns = {name: cells.column(name) for name in names}
    found = {name: _evidence(column) for name, column in columns.items()}
    sure = {sign for evidence in found.values() for sign in evidence.sure}
    values = np.empty((len(cells), len(names)))
    written = Written()
    for k, name in enumerate(names):
        sign, doubt = _decimal(found[name], decimal, known.decimal.get(name), sure, cells.separator)
        values[:, k], unit = _numbers(cells, name, columns[name], sign)
        if found[name].open or found[name].sure:
            written.decimal[name] = sign
        if unit:
            written.units[name] = unit
        before = known.units.get(name, "")
        if unit and before and unit != before:
            raise UserError(f"column {name!r} of {cells.path} is in {unit}, and that of training was in {before}")
        if doubt:
            log.info("%s: column %r: %s", cells.path, name, doubt)
        if (none := np.isin(values[:, k], absent)).any():
            values[none, k] = np.nan
            log.info("%s: column %r has no value in %d rows, by data.absent", cells.path, name, none.sum())
        if number := _stand_in(values[:, k]):
            log.warning(
                "%s: column %r is %g in %d rows, far below all others, and counts as measured (data.absent=[%g] if it "
                "stands for no value)", cells.path, name, number, (values[:, k] == number).sum(), number,
            )  # fmt: skip
    if written.units:
        said = ", ".join(f"{unit} of {name}" for name, unit in list(written.units.items())[:8])
        log.info("%s: taken off the numbers: %s%s", cells.path, said, ", ..." if len(written.units) > 8 else "")
    return values, written


@dataclass
class _Evidence:
    """What the cells of a column say of its decimals.

    Attributes:
        sure: signs that begin decimals without doubt, the most frequent first.
        open: signs that may begin three decimals or divide thousands.
        example: a cell with such a sign.
        long: whether there is a number of four digits and more without a sign.
        short: whether there are shorter ones without a sign, and a doubtful one that ends in 0.
    """

    sure: list[str] = field(default_factory=list)
    open: set[str] = field(default_factory=set)
    example: str = ""
    long: bool = False
    short: bool = False


def _evidence(cells: Iterable[str]) -> _Evidence:
    found, counts, small, zero = _Evidence(), Counter[str](), False, False
    for cell in cells:
        if cell.isdigit():
            found.long = found.long or len(cell) > 3
            small = small or len(cell) <= 3
            continue
        match = NUMBER.fullmatch(cell)
        if match is None:
            continue
        digits = match["digits"]
        signs = [sign for sign in digits if sign in ".,"]
        if not signs:
            continue
        last = signs[-1]
        if len(set(signs)) == 1 and len(signs) > 1:
            counts[_other(last)] += 1
        elif len(signs) == 1 and THOUSAND.fullmatch(digits) and not match["exponent"]:
            found.open.add(last)
            found.example = found.example or cell
            zero = zero or digits.endswith("0")
        else:
            counts[last] += 1
            if counts[last] > LOOKED:  # beyond doubt
                break
    found.sure = [sign for sign, _ in counts.most_common()]
    found.short = small and zero and not found.long
    return found


def _other(sign: str) -> str:
    return "," if sign == "." else "."


def _decimal(
    evidence: _Evidence, given: str | None, known: str | None, sure: set[str], separator: str
) -> tuple[str, str]:
    """What begins the decimals of a column, and what is to be said of it."""
    usual = "," if separator == ";" else "."
    if given is not None:
        return given, ""
    if evidence.sure:
        return evidence.sure[0], ""
    if len(evidence.open) != 1:
        return known or usual, ""
    (sign,) = evidence.open
    why = f" (data.decimal={CALLED[sign]} if it is not)"
    if evidence.long:  # 1234 beside 1.003: thousands are not marked
        chosen = sign
    elif evidence.short:  # 987 beside 1.010: who writes three decimals would write 987.000
        chosen = _other(sign)
    elif known is not None:
        return known, ""
    else:
        chosen = next(iter(sure)) if len(sure) == 1 else usual
    if chosen == sign:
        return chosen, "" if sign == usual else f"{evidence.example} has three decimals"
    whole = evidence.example.replace(sign, "")
    return chosen, f"{evidence.example} is {whole}: the sign in it marks thousands{why}"


def _stand_in(values: NDArray[np.float64]) -> float:
    """A number such as -9999 that may stand for no value, as loggers of weather write it; 0: there is none."""
    known = values[~np.isnan(values)]
    least = known.min(initial=0.0)
    others = known[known > least]
    return float(least) if least in STAND_INS and len(others) and others.min() > 0.5 * least else 0.0


def _numbers(cells: Cells, name: str, column: list[str], decimal: str) -> tuple[NDArray[np.float64], str]:
    """A column's numbers, and what stands at each of them."""
    if decimal == "." and (fast := _plain(column)) is not None:
        return fast, ""
    values = np.full(len(column), np.nan)
    units: Counter[str] = Counter()
    later: list[tuple[int, str, re.Match[str] | None]] = []
    for row, cell in enumerate(column):
        if cell in MISSING:
            continue
        try:
            if decimal != "." and "." in cell:
                raise ValueError
            value = float(cell)
            plain = "_" not in cell
        except ValueError:
            plain = False
        if plain and isfinite(value):
            values[row] = value
        elif cell.lower() in WORDS:
            values[row] = WORDS[cell.lower()]
        else:
            match = NUMBER.fullmatch(cell)
            later.append((row, cell, match))
            if match:
                units[_unit(match)] += 1
    bare = ~np.isnan(values) & (values != 0)  # 0 needs no unit
    usual = units.most_common(1)[0][0] if units and units.most_common(1)[0][1] >= bare.sum() else ""
    others = f" in {usual} as the others" if usual else ""
    if usual and bare.any():
        row = int(bare.argmax())
        raise UserError(_wrong(cells, name, column[row], row, others))
    for row, cell, match in later:
        value = np.nan if match is None else _value(match, decimal)
        if match is None or np.isnan(value):
            raise UserError(_wrong(cells, name, cell, row, _hint(cell, decimal)))
        if (unit := _unit(match)) != usual and (unit or value != 0):
            raise UserError(_wrong(cells, name, cell, row, others))
        values[row] = value
    return values, usual


def _plain(column: list[str]) -> NDArray[np.float64] | None:
    """The numbers of a column where Python reads each, and nothing stands at them."""
    try:
        values = np.array([np.nan if cell in MISSING else float(cell) for cell in column])
    except ValueError:
        return None
    return None if np.isinf(values).any() or "_" in "".join(column) else values


def _wrong(cells: Cells, name: str, cell: str, row: int, more: str) -> str:
    shown = cell if len(cell) <= 40 else f"{cell[:40]}..."
    return (
        f"column {name!r} of {cells.path} holds {shown!r} in line {cells.lines[row]}, which is no number{more}: "
        "correct it, or name other columns with data.series=[...]"
    )


def _hint(cell: str, decimal: str) -> str:
    """What is said of a cell that is a number but for the sign of its decimals."""
    match = NUMBER.fullmatch(cell)
    other = match is not None and not np.isnan(_value(match, _other(decimal)))
    return f" with decimals behind a {CALLED[decimal]} as the others" if other else ""


def _unit(match: re.Match[str]) -> str:
    """What stands before or after the digits."""
    return (match["before"] or match["after"] or "").strip()


def _value(match: re.Match[str], decimal: str) -> float:
    """The number; NaN where its marks are at no thousands, it is too large, or one of two brackets is missing.

    >>> [_value(NUMBER.fullmatch(cell), ",") for cell in ("1.234,5", "−0,5 %", "1 003", "(5)", "5,0-", "1.23", "2,")]
    [1234.5, -0.5, 1003.0, -5.0, -5.0, nan, 2.0]
    """
    whole, _, rest = match["digits"].partition(decimal)
    groups = re.split(rf"[{re.escape(_other(decimal))}{GAPS}]", whole)
    marked = len(groups[0]) < 4 and len(groups[-1]) == 3 and all(len(group) in (2, 3) for group in groups[1:])
    if (len(groups) > 1 and not marked) or (rest and not rest.isdigit()) or bool(match["open"]) != bool(match["close"]):
        return np.nan
    value = float(f"{''.join(groups) or '0'}.{rest or '0'}{match['exponent'] or ''}")
    if not isfinite(value):
        return np.nan
    negative = any(match[name] and match[name] in "(-−–" for name in ("open", "sign", "inner", "behind"))
    return -value if negative else value

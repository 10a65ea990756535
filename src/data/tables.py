"""Tables of text, as people save them: cells with the line of each, whatever divides them and however they are stored.

Every table of a user's own is read here: series, texts with classes, and files for `predict`. A cell is the text that
stands in the file, without blanks around it; what it means (a number, a time, a label) the caller knows:

    cells = read_cells("sales.csv")
    cells.names, cells.header      # ["day", "sold"], True; without a line of names: ["1", "2"], False
    cells.column("sold")           # ["3", "", "4"]
    cells.place(1, "sold")         # "sales.csv, line 3, column 'sold'"
"""

import contextlib
import csv
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError, nearest
from .decoding import text_lines

log = logging.getLogger(__name__)
SEPARATORS = "\t;|,"  # of two that fit equally well the first: commas stand in numbers too
BLANKS = " "  # the separator of tables in which runs of blanks and tabs divide
DATED = "  "  # the same where a date and a time of day stand under one name
CELLS = {BLANKS: r'"[^"]*"|\S+', DATED: r'"[^"]*"|\d[\d./-]{5,9}[ \t]+\d{1,2}:\d\d\S*|\S+'}
# What stands for no value: words of programs, in any letters, signs of people, and mistakes of Excel, in German too.
WORDS_FOR_NONE = ("na", "n/a", "n.a.", "<na>", "nan", "-nan", "nat", "null", "none", "nil", "\\n", "k.a.", "n.v.")
MISSING = frozenset(
    ("", "-", "--", "---", "–", "—", "?", ".", "..", "...", "#N/A", "#NA", "#NV", "#VALUE!", "#WERT!", "#DIV/0!",
     "#REF!", "#BEZUG!", "#NAME?", "#NUM!", "#ZAHL!", "#NULL!", "NaN", "NaT", "-NaN", "N.a.",
     *(way for word in WORDS_FOR_NONE for way in (word, word.upper(), word.capitalize())))
)  # fmt: skip
LOOKED = 1_000  # lines by which separator and header are found
CHUNK = 4_096  # rows that are Python's strings at a time
LARGEST = 1 << 24  # characters of a cell
SHOWN = 40  # characters of a line that the log has
VALUE = re.compile(r"[-+−(]?\s*[^\w\s.,;]?\s*[-+−]?\s*[.,]?\d")  # how numbers and times begin: -3, $5, .5, 2024


@contextlib.contextmanager
def unsaid() -> Iterator[None]:
    """Nothing is logged of tables that are read to count what is in them: who reads them for a run says it."""
    logger = logging.getLogger(__package__)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True)
class Cells:
    """A table of text. Rows without a cell that says something are left out, and so are columns without name and cell.

    Attributes:
        path: the file.
        names: of the columns, none of them twice: a second `load` is `load.1`, a column without a name `Unnamed: 2`
            (counted from 0), both as pandas calls them; without a line of names "1", "2", ...
        separator: what divides the cells: one of `SEPARATORS`, `BLANKS` or `DATED`.
        header: whether the names stand in the file.
        lines: in which line of the file each row begins, counted from 1; int64 `t`.
        columns: the cells of each column, `t` strings of `numpy.dtypes.StringDType`, which take 16 bytes if short.
    """

    path: str
    names: list[str]
    separator: str
    header: bool
    lines: NDArray[np.int64]
    columns: list[Any]

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> list[str]:
        """The cells of a column.

        Raises:
            KeyError: there is none of that name.
        """
        if name not in self.names:
            raise KeyError(name)
        found: list[str] = self.columns[self.names.index(name)].tolist()
        return found

    def require(self, name: str, key: str) -> str:
        """A name that a user gave with `key`, as it is, if there is such a column.

        Raises:
            UserError: there is none; it names the nearest.
        """
        if name not in self.names:
            raise UserError(self.lacks(name, key, self.names))
        return name

    def lacks(self, name: str, key: str, names: Sequence[str]) -> str:
        """What is said of a column that is none of some."""
        without = "" if self.header else ", whose columns have no names and are counted from 1"
        return f"{self.path} has no column {name!r} for {key}{without}{nearest(name, list(names))}"

    def place(self, row: int, name: str | None = None) -> str:
        """Where a row stands, or a cell of it, for messages."""
        return f"{self.path}, line {self.lines[row]}" + (f", column {name!r}" if name is not None else "")

    def rows(self, chosen: Any) -> "Cells":
        """Some of the rows: places, a slice or a mask."""
        return replace(self, lines=self.lines[chosen], columns=[column[chosen] for column in self.columns])


def read_cells(
    path: str | Path,
    *,
    encoding: str | None = None,
    header: bool | None = None,
    expected: Sequence[str] = (),
    blanks: bool = False,
) -> Cells:
    """The cells of a table: a text, packed by gzip or not, whatever its name ends in.

    Commas, semicolons, tabs or bars outside of quotes divide it: those of which the lines have equally many. A
    separator at the end of rows is none, a row may have a name in front that the line of names lacks (as R writes
    tables), and the line `sep=;` in front is Excel's. Remarks above the names are left out, see `above_names`, and
    cells that a row lacks at its end are empty (Excel leaves such separators out); both are logged.

    Args:
        path: the file.
        encoding: as Python calls it, as in "latin-1"; None: UTF-8, or what a byte order mark says, which always counts.
        header: whether the first line has the names of the columns; None: it has them unless its cells are numbers or
            times where those below are, or one of them comes again below it; that is logged.
        expected: names of columns, of which one in the first line says that names stand there.
        blanks: whether runs of blanks may divide cells, where nothing else does: not in tables of texts.

    Raises:
        UserError: there is no such file, it is no text in that encoding, empty, or a row has more or fewer cells than
            the others; it names the line.
    """
    path = Path(path).expanduser()
    with text_lines(path, encoding) as lines:
        sample = list(islice(lines, LOOKED))
    given = re.fullmatch(r'"?sep=(.)"?\s*', sample[0]) if sample else None
    sample = sample[1:] if given else sample
    separator = given[1] if given else find_separator(sample, blanks=blanks)
    quoted = not _better_without_quotes(sample, separator)
    looked = [cells for _, cells in split_rows(sample, separator, quoted=quoted)]
    if not looked:
        raise UserError(f"{path} is empty: it must have a line of names and a row for each sample")
    above = above_names(looked)
    if above:
        log.info("%s: left out are %d lines above the names, from %r on", path, above, looked[0][0][:SHOWN])
    named = has_names(looked[above:], expected) if header is None else header
    try:
        with text_lines(path, encoding) as lines:
            rows = split_rows(lines, separator, quoted=quoted, skip=1 if given else 0)
            rows = islice(rows, above, None)
            first = next(rows)[1] if named else None
            least = None if separator in CELLS else 1 if blanks else 2  # half of a text is no row
            columns, starts, width = _columns(rows, first, path, least)
    except csv.Error as error:  # a cell of millions of characters
        raise UserError(f"{path}: {error}: close the quotes that a text opens") from error
    names = [str(i + 1) for i in range(width)] if first is None else _names(first, width)
    if not named and header is None:
        log.info("%s has no line of names: its columns are called 1 to %d (data.header=true if it has)", path, width)
    kept = [i for i, name in enumerate(names) if not name.startswith("Unnamed: ") or _any(columns[i])]
    return Cells(
        str(path), [names[i] for i in kept], separator, named, np.array(starts, np.int64), [columns[i] for i in kept]
    )


def split_rows(
    lines: Iterable[str], separator: str, *, quoted: bool = True, skip: int = 0
) -> Iterator[tuple[int, list[str]]]:
    r"""The rows that say something: the line in which each begins, and its cells, without blanks around them.

    Args:
        lines: with what ends them.
        separator: a character, `BLANKS` or `DATED`.
        quoted: whether a cell in double quotes may hold separators and ends of lines.
        skip: lines that are left out in front.

    >>> list(split_rows(['a;"b; c\n', 'd"\n', ';\n', ' e ;f\n'], ";"))
    [(1, ['a', 'b; c\nd']), (4, ['e', 'f'])]
    """
    lines = iter(lines)
    for _ in range(skip):
        next(lines, None)
    if separator in CELLS:
        found = (re.findall(CELLS[separator], line) for line in lines)
        for number, row in enumerate(found, skip + 1):
            if row:
                yield number, [cell.strip('"') for cell in row]
        return
    reader = csv.reader(
        lines, delimiter=separator, skipinitialspace=True, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    )
    begin = skip + 1
    csv.field_size_limit(LARGEST)
    for cells in reader:
        cells = [cell.strip() for cell in cells]
        if any(cells):
            yield begin, cells
        begin = skip + reader.line_num + 1


def evenness(lines: Sequence[str], separator: str, *, quoted: bool = True) -> tuple[float, int]:
    """The share of rows that have as many cells as most of them, and how many those are."""
    counts = Counter(len(cells) for _, cells in split_rows(lines, separator, quoted=quoted))
    if not counts:
        return 0.0, 0
    usual, times = counts.most_common(1)[0]
    return times / counts.total(), usual


def find_separator(lines: Sequence[str], *, blanks: bool) -> str:
    r"""What divides the cells: that of which the lines have equally many; a comma where nothing does.

    >>> find_separator(["day;load, kW\n", "1.1.2024;0,5\n"], blanks=False)
    ';'
    >>> find_separator(["day load\n", "2024-01-01   0,5\n", "2024-01-02  10,5\n"], blanks=True)
    ' '
    """
    found = {separator: evenness(lines, separator) for separator in SEPARATORS}
    fitting = [separator for separator in SEPARATORS if found[separator][1] > 1]
    best = max(fitting, key=lambda separator: found[separator][0], default="")
    if blanks and (not best or found[best][0] < 0.9 or (best == "," and _decimal_commas(lines))):
        share, cells = evenness(lines[1:] or lines, BLANKS)  # R's line of names lacks one
        if share >= 0.9 and cells > 1:
            return max(CELLS, key=lambda separator: evenness(lines, separator)[0])
    return ";" if best == "," and _halves(lines) else best or ","


def _halves(lines: Sequence[str]) -> bool:
    """Whether under one name each row is a number with a decimal comma, and not one behind the number of its row."""
    first, *rows = [line.strip() for line in lines if line.strip()]
    if "," in first or not rows or not all(re.fullmatch(r"[-+−]?\d[\d.'’ \u00a0]*,\d+", row) for row in rows):
        return False
    fronts = [row.partition(",")[0] for row in rows]
    return all(fronts != [str(i + start) for i in range(len(rows))] for start in (0, 1))


def _decimal_commas(lines: Sequence[str]) -> bool:
    """Whether what stands between commas is the end of a number, blanks, and the begin of the next one."""
    rows = [cells for _, cells in split_rows(lines, ",")][1:]
    width = min(map(len, rows), default=0)
    ends = [re.search(r"\s([-+]?\d+)$", row[0]) for row in rows if row]
    lengths = {len(end[1]) for end in ends if end}
    between = any(all(re.fullmatch(r"\d+\s+[-+]?\d+", row[i]) for row in rows) for i in range(1, width - 1))
    return between or (all(ends) and len(lengths) > 1)


def _better_without_quotes(lines: Sequence[str], separator: str) -> bool:
    """Whether a quote at the begin of a cell is a sign like others: so each line has its cells, and else not."""
    if separator in CELLS or not any('"' in line for line in lines):
        return False
    with_quotes, without = (evenness(lines, separator, quoted=quoted) for quoted in (True, False))
    rows = sum(1 for _ in split_rows(lines, separator))
    broken = rows < sum(1 for line in lines if line.strip())  # cells go over ends of lines
    return without[0] == 1 and without[1] > 1 and (broken or with_quotes[0] < 1)


def above_names(rows: Sequence[Sequence[str]]) -> int:
    """How many rows at the begin are remarks: they begin with #, or are shorter and stand above words above values.

    >>> above_names([["# made by x"], ["day", "sold"], ["2024-01-01", "5"], ["2024-01-02", "6"]])
    1
    >>> above_names([["Station 5"], ["in Bern"], ["day", "sold"], ["2024-01-01", "5"], ["2024-01-02", "6"]])
    2
    >>> above_names([["sold"], ["1", "5"], ["2", "6"]]), above_names([["#day", "sold"], ["2024-01-01", "5"]])
    (0, 0)
    """
    lengths = [max((i + 1 for i, cell in enumerate(row) if cell), default=0) for row in rows]
    usual = Counter(lengths).most_common(1)[0][0]
    remarks = [row[0].startswith("#") for row in rows]
    number = next(i for i, length in enumerate(lengths) if (length == usual and not remarks[i]) or i + 1 == len(rows))
    words, values = (any(VALUE.match(cell) for row in rows[i : i + 1] for cell in row) for i in (number, number + 1))
    if not words and values and all(remarks[i] or lengths[i] < usual for i in range(number)):
        return number
    if not all(remarks[:number]):
        return 0
    while number and lengths[number - 1] == usual:  # names, or texts that begin so
        number -= 1
    return number


def looks_like_value(cell: str) -> bool:
    """Whether a cell may be a number or a time, or says that there is none."""
    return cell in MISSING or VALUE.match(cell) is not None


def has_names(rows: Sequence[Sequence[str]], expected: Sequence[str] = ()) -> bool:
    """Whether the first row has the names of the columns; see `read_cells`.

    >>> has_names([["day", "1"], ["2024-01-01", "5"]]), has_names([["2024-01-01", "5"], ["2024-01-02", "6"]])
    (True, False)
    >>> has_names([["fine", "pos"], ["bad", "neg"], ["good", "pos"]]), has_names([["0", "1"], ["2.5", "7"]])
    (False, True)
    """
    first, body = rows[0], rows[1:]
    if set(expected) & set(first) or not body:
        return True
    places = range(min(len(first), min(map(len, body))))
    columns = [[row[i] for row in body] for i in places]
    values = [i for i in places if _mostly_values(columns[i])]
    if not values:
        return not any(first[i] and first[i] in columns[i] for i in places)
    numbered = [first[i] for i in values if first[i]]
    if len(numbered) > 1 and any(numbered == [str(i + start) for i in range(len(numbered))] for start in (0, 1)):
        return True  # columns without names of their own, counted by what wrote them
    return any(
        not looks_like_value(first[i]) if first[i] else MISSING.isdisjoint(columns[i]) for i in values
    ) or not any(first[i] for i in values)


def _mostly_values(cells: Sequence[str]) -> bool:
    said = [cell for cell in cells if cell not in MISSING]
    return len(said) > 0 and sum(map(looks_like_value, said)) >= 0.9 * len(said)


def _columns(
    rows: Iterator[tuple[int, list[str]]], first: list[str] | None, path: Path, least: int | None
) -> tuple[list[Any], list[int], int]:
    """Columns of all rows, the line of each row, and the number of columns.

    A row of `least` cells or more may lack some at its end, unless most rows do.
    """
    kind = np.dtypes.StringDType()
    parts: list[list[Any]] = []
    starts: list[int] = []
    width, short = 0, 0
    while chunk := list(islice(rows, CHUNK)):
        if not width:
            width = _width([cells for _, cells in chunk], first)
            if sum(len(cells) < width for _, cells in chunk) > 0.5 * len(chunk):
                least = None
        table: list[list[str]] = []
        for line, cells in chunk:
            if not any(cells[width:]):
                del cells[width:]
            if least is not None and least <= len(cells) < width:
                cells.extend([""] * (width - len(cells)))
                short += 1
            if len(cells) != width:
                raise UserError(_uneven(path, line, len(cells), width, first, len(starts) + len(table)))
            table.append(cells)
            starts.append(line)
        parts.append([np.array(column, kind) for column in zip(*table, strict=True)])
    if short:
        log.info("%s: %d rows have fewer cells than there are columns: those at their end are empty", path, short)
    if not parts:  # names alone
        width = len(first or ())
        parts = [[np.array([], kind)] * width]
    return [np.concatenate(part) for part in zip(*parts, strict=True)], starts, width


def _uneven(path: Path, line: int, cells: int, width: int, first: list[str] | None, row: int) -> str:
    said = f"{path}, line {line}: there {'is 1 cell' if cells == 1 else f'are {cells} cells'}"
    if first is not None and row == 0:
        return (
            f"{said} under {width} names: the first line must have a name for each column, and what stands above it "
            "must begin with #"
        )
    return f"{said} under {width} columns: put texts that hold the separator into quotes, and give each row all cells"


def _width(rows: Sequence[Sequence[str]], first: Sequence[str] | None) -> int:
    """The number of columns: as the line of names has, unless each row has a name in front, or a cell less."""
    usual = Counter(map(len, rows)).most_common(1)[0][0]
    ends = all(len(row) < usual or not row[-1] for row in rows)  # separators at the ends of rows
    if first is None:
        return usual - ends if usual > 1 else usual
    n = len(first)
    in_front = all(len(row) == n + 1 for row in rows) and len({row[0] for row in rows}) == len(rows)
    if usual == n + 1 and in_front and not ends:
        return usual
    return usual if usual == n - 1 and not first[-1] else n


def _names(first: Sequence[str], width: int) -> list[str]:
    """A name for each column, none of them twice.

    >>> _names(["a", "", "a"], 4), _names(["a", "b", ""], 2)
    (['Unnamed: 0', 'a', 'Unnamed: 2', 'a.1'], ['a', 'b'])
    """
    given = ["", *first] if width == len(first) + 1 else list(first[:width])
    names: list[str] = []
    for i, name in enumerate(given):
        name, number, wanted = name or f"Unnamed: {i}", 0, name or f"Unnamed: {i}"
        while wanted in names:
            number += 1
            wanted = f"{name}.{number}"
        names.append(wanted)
    return names


def _any(column: Any) -> bool:
    """Whether a cell says something."""
    return bool((column != "").any())

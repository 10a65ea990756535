"""A user's own texts with classes."""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import UserError, some
from ..decoding import read_text
from ..splits import label_name, places_of, sort_labels
from ..tables import MISSING, Cells, read_cells, unsaid
from .base import TABLES, GivenText, given_rows, is_table, joined, lines_in
from .glue import pick
from .labeled_text import Examples, LabeledText

log = logging.getLogger(__name__)
MADE_CLASSES = 3
AS_NUMBERS = {"true": "1", "false": "0"}
Columns = tuple[str, str | None, str]  # of texts, second texts and labels
COLUMNS: Columns = ("text", None, "label")  # unless the user names others


class Rows(NamedTuple):
    """What stands in a file: texts, perhaps second texts, labels, and the number of each one's line."""

    texts: list[str]
    pairs: list[str] | None
    labels: list[str]
    lines: list[int]


class TextCSV(LabeledText):
    """Your own texts with classes: a table with a column of texts (or two) and a column of labels.

    A file that ends in .csv or .tsv, or in .gz behind it, is a table, see `tables.read_cells`: its first line has the
    names of its columns, or they are called 1, 2 and so on. Any other file has a text a line, with its label before or
    after it, and a tab between them: the label is on the side that has fewer different words; so it is in a table of
    two columns without names. Labels that are the same number, as 1 and 1.0, are one class.

    `path` may be a folder with train.csv and test.csv (or .tsv, .txt; val or dev too): then these are the splits. What
    is not there is cut from the training texts by a checksum of each text, so that a text that is added moves no other,
    and a text that comes twice is in one split.

    Args:
        num_classes: see `declare_num_classes`.
        path: the file or the folder.
        text, pair, label: names of the columns; pair may be None. Texts of several columns, as title+body, are joined
            by a blank. Of a file that is no table they say nothing.
        header: whether the first line of a table has the names of its columns; None: if it looks so.
        encoding: of the files.
        share: of the training texts, for each split that has to be cut, about.
        classes: the labels in the order of the classes; None: sorted. A checkpoint gives its own.
        common: see `LabeledText`.

    Raises:
        UserError: it says what is wrong in the file and where.
    """

    vocabulary = 8_000

    def __init__(
        self,
        *,
        num_classes: int,
        path: str | None = None,
        text: str = "text",
        pair: str | None = None,
        label: str = "label",
        header: bool | None = None,
        encoding: str = "utf-8",
        share: float = 0.1,
        classes: Sequence[str] | None = None,
        **common: Any,
    ) -> None:
        if classes:
            self.classes = list(map(str, classes))
        super().__init__(num_classes=num_classes, **common)
        if not 0 < share < 0.5:
            raise UserError(f"data.share={share} must be between 0 and 0.5, as in data.share=0.1")
        self.path, self.columns, self.share = path, (str(text), pair and str(pair), str(label)), share
        self.header, self.encoding = header, encoding
        self.pair = pair is not None

    @classmethod
    def declare_num_classes(
        cls, path: str | None = None, text: str = "text", pair: str | None = None, label: str = "label",
        classes: Sequence[str] | None = None, header: bool | None = None, encoding: str = "utf-8", fake: bool = False,
    ) -> int:  # fmt: skip
        """The named classes, or the labels in the training file.

        Raises:
            UserError: see `read_rows`.
        """
        if classes is not None:
            return len(classes)
        if fake:
            return MADE_CLASSES
        columns = str(text), pair and str(pair), str(label)
        with unsaid():
            return len(set(map(label_name, read_rows(find_files(path)["train"], columns, header, encoding).labels)))

    def read_examples(self) -> dict[str, Examples]:
        files = find_files(self.path)
        found = {
            split: read_rows(path, self.columns, self.header, self.encoding, split=split)
            for split, path in files.items()
        }
        self.classes = self.classes or sort_labels(map(label_name, found["train"].labels))
        if len(self.classes) != self.num_classes:
            raise UserError(
                f"{files['train']} has {len(self.classes)} classes, not data.num_classes={self.num_classes}: leave "
                "data.num_classes out"
            )
        if self.speaks:
            tell_numbers({label for rows in found.values() for label in rows.labels})
            tell_doubtful(self.classes)
        number = places_of(self.classes)
        examples = {}
        for split, rows in found.items():
            labels = []
            for line, label in zip(rows.lines, rows.labels, strict=True):
                if (place := number(label)) is None:
                    raise UserError(
                        f"{files[split]}, line {line}: the label {some([label])!r} is none of the classes "
                        f"{some(self.classes)}"
                    )
                labels.append(place)
            examples[split] = Examples(rows.texts, rows.pairs, labels)
        return cut(examples, self.share, str(self.path))

    def given_texts(self, file: Path) -> list[GivenText]:
        """See `EncodedText.given_texts`: a file in the form of training, whose labels may be missing."""
        if is_table(file):
            cells = read_cells(file, encoding=self.encoding, header=self.header, expected=expected(self.columns))
            if len(cells.names) == 1 and cells.header and cells.names[0] not in expected(self.columns):
                cells = read_cells(file, encoding=self.encoding, header=False)
            text, pair = self.given_columns(cells)
            return given_rows(cells, named(cells, text, "text"), () if pair is None else named(cells, pair, "pair"))
        lines = lines_in(file, self.encoding)
        if self.pair or not all(line.count("\t") == 1 for _, line in lines):
            return super().given_texts(file)
        number = places_of(self.classes)
        sides = [[side.strip() for side in line.split("\t")] for _, line in lines]
        for i in (0, 1):
            if all(number(row[i]) is not None for row in sides):
                return [GivenText(place, row[1 - i], None) for (place, _), row in zip(lines, sides, strict=True)]
        return super().given_texts(file)

    def given_columns(self, cells: Cells) -> tuple[str, str | None]:
        """The columns of texts and of second texts in a table of the user's; one column alone has the texts."""
        if len(cells.names) == 1 and not self.pair:
            return cells.names[0], None
        if cells.header or self.columns != COLUMNS or len(cells.names) != 2:
            return self.columns[:2]
        number = places_of(self.classes)
        labels = [name for name in cells.names if all(number(cell) is not None for cell in cells.column(name))]
        return next(name for name in (*cells.names, *labels) if name not in labels[:1]), None


def tell_numbers(labels: set[str]) -> None:
    """Say which labels are numbers that are written in several ways."""
    ways: dict[str, list[str]] = {}
    for label in sorted(labels):
        ways.setdefault(label_name(label), []).append(label)
    if several := [f"{' and '.join(found)} are {name}" for name, found in ways.items() if len(found) > 1]:
        log.info("labels that are the same number are one class: %s", some(several))


def tell_doubtful(classes: Sequence[str]) -> None:
    """Warn of classes that may be none, or one: NA, and names that differ in capitals alone."""
    if none := [name for name in classes if name in MISSING and len(name) > 1]:
        log.warning("%s is a class like the others: leave its rows out if it says that there is no label", some(none))
    same: dict[str, list[str]] = {}
    for name in classes:
        same.setdefault(AS_NUMBERS.get(name.casefold(), name.casefold()), []).append(name)
    if several := [" and ".join(names) for names in same.values() if len(names) > 1]:
        log.warning("%s are different classes: write them in one way if they mean one", some(several))


def cut(examples: dict[str, Examples], share: float, path: str) -> dict[str, Examples]:
    """All three splits, those that are missing from the training texts, by a checksum of each text.

    Raises:
        UserError: too few texts for that.
    """
    missing = [split for split in ("test", "val") if split not in examples]
    train = examples["train"]
    places: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for i, text in enumerate(train.texts):
        at = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48
        split = missing[int(at / share)] if at < share * len(missing) else "train"
        places[split].append(i)
    made = {split: pick(train, places[split]) for split in ("train", *missing)}
    for split, part in made.items():
        if not part.texts:
            raise UserError(
                f"{path} has {len(train.texts)} training texts, too few to keep a share of {share} for {split}: give "
                "more of them, or a larger data.share"
            )
    return {split: made.get(split) or examples[split] for split in ("train", "val", "test")}


def find_files(path: str | Path | None) -> dict[str, Path]:
    """The files of the splits: a file is for training, a folder may have one for each.

    Raises:
        UserError: there is no such file, or no training file in the folder.
    """
    if path is None:
        raise UserError("data=text_csv needs your file: name it with data.path=FILE.csv")
    where = Path(path).expanduser()
    if where.is_file():
        return {"train": where}
    if not where.is_dir():
        raise UserError(f"there is no file or folder {path}: name one with data.path=FILE.csv")
    found: dict[str, Path] = {}
    for split, names in (("train", ("train",)), ("val", ("val", "valid", "validation", "dev")), ("test", ("test",))):
        for name in (f"{stem}{ending}" for stem in names for ending in (*TABLES, ".txt")):
            if (where / name).is_file():
                found.setdefault(split, where / name)
    if "train" not in found:
        raise UserError(f"{path} holds no train.csv, train.tsv or train.txt: name a file with data.path=FILE.csv")
    return found


def read_rows(
    path: Path, columns: Columns, header: bool | None = None, encoding: str | None = None, *, split: str = "train"
) -> Rows:
    """The texts and labels of a file of a split; see `TextCSV`.

    Raises:
        UserError: no such column, a cell that is empty; of training, fewer than two labels, or nearly all different.
    """
    if is_table(path):
        rows = read_table(path, columns, header, encoding)
    else:
        rows = read_labelled_lines(path, columns, encoding)
    kinds = Counter(map(label_name, rows.labels))
    if split != "train":
        return rows
    if len(kinds) < 2:
        raise UserError(f"{path} has the label {some(kinds) or 'of no text'} alone: at least two are needed")
    if len(kinds) > max(2, len(rows.labels) // 2):
        raise UserError(
            f"{path} has {len(kinds)} different labels in {len(rows.labels)} rows, so {columns[2]} holds no classes: "
            "name the column of the classes with data.label=COLUMN"
        )
    return rows


def expected(columns: Columns) -> list[str]:
    """Names of which one in the first line of a table says that names stand there; numbers may be those of columns."""
    names = [name for column in columns if column for name in (column, *column.split("+"))]
    return [name for name in names if not name.isdigit()]


def read_table(path: Path, columns: Columns, header: bool | None, encoding: str | None) -> Rows:
    """The texts and labels of a table; see `TextCSV`."""
    cells = read_cells(path, encoding=encoding, header=header, expected=expected(columns))
    text, pair, label = columns_of(cells, columns)
    labels = filled(cells, cells.require(label, "data.label"), "label")
    pairs = None if pair is None else filled(cells, pair, "pair")
    return Rows(filled(cells, text, "text"), pairs, labels, cells.lines.tolist())


def columns_of(cells: Cells, columns: Columns) -> Columns:
    """The columns of texts and labels: those that are named; of two without names the labels are often the same."""
    if cells.header or columns != COLUMNS or len(cells.names) != 2:
        return columns
    label, text = sorted(cells.names, key=lambda name: len(set(cells.column(name))))
    log.info("%s: texts are in column %s and labels in column %s (data.text, data.label)", cells.path, text, label)
    return text, None, label


def filled(cells: Cells, column: str, key: str) -> list[str]:
    """The cells of a column, or of several that are joined, none of them empty.

    Raises:
        UserError: there is no such column, or a cell is empty; it is named with its line.
    """
    found = joined(cells, named(cells, column, key))
    for row, cell in enumerate(found):
        if not cell:
            raise UserError(f"{cells.place(row, column)} is empty: fill it, or leave the row out")
    return found


def named(cells: Cells, column: str, key: str) -> list[str]:
    """The columns of a name such as title, or title+body.

    Raises:
        UserError: there is no such column.
    """
    names = [column] if column in cells.names else column.split("+")
    return [cells.require(name, f"data.{key}") for name in names]


def read_labelled_lines(path: Path, columns: Columns, encoding: str | None) -> Rows:
    """A text a line, a tab, and a label, or the other way round; or a table, if the first line names columns."""
    sides: tuple[list[str], list[str]] = ([], [])
    lines: list[int] = []
    for number, line in enumerate(read_text(path, encoding).split("\n"), 1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split("\t")]
        if not lines and {columns[0], columns[2]} <= set(fields):
            return read_table(path, columns, True, encoding)
        if len(fields) != 2 or not all(fields):
            raise UserError(
                f"{path}, line {number}: a text and its label with one tab between them are expected; a table with "
                "names of columns has to end in .csv or .tsv"
            )
        for side, field in zip(sides, fields, strict=True):
            side.append(field)
        lines.append(number)
    labels, texts = sorted(sides, key=lambda side: len(set(side)))
    return Rows(texts, None, labels, lines)

"""A user's own texts with classes."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import UserError, nearest
from ..splits import sort_labels
from ..text.base import read_text
from .glue import pick
from .labeled_text import Examples, LabeledText

SEPARATORS = ",;\t"
TABLES = (".csv", ".tsv")
MADE_CLASSES = 3
LARGEST = 1 << 24  # characters of a cell


class Rows(NamedTuple):
    """What stands in a file: texts, perhaps second texts, labels, and the number of each one's line."""

    texts: list[str]
    pairs: list[str] | None
    labels: list[str]
    lines: list[int]


class TextCSV(LabeledText):
    """Your own texts with classes: a table with a column of texts (or two) and a column of labels.

    A file that ends in .csv or .tsv is a table whose first line has the names of its columns; commas, semicolons and
    tabs divide it. Any other file has a text a line, with its label before or after it, and a tab between them: the
    label is on the side that has fewer different words.

    `path` may be a folder with train.csv and test.csv (or .tsv, .txt; val or dev too): then these are the splits. What
    is not there is cut from the training texts by a checksum of each text, so that a text that is added moves no other,
    and a text that comes twice is in one split.

    Args:
        num_classes: see `declare_num_classes`.
        path: the file or the folder.
        text, pair, label: names of the columns; pair may be None. Of a file that is no table they say nothing.
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
        share: float = 0.1,
        classes: Sequence[str] | None = None,
        **common: Any,
    ) -> None:
        if classes:
            self.classes = list(map(str, classes))
        super().__init__(num_classes=num_classes, **common)
        if not 0 < share < 0.5:
            raise UserError(f"data.share={share} must be between 0 and 0.5, as in data.share=0.1")
        self.path, self.columns, self.share = path, (text, pair, label), share
        self.pair = pair is not None

    @classmethod
    def declare_num_classes(
        cls, path: str | None = None, text: str = "text", pair: str | None = None, label: str = "label",
        classes: Sequence[str] | None = None, fake: bool = False,
    ) -> int:  # fmt: skip
        """The named classes, or the labels in the training file.

        Raises:
            UserError: see `read_rows`.
        """
        if classes is not None:
            return len(classes)
        return MADE_CLASSES if fake else len(set(read_rows(find_files(path)["train"], text, pair, label).labels))

    def read_examples(self) -> dict[str, Examples]:
        files = find_files(self.path)
        found = {split: read_rows(path, *self.columns) for split, path in files.items()}
        self.classes = self.classes or sort_labels(found["train"].labels)
        if len(self.classes) != self.num_classes:
            raise UserError(
                f"{files['train']} has {len(self.classes)} classes, not data.num_classes={self.num_classes}: leave "
                "data.num_classes out"
            )
        number = {name: k for k, name in enumerate(self.classes)}
        examples = {}
        for split, rows in found.items():
            for line, label in zip(rows.lines, rows.labels, strict=True):
                if label not in number:
                    raise UserError(
                        f"{files[split]}, line {line}: the label {label!r} is none of the classes "
                        f"{', '.join(self.classes)}"
                    )
            examples[split] = Examples(rows.texts, rows.pairs, [number[label] for label in rows.labels])
        return cut(examples, self.share, str(self.path))


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
    for split, names in (("train", ("train",)), ("val", ("val", "valid", "dev")), ("test", ("test",))):
        for name in (f"{stem}{ending}" for stem in names for ending in (*TABLES, ".txt")):
            if (where / name).is_file():
                found.setdefault(split, where / name)
    if "train" not in found:
        raise UserError(f"{path} holds no train.csv, train.tsv or train.txt: name a file with data.path=FILE.csv")
    return found


def read_rows(path: Path, text: str, pair: str | None, label: str) -> Rows:
    """The texts and labels of a file; see `TextCSV`.

    Raises:
        UserError: no such column, a cell that is empty, fewer than two labels, or hardly anything but labels.
    """
    rows = read_table(path, text, pair, label) if path.suffix.lower() in TABLES else read_lines(path)
    kinds = Counter(rows.labels)
    if len(kinds) < 2:
        raise UserError(f"{path} has the label {', '.join(kinds) or 'of no text'} alone: at least two are needed")
    if len(kinds) > max(2, len(rows.labels) // 2):
        raise UserError(
            f"{path} has {len(kinds)} different labels in {len(rows.labels)} rows, so {label} holds no classes: name "
            "the column of the classes with data.label=COLUMN"
        )
    return rows


def read_table(path: Path, text: str, pair: str | None, label: str) -> Rows:
    content = read_text(path)
    header = content.split("\n", 1)[0]
    separator = max(SEPARATORS, key=header.count)
    csv.field_size_limit(LARGEST)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator)
    names = [name.strip() for name in next(reader, [])]
    wanted = {"text": text, "pair": pair, "label": label}
    places = {}
    for key, name in wanted.items():
        if name is not None and name not in names:
            raise UserError(
                f"{path} has no column {name!r}{nearest(name, names)}: name one of its columns {', '.join(names)} with "
                f"data.{key}=COLUMN"
            )
        if name is not None:
            places[key] = names.index(name)
    cells: dict[str, list[str]] = {key: [] for key in places}
    lines = []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(names):
                raise UserError(
                    f"{path}, line {reader.line_num}: there are {len(row)} cells under {len(names)} columns: put "
                    "texts that hold the separator into quotes"
                )
            for key, place in places.items():
                cell = row[place].strip()
                if not cell:
                    raise UserError(f"{path}, line {reader.line_num}: {wanted[key]} is empty")
                cells[key].append(cell)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from error
    return Rows(cells["text"], cells.get("pair"), cells["label"], lines)


def read_lines(path: Path) -> Rows:
    """A text a line, a tab, and a label, or the other way round."""
    sides: tuple[list[str], list[str]] = ([], [])
    lines = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split("\t")]
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

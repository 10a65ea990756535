"""Data sets of Hugging Face: from the hub, saved by `save_to_disk`, or a folder of parquet files and the like.

They are read by the library `datasets`, whose releases since 4.0 run no code of a data set. Images and sounds in them
are unpacked once, as they are, and then read as a user's own folder is.
"""

import hashlib
import importlib
import logging
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError, nearest
from .splits import sort_labels

log = logging.getLogger(__name__)
SPLITS = {"train": ("train", "training"), "val": ("validation", "val", "valid", "dev"), "test": ("test", "testing")}
UNLABELLED = -1  # what a hidden label is, as in the test sets of GLUE


def library() -> Any:
    """The package `datasets`.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise UserError(
            'data sets of Hugging Face need datasets, which is missing: type pip install "torchatlas[datasets]"'
        ) from error


@lru_cache(maxsize=4)
def load(name: str | None, subset: str | None = None) -> dict[str, Any]:
    """The tables of a data set by their names, as `datasets` has them.

    Args:
        name: on the hub, as in "stanfordnlp/imdb"; or a folder or a file on this machine.
        subset: one of several data sets of that name, as "sst2" of "nyu-mll/glue".

    Raises:
        UserError: there is none, it cannot be downloaded, or a subset has to be named.
    """
    if not name:
        raise UserError(
            "data.name=... is missing: a data set on huggingface.co, as in data.name=OWNER/NAME, or a folder"
        )
    datasets = library()
    path = Path(name).expanduser()
    try:
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            found = datasets.load_from_disk(str(path))
        elif path.is_file():
            kind = {".jsonl": "json", ".tsv": "csv"}.get(path.suffix, path.suffix.removeprefix("."))
            found = datasets.load_dataset(kind, data_files=str(path))
        elif path.is_dir() or not name.startswith((".", "/", "~")):
            found = datasets.load_dataset(str(path) if path.is_dir() else name, subset)
        else:
            raise UserError(f"data.name={name}: there is no such file or folder")
    except UserError:
        raise
    except Exception as error:  # of the network, the disk, the name, the content: the library has many
        raise UserError(f"data.name={name} cannot be read by datasets ({_reason(error)})") from error
    tables = dict(found) if isinstance(found, dict) else {"train": found}
    if not any(map(len, tables.values())):
        raise UserError(f"data.name={name} has no row")
    return tables


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300].rstrip(".") or type(error).__name__


def splits_of(name: str | None, subset: str | None, label: str) -> dict[str, Any]:
    """The tables of the splits: train, val and test as they are named; "all" where there is one table of another name.

    One whose labels are hidden is left out, and said.

    Raises:
        UserError: see `load`; several tables, of which none is called train.
    """
    tables = load(name, subset)
    found = {split: tables[known] for split, names in SPLITS.items() for known in names[::-1] if known in tables}
    if "train" not in found:
        if len(tables) > 1:
            raise UserError(f"data.name={name} has the splits {', '.join(tables)}, of which none is called train")
        found = {"all": next(iter(tables.values()))}
    for split, table in list(found.items()):
        known = label in table.column_names and _has_classes(table.features[label])
        if known and len(table) and set(table.unique(label)) <= {UNLABELLED, None}:
            log.info("the split %s has no labels and is left out: it is cut from the training rows", split)
            del found[split]
    if not {"train", "all"} & set(found):
        raise UserError(f"data.name={name} has no labels in its column {label}: name another with data.label=COLUMN")
    return found


def first(splits: dict[str, Any]) -> Any:
    """The table of the training."""
    return splits.get("train", splits.get("all"))


def column_of(table: Any, wanted: str | None, kind: str, key: str, label: str) -> str:
    """The column with the inputs: the named one, or the only one of its kind.

    Args:
        table: of a split.
        wanted: its name; None: it is found by its kind.
        kind: "Image", "Audio" or "string".
        key: that of the config.
        label: the column of the labels, which is none of them.

    Raises:
        UserError: there is none, or several; the columns are named.
    """
    columns = ", ".join(table.column_names)
    what = {"Image": "images", "Audio": "sounds"}.get(kind, "texts")
    if wanted is not None:
        if wanted not in table.column_names:
            raise UserError(f"the data set has no column {wanted!r}{nearest(wanted, table.column_names)}")
        if _kind(table.features[wanted]) != kind:
            raise UserError(f"data.{key}={wanted} holds no {what}: name another of the columns {columns}")
        return wanted
    found = [column for column, feature in table.features.items() if _kind(feature) == kind and column != label]
    if len(found) != 1:
        raise UserError(
            f"the data set has {len(found) or 'no'} columns of {what} (its columns are {columns}): name "
            f"one with data.{key}=COLUMN"
        )
    return str(found[0])


def _kind(feature: Any) -> str:
    """Of the class of a feature; "string" for texts of any length."""
    dtype = str(getattr(feature, "dtype", ""))
    return "string" if dtype in ("string", "large_string") else type(feature).__name__


def _has_classes(feature: Any) -> bool:
    """Whether a column has one class in each row: a ClassLabel, a text, a whole number or a switch."""
    return str(getattr(feature, "dtype", "")).startswith(("string", "large_string", "int", "uint", "bool"))


def classes_of(splits: dict[str, Any], label: str) -> list[str]:
    """Names of the classes: those of a ClassLabel in their order, else the values of the training rows, sorted.

    Raises:
        UserError: no such column, labels of another kind, or fewer than two.
    """
    table = first(splits)
    if label not in table.column_names:
        columns = ", ".join(table.column_names)
        raise UserError(
            f"the data set has no column {label!r} for the labels (its columns are {columns}): name one with "
            "data.label=COLUMN"
        )
    feature = table.features[label]
    if names := getattr(feature, "names", None):
        classes = list(names)
    elif _has_classes(feature):
        classes = sort_labels([str(value) for value in table.unique(label) if value is not None])
    else:
        raise UserError(f"data.label={label} holds no classes ({type(feature).__name__}): name another column")
    if len(classes) < 2:
        raise UserError(f"data.label={label} holds {len(classes)} class where at least 2 are needed")
    return classes


def labels_of(table: Any, split: str, label: str, classes: Sequence[str]) -> Tensor:
    """int64 labels `n` of a split, by the names of the classes.

    Raises:
        UserError: a label is missing or of no class; its row is named.
    """
    number = {name: k for k, name in enumerate(classes)}
    names = getattr(table.features[label], "names", None)
    found = []
    for row, value in enumerate(table[label]):
        known = str(value)
        if names and value is not None:
            known = names[value] if 0 <= value < len(names) else ""
        if value is None or known not in number:
            raise UserError(f"row {row} of the split {split} has the label {value}, which is none of the classes")
        found.append(number[known])
    return torch.tensor(found)


def folders_of(classes: Sequence[str]) -> list[str]:
    """Names of the classes that can be those of folders.

    Raises:
        UserError: two of them would have one.

    >>> folders_of(["cat", "n/a", ".x"])
    ['cat', 'n_a', '_.x']
    """
    found = [name.replace("/", "_").replace("\\", "_") for name in classes]
    found = [f"_{name}" if not name or name[0] == "." else name for name in found]
    if len(set(found)) < len(found):
        raise UserError(f"the classes {', '.join(classes)[:200]} cannot be told apart as folders: rename them")
    return found


@dataclass(frozen=True)
class Files:
    """The files in a column of a data set, which become a folder of files with a folder for each class.

    Attributes:
        name, subset: see `load`.
        column, kind, key: see `column_of`.
        label: the column of the labels.
    """

    name: str | None
    subset: str | None
    column: str | None
    kind: str
    key: str
    label: str

    def splits(self) -> dict[str, Any]:
        return splits_of(self.name, self.subset, self.label)

    def classes(self) -> list[str]:
        return folders_of(classes_of(self.splits(), self.label))

    def folder(self, root: Path) -> Path:
        """Where they are: another folder for other content."""
        splits = self.splits()
        content = [self.column, self.label, *((split, table._fingerprint) for split, table in splits.items())]
        slug = re.sub(r"[^\w-]+", "-", f"{Path(str(self.name)).name}-{self.subset or ''}").strip("-")
        return root / f"hf-{slug}-{hashlib.sha256(repr(content).encode()).hexdigest()[:12]}"

    def unpack(self, root: Path, classes: Sequence[str]) -> None:
        """Write them, once: `SPLIT/CLASS/ROW.png` and the like, or `CLASS/ROW.png` where the splits are to be cut.

        Args:
            root: in which the folder is made; it gets its name when it is complete.
            classes: their folders.

        Raises:
            UserError: a row has no file or no label, or they cannot be written.
        """
        folder = self.folder(root)
        if folder.is_dir():
            return
        splits = self.splits()
        column = column_of(first(splits), self.column, self.kind, self.key, self.label)
        log.info("unpacking %s to %s, once", self.name, folder)
        part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        try:
            for split, table in splits.items():
                self.write(part if split == "all" else part / split, table, split, column, classes)
            os.replace(part, folder)
        except OSError as error:
            if not folder.is_dir():  # else another run has done the same
                raise UserError(
                    f"{part} cannot be written ({error.strerror}): name a folder with space with data.root=FOLDER"
                ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def write(self, folder: Path, table: Any, split: str, column: str, classes: Sequence[str]) -> None:
        """The files of a split."""
        labels = labels_of(table, split, self.label, classes_of(self.splits(), self.label)).tolist()
        raw = type(table.features[column])(decode=False)
        for name in classes:
            (folder / name).mkdir(parents=True)
        for row, (found, label) in enumerate(zip(table.cast_column(column, raw)[column], labels, strict=True)):
            if found is None or (found["bytes"] is None and not found["path"]):
                raise UserError(f"row {row} of the split {split} is empty in the column {column}")
            content = Path(found["path"]).read_bytes() if found["bytes"] is None else found["bytes"]
            ending = ending_of(content, found["path"])
            (folder / classes[label] / f"{row:08d}{ending}").write_bytes(content)


# How files begin that datasets keep without their names.
BEGINNINGS = (
    (b"\x89PNG", ".png"), (b"\xff\xd8", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp"), (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"), (b"RIFF", ".wav"), (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"ID3", ".mp3"),
    (b"\xff\xfb", ".mp3"),
)  # fmt: skip


def ending_of(content: bytes, path: str | None) -> str:
    """Of a file, by its content or else by its name.

    >>> ending_of(b"RIFF0000WEBP", None), ending_of(b"RIFF0000WAVE", None), ending_of(b"?", "a/b.JPG")
    ('.webp', '.wav', '.jpg')
    """
    if content[8:12] == b"WEBP":
        return ".webp"
    known = next((ending for begin, ending in BEGINNINGS if content.startswith(begin)), "")
    return known or os.path.splitext(path or "")[1].lower()

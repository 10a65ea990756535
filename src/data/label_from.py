"""Classes that the names of files say, as in `cat.123.jpg`: `data.label_from=REGEX`."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..errors import UserError
from .folders import Files, shown_classes, split_folders
from .reading import LeftOut, list_files
from .splits import sort_labels

EXAMPLE = r"""as in "data.label_from='^([a-z]+)'", with quotes of both kinds"""


def label_pattern(label_from: str) -> re.Pattern[str]:
    """The regular expression of `data.label_from`, see `label_of`.

    Raises:
        UserError: it is none, or has no group.
    """
    try:
        pattern = re.compile(label_from)
    except re.error as error:
        raise UserError(f"data.label_from={label_from} is no regular expression ({error}): {EXAMPLE}") from error
    if not pattern.groups:
        raise UserError(f"data.label_from={label_from} needs parentheses around the part that is the class: {EXAMPLE}")
    return pattern


def label_of(pattern: re.Pattern[str], path: str) -> str | None:
    r"""The class that a file's name says: the first group of the pattern.

    It is looked for in the name and, where it is not there, in the whole path below the folder of the split.

    >>> label_of(re.compile(r"^(\w+)\."), "pets/cat.123.jpg"), label_of(re.compile(r"(id\d+)/"), "id7/video/1.wav")
    ('cat', 'id7')
    """
    found = pattern.search(path.rpartition("/")[2]) or pattern.search(path)
    return (found[1] or None) if found else None


def find_named_splits(root: Path) -> dict[str, Path]:
    """Folders of the splits that the user made; `{"all": root}` where there are none: classes need no folders here."""
    if not root.is_dir():
        raise UserError(f"the folder {root} does not exist: name one that holds the files, data.root=FOLDER")
    found = split_folders(root)
    return found if "train" in found else {"all": root}


def find_labels(root: str | Path, label_from: str, endings: Sequence[str]) -> list[str]:
    """The classes that the names of the training files say, sorted, as numbers where all are numbers.

    Raises:
        UserError: see `named_files`; or there are fewer than two classes.
    """
    splits = find_named_splits(Path(root).expanduser())
    folder = splits["train" if "train" in splits else "all"]
    labels = sort_labels(labels_of(folder, list_files(folder, endings), label_from))
    if len(labels) < 2:
        raise UserError(
            f"data.label_from={label_from} finds {len(labels)} classes in the names of the files in {folder} where at "
            f"least 2 are needed{': ' + labels[0] if labels else ''}"
        )
    return labels


def labels_of(folder: Path, names: Sequence[str], label_from: str) -> list[str]:
    """The class of each file.

    Raises:
        UserError: a file's name says none.
    """
    pattern = label_pattern(label_from)
    labels = [label_of(pattern, name) for name in names]
    if missing := [name for name, label in zip(names, labels, strict=True) if label is None]:
        raise UserError(
            f"data.label_from={label_from} is not in the names of {len(missing)} of {len(names)} files, as "
            f"{folder / missing[0]}: write it so that it fits them too, or move them elsewhere"
        )
    return [label for label in labels if label is not None]


def named_files(
    root: Path, folder: Path, classes: Sequence[str], endings: Sequence[str], kind: str, label_from: str, left: LeftOut,
    *, complete: bool,
) -> Files:  # fmt: skip
    """Sorted files of a split, relative to `root`, and the labels that their names say; see `labelled_files`.

    Raises:
        UserError: there is no file, one whose name says no class or an unknown one, or a class without a file.
    """
    names = list_files(folder, endings, left)
    if not names:
        raise UserError(f"{folder} holds no {kind} ({', '.join(endings)}): name another folder, data.root=FOLDER")
    found = labels_of(folder, names, label_from)
    number = {name: label for label, name in enumerate(classes)}
    for name, label in zip(names, found, strict=True):
        if label not in number:
            raise UserError(
                f"{folder / name} is of the class {label}, which is none of the training classes "
                f"{shown_classes(classes)}"
            )
    if complete and (missing := sorted(set(classes) - set(found))):
        raise UserError(f"{folder} holds no {kind} of the class {missing[0]}: put some there")
    prefix = folder.relative_to(root).as_posix()
    paths = [os.fsencode(name if prefix == "." else f"{prefix}/{name}") for name in names]
    return np.array(paths, dtype=np.bytes_), torch.tensor([number[label] for label in found])

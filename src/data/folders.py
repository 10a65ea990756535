"""A user's folder: its splits, its classes, its files."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UserError
from .reading import list_files

Files = tuple[NDArray[np.bytes_], Tensor]  # paths relative to a folder, and int64 labels
SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}


def split_folders(folder: Path) -> dict[str, Path]:
    """The folders in a folder that have the name of a split."""
    folders = {entry.name.casefold(): entry for entry in sorted(folder.iterdir()) if entry.is_dir()}
    return {split: folders[name] for split, names in SPLITS.items() for name in names if name in folders}


def find_splits(root: Path) -> dict[str, Path]:
    """Folders of the splits that the user made; `{"all": root}` where the classes lie directly in `root`."""
    if not root.is_dir():
        raise UserError(f"the folder {root} does not exist: name one that holds a folder per class, data.root=FOLDER")
    found = split_folders(root)
    if "train" not in found or not any(entry.is_dir() for entry in found["train"].iterdir()):
        return {"all": root}  # a class may be called train
    return found


def find_classes(root: str | Path) -> list[str]:
    """Class names: the sorted names of the folders inside the training folder.

    Raises:
        UserError: `root` is no folder, or holds fewer than two classes.
    """
    return class_folders(find_splits(Path(root).expanduser()))


def class_folders(splits: dict[str, Path]) -> list[str]:
    """The sorted names of the folders inside the training folder; see `find_classes`."""
    folder = splits["train" if "train" in splits else "all"]
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
    if len(classes) < 2:
        raise UserError(f"{folder} holds {len(classes)} class folders where at least 2 are needed: FOLDER/CLASS/FILE")
    return classes


def labelled_files(root: Path, folder: Path, classes: Sequence[str], endings: Sequence[str], kind: str) -> Files:
    """Sorted files of each class of a split, relative to `root`, and their labels.

    Args:
        root: the user's folder.
        folder: of the split, with a folder for each class.
        classes: the names of these folders, in the order of the labels.
        endings: of the files.
        kind: what a file is, for messages.

    Raises:
        UserError: a class has no file, or a folder is of no known class.
    """
    known = set(classes)
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and entry.name[0] != "." and entry.name not in known:
            shown = ", ".join(classes) if len(classes) <= 20 else f"({len(classes)} of them)"
            raise UserError(f"{entry} is none of the training classes {shown}")
    names: list[bytes] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        prefix = (folder / name).relative_to(root).as_posix()
        found = list_files(folder / name, endings) if (folder / name).is_dir() else []
        if not found:
            raise UserError(f"{folder / name} holds no {kind} ({', '.join(endings)}): put some there or delete it")
        names += [os.fsencode(f"{prefix}/{file}") for file in found]
        labels += [label] * len(found)
    return np.array(names), torch.tensor(labels)

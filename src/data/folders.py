"""A user's folder: its splits, its classes, its files."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UserError
from .reading import LeftOut, ending_of, entries_of, folders_in, identity, is_hidden, list_files, named

Files = tuple[NDArray[np.bytes_], Tensor]  # paths relative to a folder, and int64 labels
SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
SHOWN = 20  # classes that a message names


def split_folders(folder: Path) -> dict[str, Path]:
    """The folders in a folder that have the name of a split."""
    folders = {entry.name.casefold(): entry for entry in folders_in(folder)}
    return {split: folders[name] for split, names in SPLITS.items() for name in names if name in folders}


def find_splits(root: Path) -> dict[str, Path]:
    """Folders of the splits that the user made; `{"all": root}` where the classes lie directly in `root`."""
    if not root.is_dir():
        raise UserError(f"the folder {root} does not exist: name one that holds a folder per class, data.root=FOLDER")
    found = split_folders(root)
    if "train" not in found or not folders_in(found["train"]):
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
    classes = [entry.name for entry in folders_in(folder)]
    if len(classes) < 2:
        raise UserError(
            f"{folder} holds {len(classes)} class folders where at least 2 are needed: FOLDER/CLASS/FILE; where the "
            "names of files say the class, add data.label_from=REGEX"
        )
    return classes


def note_beside(root: Path, splits: dict[str, Path], left: LeftOut) -> None:
    """What lies beside the folders of the splits, for `LeftOut.say`."""
    if "all" not in splits:
        known = {folder.name for folder in splits.values()}
        for entry in entries_of(root):
            if entry.name not in known:
                (left.hidden if is_hidden(entry.name) else left.beside)[entry.name] += 1


def labelled_files(
    root: Path, folder: Path, classes: Sequence[str], endings: Sequence[str], kind: str, left: LeftOut, *,
    complete: bool,
) -> Files:  # fmt: skip
    """Sorted files of each class of a split, relative to `root`, and their labels.

    Args:
        root: the user's folder.
        folder: of the split, with a folder for each class.
        classes: the names of these folders, in the order of the labels.
        endings: of the files.
        kind: what a file is, for messages.
        left: gets what is left out.
        complete: whether each class must have a file, as in training; else one that has none is rare.

    Raises:
        UserError: there is no file, a class has none though it must, or a folder is of no known class.
    """
    known = set(classes)
    for entry in entries_of(folder):
        if is_hidden(entry.name):
            left.hidden[entry.name] += 1
        elif entry.name not in known and Path(entry).is_dir():
            raise UserError(f"{entry.path} is none of the training classes {shown_classes(classes)}")
        elif entry.name not in known:
            (left.beside if ending_of(entry.name) in endings else left.endings)[ending_of(entry.name)] += 1
    names: list[bytes] = []
    labels: list[int] = []
    there = {name: identity(folder / name) for name in classes if (folder / name).is_dir()}
    for label, name in enumerate(classes):
        prefix = (folder / name).relative_to(root).as_posix()
        here = LeftOut()
        found = list_files(folder / name, endings, here, there.values()) if name in there else []
        if not found and complete:
            others = f", but {named(here.endings)}" if here.endings else ""
            raise UserError(
                f"{folder / name} holds no {kind} ({', '.join(endings)}){others}: put some there, or move the folder "
                "elsewhere"
            )
        left.add(here)
        names += [os.fsencode(f"{prefix}/{file}") for file in found]
        labels += [label] * len(found)
    if not names:
        raise UserError(
            f"{folder} holds no {kind} of the classes {shown_classes(classes)}: name another, data.root=FOLDER"
        )
    return np.array(names, dtype=np.bytes_), torch.tensor(labels)


def shown_classes(classes: Sequence[str]) -> str:
    """Their names, where they are not too many for a message."""
    return ", ".join(classes) if len(classes) <= SHOWN else f"({len(classes)} of them)"

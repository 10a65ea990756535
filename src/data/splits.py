"""Splits that nobody fixed: always cut in the same way, whatever the run's seed is."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..counter import uniform
from ..errors import UserError
from .base import SPLIT_SEED
from .folders import Files


def place_of(name: bytes, split: str) -> float:
    """A number in [0, 1) that depends on the file's name alone, so that new files do not move the others."""
    text = f"{SPLIT_SEED} {split} ".encode() + name
    return int.from_bytes(hashlib.sha256(text).digest()[:6]) / 2**48


def cut_missing(files: dict[str, Files], share: float, root: Path, kind: str) -> dict[str, Files]:
    """All three splits: what the user has no folder for is cut from the training files by `place_of`.

    A class of which nothing would be left to train is not cut.

    Args:
        files: of each split that is there; or of "all".
        share: of the training files, for each split that has to be cut, about.
        root, kind: the folder and what a file is, for messages.

    Raises:
        UserError: there are too few files.
    """
    found = dict(files)
    names, labels = found.pop("all") if "all" in found else found.pop("train")
    for split in ("val", "test"):  # the second of two cuts is from what the first has left
        if split in found:
            continue
        cut = np.array([place_of(name, split) < share for name in names.tolist()])
        rare = set(labels.tolist()) - set(labels[torch.from_numpy(~cut)].tolist())
        cut &= ~np.isin(labels.numpy(), list(rare))  # all that there are of a class are for training
        if not 0 < int(cut.sum()) < len(names):
            raise UserError(
                f"{len(names)} {kind}s in {root} are too few to cut the {split} split from: add some, or make a folder "
                f"{split} beside train"
            )
        found[split] = names[cut], labels[torch.from_numpy(cut)]
        names, labels = names[~cut], labels[torch.from_numpy(~cut)]
    return {"train": (names, labels), **found}


def stratified(labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Divide samples so that each class gives about the same share, always in the same way.

    Args:
        labels: int64 `n`.
        share: of each class, rounded, at least one and never all of it; a class of one sample gives none.

    Returns:
        Places of those that stay and of those that are taken, both in their order.
    """
    random = uniform(SPLIT_SEED, 0, torch.arange(len(labels)), 1)[:, 0]
    taken = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        places = (labels == label).nonzero()[:, 0]
        number = min(max(1, round(share * len(places))), len(places) - 1)
        taken[places[random[places].argsort(stable=True)[:number]]] = True
    return (~taken).nonzero()[:, 0], taken.nonzero()[:, 0]


NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*|(?=\.\d))(?:\.\d*)?(?:[eE][+-]?\d\d?)?")  # 007 is a name


def label_name(label: str) -> str:
    """What a label is called: a number in one form, however it is written, and any other text as it is.

    >>> [label_name(label) for label in ("0", "0.0", "-0", "1.0", "+1", "1e0", ".50", "007", "nan", "1.0.0", "yes")]
    ['0', '0', '0', '1', '1', '1', '0.5', '007', 'nan', '1.0.0', 'yes']
    """
    if not NUMBER.fullmatch(label):
        return label
    number = Decimal(label).normalize()
    return format(number, "f") if number else "0"


def places_of(classes: Sequence[str]) -> Callable[[str], int | None]:
    """A function that says which class a label is: the one of this name, or the only one of this number; None: none."""
    exact = {name: k for k, name in enumerate(classes)}
    numbers = Counter(map(label_name, classes))
    like = {label_name(name): k for k, name in enumerate(classes) if numbers[label_name(name)] == 1}
    return lambda label: exact.get(label, like.get(label_name(label)))


def sort_labels(labels: Iterable[str]) -> list[str]:
    """Each label once, in the order of numbers where all are numbers."""
    unique = sorted(set(labels))
    try:
        return sorted(unique, key=float)
    except ValueError:
        return unique


def carve(items: Sequence[Any], number: int) -> tuple[list[Any], list[Any]]:
    """All but `number` of the items, and those, chosen by a fixed seed; both in the order in which they came.

    Raises:
        UserError: nothing would be left.
    """
    if number >= len(items):
        raise UserError(f"data.val_size={number} leaves nothing of {len(items)} training samples")
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(SPLIT_SEED)).tolist()
    chosen = set(order[:number])
    return [x for i, x in enumerate(items) if i not in chosen], [x for i, x in enumerate(items) if i in chosen]

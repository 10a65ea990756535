"""Folds of cross-validation: which of the samples for training and validation are in which part."""

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UserError, some

SEED = 0  # folds are always the same, whatever the run's seed is
FOLDER = "folder"  # what `folds_group` may be beside a regular expression
EXAMPLE = "folds_group=folder for the folder of a file, or a regular expression as in \"folds_group='^(speaker\\d+)'\""


class Fold(TypedDict):
    """One of the parts into which samples are divided.

    Attributes:
        number: of the part that is for validation, from 1.
        of: how many parts there are.
        group: what samples of one group have in common, see `groups_of`; None: there are no groups.
    """

    number: int
    of: int
    group: str | None


def places(labels: NDArray[np.int64], of: int, groups: Sequence[str] | None = None) -> list[NDArray[np.int64]]:
    """The samples of each fold, in their order: each is in one, and each class is in all in about the same share.

    They are those of scikit-learn's `StratifiedKFold`, and of its `StratifiedGroupKFold` where there are groups, none
    of which is then in two folds.

    Args:
        labels: int64 `n`.
        of: how many folds.
        groups: of each sample.

    Raises:
        UserError: there are too few samples or groups, or the samples of a class are all in one fold.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # slow, and for folds alone

    most = int(np.bincount(labels).max(initial=0))
    if of > most:
        raise UserError(f"folds={of} is more than the {most} samples that the largest class has: use fewer")
    if groups is not None and len(set(groups)) < of:
        raise UserError(f"folds={of} is more than the {len(set(groups))} groups ({some(sorted(set(groups)), 5)})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class has fewer samples than there are folds, which is judged below
        if groups is None:
            found = StratifiedKFold(of, shuffle=True, random_state=SEED).split(labels, labels)
        else:
            found = StratifiedGroupKFold(of, shuffle=True, random_state=SEED).split(labels, labels, groups)
        parts = [np.sort(val) for _, val in found]
    for number, part in enumerate(parts, start=1):
        if not len(part):
            raise UserError(f"fold {number} of {of} would be empty, since groups are of unequal sizes: use fewer folds")
        if left := set(labels.tolist()) - set(np.delete(labels, part).tolist()):
            raise UserError(
                f"without fold {number} of {of} nothing is left to train class {min(left)}: use more samples, other "
                "groups or other folds"
            )
    return parts


def groups_of(names: Sequence[str], group: str) -> list[str]:
    r"""The group of each sample: the folder of a file, or what the first group of a regular expression finds.

    It is looked for in the file's name and, where it is not there, in the whole path; of a text in the text.

    >>> groups_of(["a/x1_7.png", "b/x2_8.png"], "folder"), groups_of(["a/x1_7.png", "b/x2_8.png"], r"x(\d)")
    (['a', 'b'], ['1', '2'])

    Raises:
        UserError: it is no regular expression with a group, or finds nothing somewhere.
    """
    if group == FOLDER:
        return [name.rpartition("/")[0] for name in names]
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise UserError(f"folds_group={group} is no regular expression ({error}): {EXAMPLE}") from error
    if not pattern.groups:
        raise UserError(f"folds_group={group} needs parentheses around the part that is the group: {EXAMPLE}")
    matches = [pattern.search(name.rpartition("/")[2]) or pattern.search(name) for name in names]
    without = [name for name, match in zip(names, matches, strict=True) if match is None]
    if without:
        raise UserError(f"folds_group={group} finds nothing in {len(without)} of {len(names)} ({some(without, 2)})")
    return [match[1] for match in matches if match]


def names_of(columns: Sequence[Any]) -> list[str] | None:
    """What samples are called: the paths of files, or texts; None: they are numbers in memory."""
    first = columns[0]
    if isinstance(first, np.ndarray) and first.dtype.kind == "S":
        return [os.fsdecode(name) for name in first.tolist()]
    return list(first) if isinstance(first, list) and first and isinstance(first[0], str) else None


def pooled(splits: Mapping[str, Any]) -> list[Any]:
    """The columns of the samples for training, and behind them those for validation."""
    return [_joined(one, two) for one, two in zip(splits["train"], splits["val"], strict=True)]


def divided(splits: Mapping[str, Any], fold: Fold) -> tuple[dict[str, Any], dict[str, NDArray[np.int64]]]:
    """Splits with another cut between training and validation; all others stay as they are.

    Args:
        splits: of each, columns with an entry a sample, the last of which are the labels; None is no column.
        fold: which part is for validation.

    Returns:
        The splits, and of "train" and "val" the numbers of their samples in `pooled`.

    Raises:
        UserError: see `places` and `groups_of`; samples in memory have no names to be grouped by.
    """
    columns = pooled(splits)
    labels = np.asarray(columns[-1], dtype=np.int64)
    groups = None
    if fold["group"] is not None:
        if (names := names_of(columns)) is None:
            raise UserError(f"folds_group={fold['group']} is for files and texts, and these data have no names")
        groups = groups_of(names, fold["group"])
    val = places(labels, fold["of"], groups)[fold["number"] - 1]
    numbers = {"train": np.setdiff1d(np.arange(len(labels)), val), "val": val}
    found = dict(splits)
    for split, chosen in numbers.items():
        taken = [_taken(column, chosen) for column in columns]
        kind: Any = type(splits[split])
        found[split] = kind(*taken) if hasattr(kind, "_fields") else tuple(taken)
    return found, numbers


def _joined(one: Any, two: Any) -> Any:
    if one is None:
        return None
    if isinstance(one, Tensor):
        return torch.cat([one, two])
    return np.concatenate([one, two]) if isinstance(one, np.ndarray) else [*one, *two]


def _taken(column: Any, chosen: NDArray[np.int64]) -> Any:
    if column is None:
        return None
    if isinstance(column, list):
        return [column[place] for place in chosen.tolist()]
    return column[torch.from_numpy(chosen)] if isinstance(column, Tensor) else column[chosen]

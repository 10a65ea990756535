"""What a program gives to a trained network: paths as of a command, or what it has in memory."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.base import DataModule
from ..data.images.held import CHANNELS
from ..data.reading import find_files
from ..data.sound.held import is_sound
from ..errors import UserError

Row = dict[str, Any]
NAMES = ("file", "place")  # columns that tell answers from one another, where files were read


@contextlib.contextmanager
def readable(data: DataModule, given: Any) -> Iterator[tuple[DataModule, Any, dict[str, str | int]]]:
    """What `read` of the data takes for what a program gives.

    Args:
        data: see `reader`.
        given: a path as of the command, or a list of paths; or one value in memory or several, see
            `DataModule.as_given`. A string in a list is a text where the data are texts, and else a path.

    Yields:
        The data that read it, what they are given, and for each file that was laid out for that, by its path, what
        the user calls it: the own path, or the place in the list.

    Raises:
        UserError: there is nothing, no such file, or a value that is not of the kind of the data.
    """
    if isinstance(given, str | os.PathLike) and not (data.of_texts and is_text(given)):
        yield data, os.fspath(given), {}
        return
    require_one_meaning(given, data)
    values = several(given, len(getattr(data, "shape", "chw")))
    if not values:
        raise UserError("there is nothing to answer: give at least one file or value")
    with tempfile.TemporaryDirectory(prefix="torchatlas-") as name:
        folder = Path(name)
        if all(isinstance(value, os.PathLike if data.of_texts else str | os.PathLike) for value in values):
            yield data, str(folder), gathered(values, data.endings, folder)
            return
        data, taken = data.as_given(values, folder)
        yield data, taken, {str(path): int(path.stem) for path in folder.iterdir() if path.stem.isdigit()}


def is_text(given: Any) -> bool:
    """Whether a string is a text and no path.

    >>> is_text("a good film"), is_text("film.txt"), is_text(Path("a good film"))
    (True, False, False)
    """
    if not isinstance(given, str) or not re.search(r"\s", given.strip()):
        return False
    try:
        return not os.path.exists(os.path.expanduser(given))
    except (OSError, ValueError):  # too long for a name
        return True


def require_one_meaning(given: Any, data: DataModule) -> None:
    """Refuse an array that may be some grey images, or one image with so many channels, where grey ones are meant.

    Raises:
        UserError: it names what each of them is written as.
    """
    images = getattr(data, "images", data)  # which are read in steps
    if not (isinstance(given, np.ndarray | torch.Tensor) and given.ndim == 3):
        return
    first, last = given.shape[0] in (3, 4), given.shape[2] in CHANNELS
    if first and not (last and isinstance(given, np.ndarray)) and getattr(images, "in_channels", 0) == 1:
        n, shape = given.shape[0], " x ".join(map(str, given.shape))
        raise UserError(
            f"an array of {shape} may be {n} grey images, which the network takes, or one image with {n} channels: "
            "give list(x) for several, or [x] for one"
        )


def several(given: Any, dims: int = 3) -> Sequence[Any]:
    """One value, or the values of a list or of a batch.

    Args:
        given: what a program gives.
        dims: of an array that is one value.

    >>> len(several([1, 2])), len(several(np.zeros((5, 8, 8, 3)))), len(several((np.zeros(9), 8000)))
    (2, 5, 1)
    """
    if is_sound(given):
        return [given]
    if isinstance(given, np.ndarray | torch.Tensor):
        return list(given) if given.ndim == dims + 1 else [given]
    if isinstance(given, list | tuple):
        numbers = dims == 1 and bool(given) and all(isinstance(value, int | float) for value in given)
        return [np.asarray(given)] if numbers else given
    return [given]


def gathered(paths: Sequence[str | os.PathLike[str]], endings: Sequence[str], folder: Path) -> dict[str, str | int]:
    """Links to files, and to those in folders, in the order in which they are given; and what each stands for.

    Raises:
        UserError: one is not there.
    """
    found: dict[str, str | int] = {}
    for path in [file for given in paths for file in find_files(Path(given), endings)]:
        ending = path.suffix if path.suffix.lower() in endings else endings[0]
        link = folder / f"{len(found):08d}{ending}"
        try:
            link.symlink_to(path.absolute())
        except OSError:  # a system without links
            shutil.copyfile(path, link)
        found[str(link)] = str(path)
    return found


def renamed(row: Row, names: dict[str, str | int]) -> Row:
    """A row in the user's names of its file, also in the reason for which it could not be read.

    >>> renamed({"file": "/tmp/x/0.png", "error": "/tmp/x/0.png is empty"}, {"/tmp/x/0.png": 0})
    {'input': 0, 'error': 'input 0 is empty'}
    """
    changed: Row = {}
    for key, value in row.items():
        if key in NAMES and (called := names.get(str(value))) is not None:
            changed["input" if isinstance(called, int) else key] = called
        elif key == "place" and str(value).startswith("input "):
            changed["input"] = int(value.removeprefix("input "))
        else:
            changed[key] = said(value, names) if key == "error" else value
    return changed


def said(sentence: str, names: dict[str, str | int]) -> str:
    """A sentence with the user's names of files.

    >>> said("/tmp/x/0.png is empty", {"/tmp/x/0.png": "cat.png"})
    'cat.png is empty'
    """
    for path, called in names.items():
        sentence = sentence.replace(path, f"input {called}" if isinstance(called, int) else called)
    return sentence

"""A user's own files, read as the splits of a data set are."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import torch

from ..errors import UserError
from .loading import BatchDataset

BATCH = 64
Samples = TypeVar("Samples", bound=BatchDataset, covariant=True)


@dataclass(frozen=True)
class Given(Generic[Samples]):
    """What a user gives: its samples are those of a split, but for labels, which nobody knows.

    Iterating gives raw batches in order, which `DataModule.transform` takes as it takes those of an evaluation.

    Attributes:
        about: of each sample, what tells it from the others in a table: {"file": ...}, {"place": ..., "text": ...}.
        samples: as in a split.
        size: samples of a batch.
    """

    about: Sequence[dict[str, str]]
    samples: Samples
    size: int = BATCH

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for places in torch.arange(len(self)).split(self.size):
            yield self.samples[-1, places]


def find_files(source: str | Path, endings: Sequence[str]) -> list[Path]:
    """A file, or those below a folder with certain endings, sorted.

    Args:
        source: a file of any ending, or a folder.
        endings: see `list_files`.

    Raises:
        UserError: there is none.
    """
    source = Path(source).expanduser()
    if source.is_file():
        return [source]
    if not source.exists():
        raise UserError(f"there is no file or folder {source}: name one with input=PATH")
    found = [source / name for name in list_files(source, endings)]
    if not found:
        raise UserError(f"{source} holds no file that ends in {', '.join(endings)}")
    return found


def list_files(folder: Path, endings: Sequence[str]) -> list[str]:
    """Files below a folder, relative to it, with / between the parts, sorted part by part.

    Args:
        folder: links to other folders are not followed.
        endings: in small letters, as in (".wav", ".flac"); those of files may be in capitals.

    Raises:
        OSError: a folder cannot be read; its files would else be missing in silence.
    """
    found: list[str] = []
    for where, _, names in os.walk(folder, onerror=_raise):
        inside = Path(where).relative_to(folder).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        found += [prefix + name for name in names if os.path.splitext(name)[1].lower() in endings]
    return sorted(found, key=lambda name: name.split("/"))


def _raise(error: OSError) -> NoReturn:
    raise error

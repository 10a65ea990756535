"""A user's own files, read as the splits of a data set are."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from ..errors import UserError
from .loading import BatchDataset

log = logging.getLogger(__name__)
BATCH = 64
# What systems and programs put beside a user's files, beside all that begins with a dot; in small letters.
LITTER = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle", "$recycle.bin", "lost+found")
NAMED = 4  # names that a line of the log has
Samples = TypeVar("Samples", bound=BatchDataset, covariant=True)
Content = TypeVar("Content")
Identity = tuple[int, int]  # of a folder: the device, and its number there


@dataclass(frozen=True)
class Given(Generic[Samples]):
    """What a user gives: its samples are those of a split, but for labels, which nobody knows.

    Iterating gives raw batches in order, which `DataModule.transform` takes as it takes those of an evaluation.

    Attributes:
        about: of each sample, what tells it from the others in a table: {"file": ...}, {"place": ..., "text": ...}.
        samples: as in a split.
        size: samples of a batch.
        unread: of each file that could not be read at all, what tells it from the others, and the reason as "error".
    """

    about: Sequence[dict[str, str]]
    samples: Samples
    size: int = BATCH
    unread: Sequence[dict[str, str]] = field(default=(), kw_only=True)

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for places in torch.arange(len(self)).split(self.size):
            yield self.samples[-1, places]

    def told(self) -> Iterator[tuple[list[dict[str, str]], tuple[Any, ...]]]:
        """What tells the samples of each batch from the others, and the batch.

        A sample that cannot be read is alone, with the reason as "error" and an empty batch, so that the others are
        answered all the same.

        Raises:
            UserError: there is but one file, and it cannot be read.
        """
        for places in torch.arange(len(self)).split(self.size):
            try:
                yield [self.about[i] for i in places.tolist()], self.samples[-1, places]
                continue
            except UserError:
                if len(self) + len(self.unread) == 1:
                    raise
            for place in places.split(1):
                about = self.about[int(place)]
                try:
                    batch = self.samples[-1, place]
                except UserError as error:
                    yield [{**about, "error": str(error)}], ()
                else:
                    yield [about], batch
        for about in self.unread:
            yield [about], ()


@dataclass
class LeftOut:
    """What listings of files leave out, and the links to other folders that they follow.

    Attributes:
        hidden: names of files and folders that are a system's or a program's own, see `is_hidden`.
        endings: of files that are of another kind.
        beside: files and folders that belong to no class or no split.
        links: linked folders that were followed.
        again: linked folders whose files are listed already, or lead back to where the listing began.
    """

    hidden: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    beside: Counter[str] = field(default_factory=Counter)
    links: int = 0
    again: int = 0

    def add(self, other: "LeftOut") -> None:
        """What another listing leaves out, too."""
        for mine, its in ((self.hidden, other.hidden), (self.endings, other.endings), (self.beside, other.beside)):
            mine.update(its)
        self.links += other.links
        self.again += other.again

    def say(self, folder: Path) -> None:
        """One line in the log, where there is something to say."""
        if said := self.said(folder):
            log.info(said)

    def said(self, folder: Path) -> str:
        """What there is to say."""
        parts = [
            f"{found.total()} {what} ({named(found)})"
            for found, what in (
                (self.hidden, "hidden files and folders"),
                (self.endings, "files of other endings"),
                (self.beside, "beside the folders that are read"),
            )
            if found
        ]
        if self.again:
            parts.append(f"{self.again} links to folders that are read already")
        said = [f"left out are {', '.join(parts)}"] if parts else []
        if self.links:
            said.append(f"{self.links} linked folders are followed")
        return f"of {folder} {'; '.join(said)}" if said else ""


def is_hidden(name: str) -> bool:
    """Whether a file or folder is a system's or a program's own, and none of a user's data.

    >>> [is_hidden(name) for name in (".ipynb_checkpoints", "._x.jpg", "__MACOSX", "Thumbs.db", "_x.jpg")]
    [True, True, True, True, False]
    """
    return name.startswith(".") or name.casefold() in LITTER


def named(found: Counter[str]) -> str:
    """The most frequent of what was found, as in «.txt 12, .heic»."""
    shown = [name if n == 1 else f"{name} {n}" for name, n in found.most_common(NAMED)]
    return ", ".join([*shown, "..."] if len(found) > NAMED else shown)


def ending_of(name: str) -> str:
    """The ending of a file's name in small letters; of one that has none its name."""
    return os.path.splitext(name)[1].lower() or name


def find_files(source: str | Path, endings: Sequence[str]) -> list[Path]:
    """A file, or those below a folder with certain endings, sorted; what is left out is said.

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
    left = LeftOut()
    found = [source / name for name in list_files(source, endings, left)]
    if not found:
        others = f": those there are {named(left.endings)}" if left.endings else ""
        raise UserError(f"{source} holds no file that ends in {', '.join(endings)}{others}")
    left.say(source)
    return found


def list_files(
    folder: Path, endings: Sequence[str], left: LeftOut | None = None, others: Iterable[Identity] = ()
) -> list[str]:  # fmt: skip
    """Files below a folder, relative to it, with / between the parts, sorted part by part.

    What is hidden is left out, see `is_hidden`. Links to other folders are followed, but to none whose files are listed
    already: a file that lies below the folder has its own path, and no circle of links is endless. Nor is a link to a
    folder in which this one lies: its files would be all that lie beside this one.

    Args:
        folder: where they are.
        endings: in small letters, as in (".wav", ".flac"); those of files may be in capitals.
        left: gets what is left out.
        others: folders that are listed by themselves, as those of the other classes: no link to them is followed.

    Raises:
        OSError: a folder cannot be read; its files would else be missing in silence.
    """
    left = LeftOut() if left is None else left
    found: list[str] = []
    seen = {*others, *map(identity, folder.resolve().parents)} - {identity(folder)}
    folders, linked = [""], list[str]()
    while folders or linked:
        by_link = not folders
        inside = linked.pop(0) if by_link else folders.pop()
        if (here := identity(folder / inside)) in seen:
            left.again += 1
            continue
        seen.add(here)
        left.links += by_link
        for entry in entries_of(folder / inside):
            path = f"{inside}/{entry.name}" if inside else entry.name
            if is_hidden(entry.name):
                left.hidden[entry.name] += 1
            elif _is_folder(entry):
                (linked if entry.is_symlink() else folders).append(path)
            elif ending_of(entry.name) in endings:
                found.append(path)
            else:
                left.endings[ending_of(entry.name)] += 1
    return sorted(found, key=lambda name: name.split("/"))


def identity(folder: Path) -> Identity:
    """By which a folder is known, whatever path leads to it."""
    about = os.stat(folder)
    return about.st_dev, about.st_ino


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, in the order of the names."""
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder that are a user's own, in the order of their names."""
    return [folder / entry.name for entry in entries_of(folder) if _is_folder(entry) and not is_hidden(entry.name)]


def read_each(
    paths: Iterable[Path], read: Callable[[Path], Content], key: str = "file"
) -> tuple[list[tuple[Path, Content]], list[dict[str, str]]]:
    """What is in each of a user's files; and `Given.unread` of those that cannot be read.

    Args:
        paths: the files.
        read: one of them.
        key: under which `unread` names a file.

    Raises:
        UserError: none can be read.
    """
    found: list[tuple[Path, Content]] = []
    unread: list[dict[str, str]] = []
    first: UserError | None = None
    for path in paths:
        try:
            found.append((path, read(path)))
        except UserError as error:
            first = first or error
            unread.append({key: str(path), "error": str(error)})
    if not found and first is not None:
        raise first
    return found, unread

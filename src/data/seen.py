"""Whether a folder has files that a run was trained on, though it was moved, copied or named otherwise.

Of the training files a few are remembered, chosen by a checksum of their names alone, so that the same ones are looked
for among any number of others: each by checksums of its name and of its size and first bytes.
"""

import hashlib
import heapq
import logging
import os
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

log = logging.getLogger(__name__)
REMEMBERED = 64
FIRST = 2**16  # bytes
DIGITS = 12  # of a checksum


def remember(folder: Path, names: Iterable[bytes]) -> list[str]:
    """Marks of some of the files, at most `REMEMBERED`; the names are relative to the folder."""
    chosen = heapq.nsmallest(REMEMBERED, ((_of_name(name), name) for name in names))
    return [f"{mark}:{_of_content(folder / os.fsdecode(name))}" for mark, name in chosen]


def count_seen(folder: Path, names: Iterable[bytes], remembered: Collection[str]) -> int:
    """How many of the remembered files are among these."""
    contents: defaultdict[str, set[str]] = defaultdict(set)
    for both in remembered:
        mark, _, content = both.partition(":")
        contents[mark].add(content)
    found = set()
    for name in names:
        if (mark := _of_name(name)) in contents:
            content = _of_content(folder / os.fsdecode(name))
            found |= {(mark, content)} & {(mark, known) for known in contents[mark]}
    return len(found)


def tell_seen(folder: Path, names: Iterable[bytes], remembered: Collection[str]) -> None:
    """Say so where some of the remembered files are among these, which are to be judged."""
    if seen := count_seen(folder, names, remembered):
        log.warning(
            "%s has files that were trained on, %d of %d looked for: their figures say little of new ones",
            folder, seen, len(remembered),
        )  # fmt: skip


def _of_name(name: bytes) -> str:
    return hashlib.sha256(name.rpartition(b"/")[2]).hexdigest()[:DIGITS]


def _of_content(path: Path) -> str:
    with path.open("rb") as file:
        first = file.read(FIRST)
        size = os.fstat(file.fileno()).st_size
    return hashlib.sha256(f"{size} ".encode() + first).hexdigest()[:DIGITS]

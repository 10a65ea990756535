"""What the splits of a data set are made of, so that a run that goes on can tell whether that has changed."""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 2**16  # bytes of a large file that are read at once
BLOCKS = 256  # of a large file, evenly spaced
CHUNK = 1000  # files that a thread looks at
THREADS = 16  # where each look takes long, as over a network
SLOW = 5e-5  # seconds


class Contents(TypedDict):
    """What is known of a split.

    Attributes:
        samples: how many.
        checksum: of the names and sizes of its files, or of its labels, tokens and the like; "" of made data.
    """

    samples: int
    checksum: str


def checksum(parts: Iterable[Any]) -> str:
    """Of bytes, and of arrays and tensors with their types and shapes."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Tensor):
            part = part.detach().cpu().numpy()
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype} {part.shape} ".encode())
            part = np.ascontiguousarray(part).data.cast("B") if part.size else b""
        digest.update(part)
    return digest.hexdigest()


def checksum_of_files(folder: str | Path, names: Sequence[bytes] | NDArray[np.bytes_]) -> str:
    """Of the names and sizes of files in their order; nothing of them is read.

    A million files take seconds on a disk. Over a network, where each look is long, several threads look at once.

    Args:
        folder: where they lie, which is no part of the checksum: it may be moved.
        names: relative to it, with / between their parts.
    """
    prefix = os.fsencode(folder) + b"/"

    def lines(part: Sequence[bytes] | NDArray[np.bytes_]) -> bytes:
        return b"".join(b"%s\0%d\n" % (name, _size(prefix + name)) for name in map(bytes, part))

    first, rest = names[:CHUNK], [names[i : i + CHUNK] for i in range(CHUNK, len(names), CHUNK)]
    started = time.perf_counter()
    found = lines(first)
    if time.perf_counter() - started > SLOW * CHUNK and rest:
        with ThreadPoolExecutor(THREADS) as pool:
            return checksum([found, *pool.map(lines, rest)])
    return checksum(part for part in (found, *map(lines, rest)))


def _size(path: bytes) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # the run says so when it reads the file
        return -1


def checksum_of_file(path: str | Path) -> str:
    """Of what a file holds, whatever its name is; of a large one of its size and evenly spaced blocks."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= BLOCK * BLOCKS:
            return checksum([file.read()])
        blocks = []
        for k in range(BLOCKS):
            file.seek(k * (size - BLOCK) // (BLOCKS - 1))
            blocks.append(file.read(BLOCK))
    return checksum([b"%d " % size, *blocks])


def checksum_of_numbers(dataset: Any) -> str:
    """Of the whole numbers of a data set in memory: labels, tokens, lengths, and those of the parts that it has.

    Real numbers, pixels and waveforms are left out: another machine may round what was computed of them otherwise.
    """
    return checksum(_numbers(dataset))


def _numbers(thing: Any, depth: int = 2) -> Iterator[Any]:
    for name, value in sorted(vars(thing).items()):
        if isinstance(value, np.memmap):
            yield f"{name} {checksum_of_file(str(value.filename))} ".encode()
        elif isinstance(value, Tensor | np.ndarray):
            if str(value.dtype).rpartition(".")[2] in ("int32", "int64"):
                yield f"{name} ".encode()
                yield value
        elif depth > 1 and hasattr(value, "__dict__"):
            yield from _numbers(value, depth - 1)


def changes(before: Mapping[str, Contents], now: Mapping[str, Contents]) -> str:
    """What is otherwise, by split, for people; "" where nothing is.

    >>> one, two = {"samples": 40, "checksum": "ab"}, {"samples": 50, "checksum": "cd"}
    >>> changes({"train": one, "val": one, "test": one}, {"train": two, "val": one, "test": {**one, "checksum": "ef"}})
    'train has 50 samples where it had 40 (10 more), test has 40 as before, but not the same ones'
    """
    said: list[str] = []
    for split in before:
        if split not in now or before[split] == now[split]:
            continue
        was, number = before[split]["samples"], now[split]["samples"]
        samples = "" if said else " samples"
        if was == number:
            said.append(f"{split} has {number}{samples} as before, but not the same ones")
        else:
            more = f"{number - was} more" if number > was else f"{was - number} fewer"
            said.append(f"{split} has {number}{samples} where it had {was} ({more})")
    return ", ".join(said)

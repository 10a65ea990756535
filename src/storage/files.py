"""Files that are written whole or not at all, and read though a power failure has left half of one."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import UserError


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder outlast a power failure, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path, text: str, *, sync: bool = False) -> None:
    """Write whole or not at all: to a neighbour first, which then takes the name.

    Args:
        path: the file.
        text: its content.
        sync: whether it has to outlast a power failure from now on.

    Raises:
        UserError: it cannot be written, for lack of space or permission.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        with part.open("x", encoding="utf-8") as file:  # a link in somebody else's folder is not followed
            file.write(text)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def write_json(path: Path, value: Any) -> None:
    """See `write_text`."""
    write_text(path, json.dumps(value, indent=2) + "\n")


@contextlib.contextmanager
def claimed(handle: int, *, shared: bool = False) -> Iterator[bool]:
    """Whether this process, with those that it starts, alone has an open file or folder meanwhile.

    True as well where a system or a disk knows no such locks.

    Args:
        handle: of the file or the folder.
        shared: whether others may have it so too, as those do that only ask.
    """
    try:
        import fcntl
    except ImportError:  # not POSIX
        yield True
        return
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    except OSError:
        yield True
        return
    try:
        yield True
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)  # a worker that lives on has the file open, too


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`; one that a killed run left unfinished is left out."""
    path = folder / "metrics.jsonl"
    epochs = []
    for line in path.read_bytes().decode(errors="replace").splitlines() if path.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            epochs.append(json.loads(line))
    return epochs


def read_metrics(folder: Path) -> dict[str, Any]:
    """`metrics.json` of a run, or nothing where it has none yet."""
    return read_json(folder / "metrics.json")


def read_json(path: Path) -> dict[str, Any]:
    """An object from a file; an empty one where there is no file, or a power failure has left half of it."""
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    return {}

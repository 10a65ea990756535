"""Checkpoint files: whole or not there, with a checksum, and free of code."""

import contextlib
import errno
import hashlib
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from ..errors import UserError
from .files import sync_folder

# After the zip archive that torch.save writes comes one line with the checksum of all bytes before it. Readers of zip
# archives look for their directory from the end on and pass over it: `torch.load(path)` works without this module.
MARK = b"\ntorchatlas sha256 "
TRAILER = len(MARK) + 64
CHUNK = 1 << 20


class Damaged(UserError):
    """A checkpoint whose bytes are not those that were written."""


class _Hashed:
    """A file being written, and the checksum of what went into it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            self.file.write(data)
        except OSError as error:  # torch reports its own failure instead
            self.error = error
            raise
        self.digest.update(data)
        return len(data)

    def flush(self) -> None:
        self.file.flush()


def write(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint so that `path` always is a whole one, whenever the program or the machine stops.

    The bytes go to a neighbour, are synced to the disk, and take the name in one step.

    Args:
        checkpoint: tensors and plain values.
        path: its folder is made where it is missing.

    Raises:
        UserError: no space, no permission, and the like. What was at `path` before is still there.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)  # one that a kill has left; and a link in somebody else's folder is not followed
        with part.open("xb") as file:
            hashed = _Hashed(file)
            try:
                torch.save(checkpoint, hashed)  # type: ignore[arg-type]  # it asks for no more than write and flush
            except RuntimeError as error:
                raise hashed.error or error from None
            file.write(MARK + hashed.digest.hexdigest().encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise UserError(_why_not_written(error, path)) from error


def _why_not_written(error: OSError, path: Path) -> str:
    kept = "; the checkpoint before it is intact" if path.exists() else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"there is no space left to write {path}{kept}: free some, then go on with resume={path.parent.parent}"
    return f"{path} cannot be written ({error.strerror}){kept}: name another folder with hydra.run.dir=FOLDER"


def keep_as(path: Path, kept: Path) -> None:
    """Give the file at `path` the second name `kept`, so that a new one can take the first."""
    if not path.exists():
        return
    part = kept.with_name(kept.name + ".part")
    part.unlink(missing_ok=True)
    try:
        os.link(path, part)
    except OSError:  # a file system without links
        shutil.copyfile(path, part)
    os.replace(part, kept)
    part.unlink(missing_ok=True)  # two names of one file: then replacing does nothing


def damage(path: Path) -> str | None:
    """What is wrong with the bytes of a checkpoint; None where they are those that were written.

    Raises:
        UserError: the file cannot be read at all.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            left = os.fstat(file.fileno()).st_size - TRAILER
            if left <= 0:
                return "it is cut off"
            while left:
                chunk = file.read(min(CHUNK, left))
                if not chunk:
                    return "it is cut off"
                digest.update(chunk)
                left -= len(chunk)
            trailer = file.read()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    if not trailer.startswith(MARK):
        return "it is cut off, or was not written by torchatlas: its last line is no checksum"
    if trailer != MARK + digest.hexdigest().encode():
        return "its checksum is wrong: it was altered"
    return None


def read(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """An intact checkpoint of this program, with tensors and plain values only.

    Raises:
        Damaged: the file is cut off or altered.
        UserError: it holds more than tensors and plain values, or is no checkpoint of torchatlas.
    """
    if reason := damage(path):
        raise Damaged(f"{path} is damaged: {reason}")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be loaded safely as a checkpoint: {reason}") from error
    about = checkpoint.get("torchatlas") if isinstance(checkpoint, dict) else None
    parts = (checkpoint.get("state_dict"), about.get("config"), about.get("data")) if isinstance(about, dict) else ()
    if not parts or not all(isinstance(part, dict) for part in parts):
        raise UserError(f"{path} is no checkpoint of torchatlas")
    return checkpoint


class CheckpointFiles(TorchCheckpointIO):
    """What Lightning writes and reads checkpoints with: the functions of this module."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read(Path(path), map_location or "cpu")

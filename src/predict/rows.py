"""Answers in a table that grows as they come: who stops the command keeps what there was."""

import contextlib
import csv
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..storage.files import claimed

Row = dict[str, Any]
ERROR = "error"  # the column that says why a file could not be read


def file_for(output: str, given: str = "", endings: Sequence[str] = ()) -> Path:
    """A file that a command is to write, in a folder that is made; known before the work is done.

    Args:
        output: its name.
        given: the user's file or folder that is read, in whose place nothing is written; or a text itself.
        endings: of the files that are read of a folder.

    Raises:
        UserError: it cannot be written, or is one of the files that are read.
    """
    path, source = Path(output).expanduser(), os.path.expanduser(given)
    if path.is_file() and os.path.exists(source):
        among = path.suffix.lower() in endings and path.resolve().is_relative_to(Path(source).resolve())
        if path.samefile(source) or among:
            raise UserError(f"output={output} is a file that is read, and would be overwritten: name another one")
    if path.is_dir():
        raise UserError(f"output={output} is a folder: name a file in it, as in output={path / 'output'}")
    made_folder(path.parent, "another place with output=FILE")
    try:
        if path.exists():
            path.open("a").close()
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): name another place with output=FILE") from error
    return path


def made_folder(folder: Path, instead: str = "a folder with output=FOLDER") -> Path:
    """A folder that a command is to write into, made where it is not there.

    Args:
        folder: where.
        instead: what the user may name.

    Raises:
        UserError: it cannot be made, or nothing can be written into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): name {instead}") from error
    return folder


@contextlib.contextmanager
def table(path: Path | None, *, errors: bool = False) -> Iterator[Callable[[Row], None]]:
    """A function that writes a row of a CSV file, at once; the file begins with the first row.

    The columns are those of the first answer. A row with an error in place of an answer waits for it. Where the first
    error comes behind answers in a file without a column for it, a file with one takes its place.

    Raises:
        UserError: another command writes the same file, or the disk is full.

    Args:
        path: the file; None: nothing is written.
        errors: whether there is a column for errors, which is empty in answers, in any case.
    """
    waiting: list[Row] = []
    with contextlib.ExitStack() as opened:
        writer: csv.DictWriter[str] | None = None
        file: Any = None

        def reopen(columns: list[str]) -> "csv.DictWriter[str]":
            nonlocal writer, file
            assert path is not None
            opened.close()
            file = path.open("a", newline="", encoding="utf-8")
            opened.callback(close, file)
            if not opened.enter_context(claimed(file.fileno())):
                raise UserError(f"{path} is being written by another command: name another file with output=FILE")
            extra = [ERROR] if (errors or waiting) and ERROR not in columns else []
            writer = csv.DictWriter(file, [*columns, *extra], extrasaction="ignore")
            return writer

        def begin(columns: list[str]) -> "csv.DictWriter[str]":
            writer = reopen(columns)
            with contextlib.suppress(OSError):  # what is no file has no length
                file.truncate(0)
            writer.writeheader()
            writer.writerows(waiting)
            waiting.clear()
            return writer

        def widen(columns: list[str]) -> "csv.DictWriter[str]":
            """A column for errors, in a file that takes the place of the former one whole."""
            assert path is not None
            with path.open(newline="", encoding="utf-8") as written:
                rows = list(csv.DictReader(written))
            part = path.with_name(f"{path.name}.part")
            try:
                with part.open("w", newline="", encoding="utf-8") as anew:
                    wider = csv.DictWriter(anew, [*columns, ERROR])
                    wider.writeheader()
                    wider.writerows(rows)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            return reopen([*columns, ERROR])

        def write(row: Row) -> None:
            if path is None:
                return
            if writer is None and ERROR in row:
                waiting.append(row)
                return
            try:
                current = writer or begin(list(row))
                if ERROR in row and ERROR not in current.fieldnames:
                    current = widen(list(current.fieldnames))
                current.writerow(row)
                file.flush()
            except OSError as error:
                raise UserError(
                    f"{path} cannot be written ({error.strerror}): name another place with output=FILE"
                ) from error

        yield write
        if waiting:
            begin(list(waiting[0]))


def close(file: Any) -> None:
    """Each row has been written out; what a full disk has not taken is not tried again."""
    with contextlib.suppress(OSError):
        file.close()

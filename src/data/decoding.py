"""Text files, whatever they are encoded in and packed or not."""

import codecs
import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from ..errors import UserError

MARKS = (  # of byte order; that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
PACKED = b"\x1f\x8b"  # by gzip
OTHERS = {  # what begins so is no text
    b"PK\x03\x04": "an Excel workbook or another zip file", b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file", b"\x89HDF": "an HDF5 file", b"SQLite format 3": "an SQLite database",
    b"BZh": "packed by bzip2", b"\xfd7zXZ": "packed by xz", b"\x28\xb5\x2f\xfd": "packed by zstandard",
}  # fmt: skip


@contextlib.contextmanager
def text_lines(path: Path, encoding: str | None = None) -> Iterator[Iterator[str]]:
    """The lines of a text file with what ends them.

    Args:
        path: the file, packed by gzip or not, whatever its name ends in.
        encoding: as Python calls it; None: UTF-8. A byte order mark at the begin counts more.

    Raises:
        UserError: there is no such file, it is of another kind, damaged, or not in that encoding; it names the line.
    """
    with _opened(path) as file:
        start = file.read(16)
        file.seek(0)
        for magic, what in OTHERS.items():
            if start.startswith(magic):
                raise UserError(f"{path} is no text but {what}: save it as CSV in UTF-8")
        chosen = next((name for mark, name in MARKS if start.startswith(mark)), encoding or "utf-8")
        try:
            text = io.TextIOWrapper(file, chosen, newline="")
        except LookupError:
            raise UserError(f"data.encoding={encoding} is unknown: latin-1, cp1252 and utf-16 are some") from None
        try:
            yield _without_zeros(text, path)
        except UnicodeError as error:
            utf8 = chosen.startswith("utf-8")
            likely = "utf-16-le" if b"\0" in start else "latin-1"
            advice = f", or use data.encoding={likely} or what else it is in" if utf8 else ""
            raise UserError(
                f"{path}{_first_wrong(path, chosen)} is no text in {'UTF-8' if utf8 else chosen}: save it as CSV in "
                f"UTF-8{advice}"
            ) from error


def read_text(path: Path, encoding: str | None = None) -> str:
    """A text file, with line feeds at the ends of lines and without a byte order mark; one that is packed is unpacked.

    Args:
        path: the file, which may be packed by gzip.
        encoding: of the text, as Python names it; None: UTF-8. A byte order mark counts more.

    Raises:
        UserError: there is no such encoding, the file is not in it, or it holds zero bytes; it is named.
    """
    data = path.read_bytes()
    for magic, what in OTHERS.items():
        if data.startswith(magic):
            raise UserError(f"{path} is no text but {what}: save it as a text in UTF-8")
    try:
        data = gzip.decompress(data) if data.startswith(PACKED) else data
        name = next((name for mark, name in MARKS if data.startswith(mark)), encoding or "utf-8")
        text = data.decode(name)
    except LookupError as error:
        raise UserError(
            f"data.encoding={encoding} is none that is known: name one, as in data.encoding=latin-1"
        ) from error
    except UnicodeDecodeError as error:
        other = "" if encoding is None else ", or name its encoding, as in data.encoding=latin-1"
        raise UserError(
            f"{path} is no {name.removesuffix('-sig').upper()} text ({error.reason} at byte {error.start}): save it in "
            f"UTF-8{other}"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked ({error}): get it anew") from error
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if (at := text.find("\0")) >= 0:
        raise UserError(zero_byte(path, text.count("\n", 0, at) + 1, "a text"))
    return text


def zero_byte(path: Path, line: int, what: str) -> str:
    """What is said of a file with a zero byte, which UTF-8 allows and no text has."""
    return (
        f"{path}, line {line} holds a zero byte, so it is no text: save it as {what} in UTF-8, or use "
        "data.encoding=utf-16-le if it is in UTF-16"
    )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked."""
    if not path.is_file():
        raise UserError(f"there is no file {path}: name one with data.path=FILE.csv")
    with path.open("rb") as file:
        packed = file.read(len(PACKED)) == PACKED
        file.seek(0)
        if not packed:
            yield file
            return
        try:
            with gzip.open(file) as unpacked:
                yield cast(IO[bytes], unpacked)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{path} is packed by gzip and damaged ({error}): fetch it again") from error


def _without_zeros(lines: Iterator[str], path: Path) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise UserError(zero_byte(path, number, "CSV"))
        yield line


def _first_wrong(path: Path, encoding: str) -> str:
    """The first line that cannot be decoded, where each line can be on its own."""
    if encoding.startswith(("utf-16", "utf-32")):
        return ""
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode(encoding)
            except UnicodeError:
                return f", line {number}"
    return ""

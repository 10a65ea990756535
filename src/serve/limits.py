"""How much may be asked at once: what is larger is refused before it is decoded."""

import io
import zlib
from dataclasses import dataclass, fields
from typing import Any

from PIL import Image, UnidentifiedImageError
from starlette.exceptions import HTTPException

from ..errors import UserError

PACKED = b"\x1f\x8b"  # the first bytes of gzip
MOST_PASSES = 100  # with dropout, for one input


@dataclass(frozen=True)
class Limits:
    """What a request may have.

    Attributes:
        bytes: of its body, and of what is unpacked of a file.
        inputs: files, texts or arrays.
        pixels: of an image, width times height.
        seconds: of a sound.
        characters: of a text.
        rows: of a table.
        length: by which a text may be continued, in characters, words or tokens.
        timeout: seconds in which it must have arrived.
        queue: requests at a time, those that still arrive among them.
    """

    bytes: int = 20_000_000
    inputs: int = 64
    pixels: int = 25_000_000
    seconds: float = 60.0
    characters: int = 20_000
    rows: int = 100_000
    length: int = 1_000
    timeout: float = 30.0
    queue: int = 64

    def __post_init__(self) -> None:
        for each in fields(self):
            name = each.name if each.name in ("timeout", "queue") else f"max_{each.name}"
            if not getattr(self, each.name) > 0:
                raise UserError(f"{name}={getattr(self, each.name)} must be positive")

    def most(self, option: str) -> int | None:
        """The largest value of an option that costs time in proportion."""
        return {"length": self.length, "mc_samples": MOST_PASSES}.get(option)


def too_large(what: str, size: float, most: float, unit: str) -> HTTPException:
    """The refusal of what is over a limit."""
    return HTTPException(413, f"{what} has {size:,g} {unit}, and this service takes {most:,g} at most: send less")


def unpacked(content: bytes, name: str, limits: Limits) -> bytes:
    """The content of a gzip file, of which no more is unpacked than may be; other content as it is.

    Raises:
        HTTPException: it is larger, or torn.
    """
    found, left = b"", content
    while left.startswith(PACKED):  # a file may have several parts
        unpacker = zlib.decompressobj(wbits=31)
        try:
            found += unpacker.decompress(left, limits.bytes + 1 - len(found))
        except zlib.error as error:
            raise HTTPException(422, f"{name} cannot be unpacked ({error}): send it as it is") from error
        if len(found) > limits.bytes:
            raise HTTPException(413, f"{name} unpacks to more than the {limits.bytes:,} bytes that this service takes")
        if not unpacker.eof:
            raise HTTPException(422, f"{name} ends before its time: send the whole file")
        left = unpacker.unused_data
    return found if content.startswith(PACKED) else content


def require_few_pixels(content: bytes, name: str, formats: tuple[str, ...], limits: Limits) -> None:
    """Refuse an image that is too large, by what its first bytes say of its size; nothing is decoded.

    Args:
        content: the file.
        name: for messages.
        formats: Pillow's names of those that are read: others may call programs, or leave their size open.

    Raises:
        HTTPException: it is too large, or no image of these formats.
    """
    try:
        with Image.open(io.BytesIO(content), formats=formats) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise HTTPException(
            413, f"{name} has more pixels than the {limits.pixels:,} that this service takes"
        ) from error
    except UnidentifiedImageError as error:
        known = ", ".join(sorted(formats))
        raise HTTPException(415, f"{name} is no image that can be read here: send one of {known}") from error
    except Exception as error:  # a torn head: Pillow raises whatever comes
        raise HTTPException(422, f"{name} cannot be read as an image: it is damaged") from error
    if width * height > limits.pixels:
        raise too_large(f"{name}, {width}x{height},", width * height, limits.pixels, "pixels")


def require_short_sound(content: bytes, name: str, soundfile: Any, limits: Limits) -> None:
    """Refuse a sound that is too long, by what its head says.

    Args:
        content: the file; one that cannot be read, or does not say how long it is, is left to its reader.
        soundfile: the package.

    Raises:
        HTTPException: it is too long.
    """
    try:
        about = soundfile.info(io.BytesIO(content))
        seconds = about.frames / about.samplerate
    except Exception:
        return
    if limits.seconds < seconds < 1e9:
        raise too_large(name, round(seconds, 1), limits.seconds, "seconds")


def require_short_text(content: bytes, name: str, limits: Limits) -> None:
    """Refuse a text that is too long.

    Raises:
        HTTPException: it is.
    """
    characters = len(content.decode("utf-8", "replace"))
    if characters > limits.characters:
        raise too_large(name, characters, limits.characters, "characters")


def require_few_rows(content: bytes, name: str, limits: Limits) -> None:
    """Refuse a table of too many rows.

    Raises:
        HTTPException: it has.
    """
    rows = content.count(b"\n") + 1
    if rows > limits.rows:
        raise too_large(name, rows, limits.rows, "rows")

"""What is too large is refused before it is decoded, in one sentence with the right status."""

import gzip
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from starlette.exceptions import HTTPException

from torchatlas import UserError
from torchatlas.serve.limits import (
    Limits,
    require_few_pixels,
    require_few_rows,
    require_short_sound,
    require_short_text,
    unpacked,
)

FORMATS = ("GIF", "JPEG", "PNG", "TIFF")


def refused(function: Any, *arguments: Any) -> tuple[int, str]:
    with pytest.raises(HTTPException) as caught:
        function(*arguments)
    return caught.value.status_code, caught.value.detail


def png_of(width: int, height: int) -> bytes:
    """The head of a PNG file, which says how large it is, and nothing behind it."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def saved(image: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def test_an_image_that_says_it_is_huge_is_not_decoded() -> None:
    limits = Limits(pixels=1_000_000)
    for width, height in ((1001, 1000), (60_000, 60_000), (2**31 - 1, 2)):
        status, sentence = refused(require_few_pixels, png_of(width, height), "a.png", FORMATS, limits)
        assert status == 413
        assert "a.png" in sentence
        assert "1,000,000" in sentence.replace("1e+06", "1,000,000")
    require_few_pixels(png_of(1000, 1000), "a.png", FORMATS, limits)


def test_formats_that_are_not_asked_for_are_not_opened() -> None:
    image, limits = Image.new("RGB", (8, 8)), Limits()
    require_few_pixels(saved(image, "jpeg"), "a", FORMATS, limits)
    for form in ("eps", "pdf", "bmp", "ico"):
        status, sentence = refused(require_few_pixels, saved(image, form), "a.png", FORMATS, limits)
        assert (status, sentence) == (415, "a.png is no image that can be read here: send one of GIF, JPEG, PNG, TIFF")
    assert refused(require_few_pixels, b"text", "a.png", FORMATS, limits)[0] == 415


def test_a_packed_text_is_unpacked_up_to_the_limit() -> None:
    limits = Limits(bytes=1000)
    assert unpacked(b"plain", "a", limits) == b"plain"
    assert unpacked(gzip.compress(b"x" * 1000), "a", limits) == b"x" * 1000
    assert unpacked(gzip.compress(b"one ") + gzip.compress(b"two"), "a", limits) == b"one two"
    for content in (gzip.compress(b"x" * 1001), gzip.compress(b"x" * 600) * 2, gzip.compress(bytes(10**7))):
        assert refused(unpacked, content, "a.gz", limits) == (
            413, "a.gz unpacks to more than the 1,000 bytes that this service takes",
        )  # fmt: skip
    assert refused(unpacked, gzip.compress(b"whole")[:-4], "a.gz", limits)[0] == 422
    assert refused(unpacked, b"\x1f\x8bnothing", "a.gz", limits)[0] == 422


def test_sounds_texts_and_tables_have_limits() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(8000), 8000, format="FLAC")
    require_short_sound(file.getvalue(), "a.flac", soundfile, Limits(seconds=1.0))
    require_short_sound(b"no sound", "a.flac", soundfile, Limits())  # its reader says what is wrong
    assert refused(require_short_sound, file.getvalue(), "a.flac", soundfile, Limits(seconds=0.5)) == (
        413, "a.flac has 1 seconds, and this service takes 0.5 at most: send less",
    )  # fmt: skip
    require_short_text("ä".encode() * 10, "a", Limits(characters=10))
    assert refused(require_short_text, b"x" * 11, "a", Limits(characters=10))[0] == 413
    require_few_rows(b"a\n1\n2", "a", Limits(rows=3))
    assert refused(require_few_rows, b"a\n1\n2\n", "a", Limits(rows=3))[0] == 413


def test_limits_are_positive() -> None:
    for name, said in (("bytes", "max_bytes=0"), ("queue", "queue=0"), ("timeout", "timeout=0")):
        with pytest.raises(UserError, match=f"^{said} must be positive$"):
            Limits(**{name: 0})

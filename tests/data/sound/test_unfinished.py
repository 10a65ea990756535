"""Files whose recorder never wrote how long they are: what is heard is what the finished file has."""

import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.sound import RATE, tone

from torchatlas.data.sound.files import UNFINISHED, load_sound
from torchatlas.errors import UserError

WAVES = np.stack([tone(500), 0.5 * tone(300)], 1)
Spoil = Callable[[bytearray], object]


def put(name: bytes, *parts: tuple[int, bytes]) -> Spoil:
    """Bytes at places behind the name of a part."""

    def spoil(content: bytearray) -> None:
        begin = content.index(name)
        for place, value in parts:
            content[begin + place : begin + place + len(value)] = value

    return spoil


SPOILT: dict[str, tuple[str, Spoil, int]] = {  # and the bytes before the samples
    "AIFF, nothing": ("AIFF", put(b"SSND", (4, struct.pack(">I", 8))), 12),
    "AIFF, no number": (
        "AIFF", lambda c: (put(b"COMM", (10, bytes(4)))(c), put(b"SSND", (4, struct.pack(">I", 8)))(c)), 12,
    ),
    "CAF, to the end": ("CAF", put(b"data", (4, b"\xff" * 8)), 16),
    "CAF, 0": ("CAF", put(b"data", (4, bytes(8))), 16),
    "CAF, 4": ("CAF", put(b"data", (4, struct.pack(">q", 4))), 16),
    "AU": ("AU", put(b".snd", (8, bytes(4))), 0),
    "RF64": ("RF64", put(b"ds64", (8, bytes(24))), 8),
    "RF64, 0": ("RF64", lambda c: (put(b"ds64", (8, bytes(24)))(c), put(b"data", (4, bytes(4)))(c)), 8),
}  # fmt: skip


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
@pytest.mark.parametrize("way", SPOILT)
def test_what_is_there_is_heard(way: str, subtype: str, tmp_path: Path) -> None:
    form, spoil, before = SPOILT[way]
    path = tmp_path / "a.snd"
    soundfile.write(path, WAVES, RATE, subtype=subtype, format=form)
    expected, _ = load_sound(path, RATE, RATE)
    content = bytearray(path.read_bytes())
    spoil(content)
    path.write_bytes(content)
    notes = Counter[str]()
    read, rate = load_sound(path, RATE, RATE, notes=notes)
    assert rate == RATE
    assert np.array_equal(read, expected)
    assert notes == {UNFINISHED: 1}
    assert np.array_equal(load_sound(path, RATE, 100)[0], expected[:100])
    start = content.index(b"SSND" if form == "AIFF" else b"data") + before if before else 24
    path.write_bytes(content[: start + 4 * (form == "AIFF")])  # nothing came
    with pytest.raises(UserError, match=r"a\.snd .*mend it, or move it elsewhere"):
        load_sound(path, RATE, RATE)


def test_w64_files_without_sizes_are_read_by_libsndfile_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.w64"
    soundfile.write(path, WAVES, RATE, subtype="PCM_16", format="W64")
    expected, _ = load_sound(path, RATE, RATE)
    content = bytearray(path.read_bytes())
    for size in (0, 24):
        put(b"riff", (16, bytes(8)))(content)
        put(b"data", (16, struct.pack("<q", size)))(content)
        path.write_bytes(content)
        assert np.array_equal(load_sound(path, RATE, RATE)[0], expected)


@pytest.mark.parametrize("samples", [RATE, RATE // 2, 100])
def test_flac_files_need_not_say_their_length(samples: int, tmp_path: Path) -> None:
    """Programs that write to a pipe leave it 0, for unknown; libsndfile fails where such a file ends."""
    path = tmp_path / "a.flac"
    soundfile.write(path, WAVES[: RATE // 3 * 2], RATE)
    expected, _ = load_sound(path, RATE, samples)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert np.array_equal(load_sound(path, RATE, samples)[0], expected)


def test_files_of_other_kinds_are_named_for_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for content, said in (
        (b"", r"a\.wav cannot be read as a sound \(it is empty\)"),
        (b"\0\0\0\x18ftypM4A " + bytes(99), r"a\.wav is of MPEG-4, as \.m4a .* convert it, as ffmpeg does"),
        (b"\x1aE\xdf\xa3" + bytes(99), "is of Matroska or WebM"),
        (b"RIFF", "cannot be read as a sound"),
        (b"caff\0\1\0\0desc", "cannot be read as a sound"),
        (b"FORM\0\0\0\0AIFFCOMM\0\0\0\x02SSND\0\0\0\0", "cannot be read as a sound"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=said):
            load_sound(path, RATE, RATE)
    path.unlink()
    with pytest.raises(UserError, match=r"a\.wav cannot be read as a sound \(No such file or directory\)"):
        load_sound(path, RATE, RATE)

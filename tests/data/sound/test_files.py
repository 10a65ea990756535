"""Sounds in files."""

import math
import struct
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.sound import LOGMEL, RATE, pitch, tone

from torchatlas.data.sound.features import Features
from torchatlas.data.sound.files import CUT_OFF, SCALED, TURNED, UNFINISHED, load_sound
from torchatlas.errors import UserError


def test_pcm16_is_read_exactly(tmp_path: Path) -> None:
    wave = np.random.default_rng(0).integers(-(2**15), 2**15, 5000, dtype=np.int16)
    for name in ("a.wav", "b.flac"):
        soundfile.write(tmp_path / name, wave, RATE, subtype="PCM_16")
        read, rate = load_sound(tmp_path / name, RATE, 10_000)
        assert rate == RATE
        assert np.array_equal(read.numpy(), wave)
        assert np.array_equal(load_sound(tmp_path / name, RATE, 1234)[0].numpy(), wave[:1234])


def test_channels_are_averaged(tmp_path: Path) -> None:
    channels = np.stack([tone(500), -0.5 * tone(900)], 1)
    soundfile.write(tmp_path / "a.wav", channels, RATE, subtype="FLOAT")
    notes = Counter[str]()
    read, _ = load_sound(tmp_path / "a.wav", RATE, RATE, notes=notes)
    np.testing.assert_allclose(read.numpy() / 2**15, channels.mean(1), atol=1 / 2**15)
    assert not notes
    for channel in (0, 1):
        read, _ = load_sound(tmp_path / "a.wav", RATE, RATE, channel=channel)
        np.testing.assert_allclose(read.numpy() / 2**15, channels[:, channel], atol=1 / 2**15)
    with pytest.raises(UserError, match=r"a\.wav has 2 channels, and data\.channel=2 asks for another"):
        load_sound(tmp_path / "a.wav", RATE, RATE, channel=2)


@pytest.mark.parametrize("gains", [(1, -1), (-1, 1), (1, -0.5), (0.3, -1), (1, -1, 1), (0, 1, -1)])
def test_channels_in_opposite_phase_do_not_cancel_out(gains: tuple[float, ...], tmp_path: Path) -> None:
    wave = 0.5 * tone(500) + 0.3 * tone(740) + 0.1
    soundfile.write(tmp_path / "a.wav", np.stack([gain * wave for gain in gains], 1), RATE)
    notes = Counter[str]()
    read, _ = load_sound(tmp_path / "a.wav", RATE, RATE, notes=notes)
    expected = math.copysign(1, gains[0]) * np.abs(gains).mean() * wave
    np.testing.assert_allclose(np.abs(read.numpy()) / 2**15, np.abs(expected), atol=3 / 2**15)
    if gains[0]:  # the first channel stays as it is
        np.testing.assert_allclose(read.numpy() / 2**15, expected, atol=3 / 2**15)
    assert notes == {TURNED: 1}


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize(("name", "scale"), [("a.wav", 1), ("b.wav", 2**8), ("c.wav", 2**16), ("d.au", 1)])
def test_floats_at_the_levels_of_whole_numbers_are_scaled(name: str, scale: int, subtype: str, tmp_path: Path) -> None:
    """As the same sound in whole numbers; also where it begins in silence, or was resampled and is whole no longer."""
    loud = (tone(500) * 2**15).round()
    quiet = np.concatenate([np.zeros(RATE // 2), np.sign(tone(500)) * 0.7, loud])
    for wave in (loud, quiet, loud + 0.3):
        notes = Counter[str]()
        soundfile.write(tmp_path / name, wave * scale, RATE, subtype=subtype)
        read, _ = load_sound(tmp_path / name, RATE, 2000, notes=notes)
        np.testing.assert_allclose(read.numpy(), np.clip(wave[:2000], -(2**15), 2**15 - 1), atol=1)
        assert notes == {SCALED: 1}


def test_floats_on_their_own_scale_stay_and_peaks_over_it_are_told(tmp_path: Path) -> None:
    for gain, notes in ((1.8, {}), (3.0, {CUT_OFF: 1})):
        found = Counter[str]()
        soundfile.write(tmp_path / "a.wav", gain * tone(500), RATE, subtype="FLOAT")
        read, _ = load_sound(tmp_path / "a.wav", RATE, RATE, notes=found)
        np.testing.assert_allclose(read.numpy() / 2**15, np.clip(gain * tone(500), -1, 1), atol=1 / 2**15)
        assert found == notes


@pytest.mark.parametrize("sizes", [(0, 0), (36, 0), (None, 0)])
@pytest.mark.parametrize(("subtype", "form", "endian"), [
    ("PCM_16", "WAV", "LITTLE"), ("PCM_16", "WAV", "BIG"), ("PCM_24", "WAVEX", "LITTLE"), ("FLOAT", "WAV", "LITTLE"),
    ("MS_ADPCM", "WAV", "LITTLE"),
])  # fmt: skip
def test_a_file_that_a_recorder_did_not_finish_is_read_to_its_end(
    sizes: tuple[int | None, int], subtype: str, form: str, endian: str, tmp_path: Path
) -> None:
    path, order = tmp_path / "a.wav", "<" if endian == "LITTLE" else ">"
    soundfile.write(path, np.stack([tone(500), tone(300)], 1), RATE, subtype=subtype, format=form, endian=endian)
    expected, _ = load_sound(path, RATE, RATE)
    content = bytearray(path.read_bytes())
    data = content.index(b"data")
    for place, size in ((4, sizes[0]), (data + 4, sizes[1])):
        content[place : place + 4] = content[place : place + 4] if size is None else struct.pack(order + "I", size)
    path.write_bytes(content + b"\1")  # of a sample that was being written
    notes = Counter[str]()
    read, _ = load_sound(path, RATE, RATE, notes=notes)
    assert np.array_equal(read[: len(expected)], expected)
    assert len(read) - len(expected) in ((0,) if subtype != "MS_ADPCM" else (0, 1))
    assert notes == {UNFINISHED: 1}
    begun, _ = load_sound(path, RATE, 100)
    assert np.array_equal(begun, expected[:100])
    path.write_bytes(content[: data + 8])  # nothing came
    with pytest.raises(UserError, match=r"a\.wav .*mend it, or move it elsewhere"):
        load_sound(path, RATE, RATE)


@pytest.mark.parametrize("rate", [4000, 11_025, 44_100, 44_101, 48_000])
def test_another_rate_keeps_pitch_length_and_loudness(rate: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(640, 0.5, rate), rate)
    read, found = load_sound(tmp_path / "a.wav", RATE, RATE)
    assert found == rate
    assert len(read) == pytest.approx(RATE / 2, abs=2)
    assert pitch(read) == pytest.approx(640, abs=3)
    assert float(read.double().std()) / 2**15 == pytest.approx(0.5 / math.sqrt(2), rel=0.02)
    whole, _ = load_sound(tmp_path / "a.wav", RATE, 1000)  # of a file only the beginning is read
    assert len(whole) == 1000
    assert (whole - read[:1000]).abs().max() <= 2


def test_files_that_are_no_sound_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"not a sound")
    soundfile.write(tmp_path / "b.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "c.wav", np.array([0.0, math.nan]), RATE, subtype="FLOAT")
    for name, reason in (("a", "cannot be read as a sound"), ("b", "length zero"), ("c", "no numbers")):
        with pytest.raises(UserError, match=rf"{name}\.wav .*{reason}"):
            load_sound(tmp_path / f"{name}.wav", RATE, RATE)
    with pytest.raises(UserError, match=r"none\.wav cannot be read"):
        load_sound(tmp_path / "none.wav", RATE, RATE)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(UserError, match=r'needs torchaudio.*pip install "torchatlas\[audio\]"'):
        Features(**LOGMEL)

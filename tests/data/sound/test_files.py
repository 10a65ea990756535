"""Sounds in files."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.sound import LOGMEL, RATE, pitch, tone

from torchatlas.data.sound.features import Features
from torchatlas.data.sound.files import load_sound
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
    soundfile.write(tmp_path / "a.wav", np.stack([tone(500), -0.5 * tone(500)], 1), RATE, subtype="FLOAT")
    read, _ = load_sound(tmp_path / "a.wav", RATE, RATE)
    np.testing.assert_allclose(read.numpy() / 2**15, 0.25 * tone(500), atol=1 / 2**15)


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

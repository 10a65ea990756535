"""Sounds: reading, features, augmentation."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
import soundfile
import torch
import torch.nn.functional as F
import torchaudio
from helpers.sound import LOGMEL, RATE, tone

from torchatlas.data.sound.base import (
    Features,
    add_noise,
    change_speed,
    load_sound,
    mask_frequencies,
    mask_times,
    move,
    real,
)
from torchatlas.data.sound.fsdd import FSDD
from torchatlas.errors import UserError


def pitch(wave: torch.Tensor, rate: int = RATE) -> float:
    """The loudest frequency, in hertz."""
    spectrum = torch.fft.rfft(wave.double() * torch.hann_window(len(wave), dtype=torch.float64)).abs()
    return float(spectrum.argmax()) * rate / len(wave)


# --- files


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


# --- features


def test_logmel_is_torchaudios() -> None:
    waves = 0.1 * torch.randn(3, RATE)
    transform = torchaudio.transforms.MelSpectrogram(
        RATE, n_fft=512, win_length=240, hop_length=80, f_min=20.0, n_mels=40, pad_mode="constant"
    )
    expected = (transform(waves) + 1e-6).log().transpose(1, 2)
    features = Features(**LOGMEL)
    torch.testing.assert_close(features(waves), expected)
    assert features(waves).shape[1] == features.length == 101


def test_mfcc_is_the_cosine_transform() -> None:
    waves = 0.1 * torch.randn(3, RATE)
    x = Features(**LOGMEL)(waves)
    mfcc = Features(**{**LOGMEL, "features": "mfcc", "in_channels": 13})(waves)
    expected = scipy.fft.dct(x.double().numpy(), norm="ortho")[:, :, :13]
    torch.testing.assert_close(mfcc.double(), torch.from_numpy(expected), atol=1e-4, rtol=1e-4)


def test_a_tone_is_in_its_mel_filter() -> None:
    features = Features(**LOGMEL)
    for hertz in (300, 1000, 3000):
        found = int(features(torch.from_numpy(tone(hertz, 1.0)).float()[None])[0, 50].argmax())
        low, high = (2595 * math.log10(1 + f / 700) for f in (20, RATE / 2))
        expected = (2595 * math.log10(1 + hertz / 700) - low) / (high - low) * 41 - 1
        assert abs(found - expected) <= 1


@pytest.mark.parametrize("kind", ["waveform", "logmel", "mfcc"])
def test_padding_changes_nothing_before_the_length(kind: str) -> None:
    channels = {"waveform": 1, "logmel": 40, "mfcc": 12}[kind]
    long = Features(**{**LOGMEL, "features": kind, "in_channels": channels})
    short = Features(**{**LOGMEL, "features": kind, "in_channels": channels, "seconds": 0.4})
    waves = 0.1 * torch.randn(2, 3200)
    alone, padded = short(waves), long(F.pad(waves, (0, RATE - 3200)))
    assert int(long.steps(torch.tensor(3200))) == short.length == alone.shape[1]
    torch.testing.assert_close(padded[:, : alone.shape[1]], alone)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": "logmell"}, "did you mean logmel"),
        ({"in_channels": 1}, r"data.in_channels=1 is not the 40 of data.features=logmel: use data.in_channels=40"),
        ({"features": "waveform"}, r"not the 1 of data.features=waveform: use data.in_channels=1"),
        ({"features": "mfcc", "in_channels": 41}, r"not the 1 to 40 of data.features=mfcc: use data.in_channels=40"),
        ({"seconds": 0}, "must be positive"),
        ({"window": 0.1}, "use data.window=30"),
        ({"n_mels": 200, "in_channels": 200}, r"filters without a frequency: use data.n_mels=191 at most"),
        ({"sample_rate": 8e3}, "whole number of hertz"),
    ],
)
def test_features_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Features(**{**LOGMEL, **change})


# --- augmentation


def clips() -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([4000, 8000, 2500, 100])
    waves = torch.randn(4, RATE) * real(lengths, RATE)
    return waves, lengths


def test_speed_changes_pitch_and_length() -> None:
    wave = torch.from_numpy(tone(500, 0.5)).float()
    waves = F.pad(wave, (0, RATE - len(wave))).repeat(3, 1)
    factors = torch.tensor([0.8, 1.0, 1.25])
    changed, lengths = change_speed(waves, torch.full((3,), len(wave)), factors)
    assert lengths.tolist() == [5000, 4000, 3200]
    assert torch.equal(changed[1], waves[1])
    for wave, length, hertz in zip(changed, lengths.tolist(), (400, 500, 625), strict=True):
        assert pitch(wave[:length]) == pytest.approx(hertz, abs=3)
        assert float(wave[length:].abs().sum()) == 0


def test_move_is_a_shift_with_zeros() -> None:
    waves, lengths = clips()
    moved, new = move(waves, lengths, torch.tensor([300, 500, -700, -90]))
    assert new.tolist() == [4300, 8000, 1800, 50]  # of the last a half stays
    assert torch.equal(moved[0, 300:4300], waves[0, :4000])
    assert torch.equal(moved[1, 500:], waves[1, :7500])
    assert torch.equal(moved[2, :1800], waves[2, 700:2500])
    assert torch.equal(moved[3, :50], waves[3, 50:100])
    zeros = (moved[0, :300], moved[0, 4300:], moved[1, :500], moved[2, 1800:], moved[3, 50:])
    assert all(float(part.abs().sum()) == 0 for part in zeros)


def test_noise_has_the_ratio_that_was_asked_for() -> None:
    waves, lengths = clips()
    waves, lengths = waves[:3], lengths[:3]
    noisy = add_noise(waves, lengths, torch.tensor([0.0, 10.0, 30.0]), torch.randn(3, RATE))
    for before, after, length, decibels in zip(waves, noisy, lengths.tolist(), (0, 10, 30), strict=True):
        added = after - before
        assert float(added[length:].abs().sum()) == 0
        ratio = before[:length].square().mean() / added[:length].square().mean()
        assert 10 * math.log10(ratio) == pytest.approx(decibels, abs=0.5)


def test_masks_hide_one_stretch_inside_the_clip() -> None:
    b = 4000
    steps = torch.randint(10, 51, (b,))
    x = torch.ones(b, 50, 12) * real(steps, 50)[:, :, None]
    times = mask_times(x, steps, 9, torch.rand(b, 2))
    frequencies = mask_frequencies(x, 5, torch.rand(b, 2))
    hidden = (times[:, :, 0] == 0) & real(steps, 50)
    edges = (hidden[:, 1:] & ~hidden[:, :-1]).sum(1) + hidden[:, 0]
    assert int(edges.max()) == 1
    assert torch.equal(times[:, :, :1].expand(-1, -1, 12), times)  # all channels at once
    sizes = hidden.sum(1)
    assert set(sizes.tolist()) == set(range(9))
    assert bool((sizes <= 0.2 * steps).all())
    assert float((sizes[steps == 50]).float().mean()) == pytest.approx(4, abs=0.7)  # uniform in 0..8
    hidden = frequencies[:, 0] == 0
    assert set(hidden.sum(1).tolist()) == set(range(5))
    assert bool(hidden.any(0).all())  # the mask comes everywhere


AUGMENTED: dict[str, Any] = {
    "speed": 0.1, "shift": 50.0, "noise": [10, 30], "frequency_masks": 2, "frequency_width": 8, "time_masks": 2,
    "time_width": 80.0,
}  # fmt: skip


def fake(**options: Any) -> FSDD:
    data = FSDD(num_classes=10, fake=True, batch_size=16, **{**LOGMEL, **options})
    data.setup()
    return data


@pytest.mark.parametrize("kind", ["waveform", "logmel"])
def test_without_augmentation_training_is_evaluation(kind: str) -> None:
    data = fake(features=kind, in_channels=1 if kind == "waveform" else 40)
    raw = data.splits["train"][-1, torch.arange(16)]
    for one, two in zip(data.transform(raw), data.transform((*raw[:4], 3)), strict=True):
        assert torch.equal(one, two)


def test_augmentation_is_a_function_of_seed_epoch_and_index() -> None:
    data, raw_of = fake(**AUGMENTED), lambda i, epoch: data.splits["train"][epoch, i]
    i = torch.arange(16)
    x, steps, _ = data.transform(raw_of(i, 3))
    part, part_steps, _ = data.transform(raw_of(i[5:8], 3))
    torch.testing.assert_close(part, x[5:8])
    assert torch.equal(part_steps, steps[5:8])
    assert not torch.equal(x, data.transform(raw_of(i, 4))[0])
    assert not torch.equal(x, fake(**AUGMENTED, seed=1).transform(raw_of(i, 3))[0])
    evaluated = data.transform(raw_of(i, -1))[0]
    assert torch.equal(evaluated, fake().transform(raw_of(i, -1))[0])
    for key in AUGMENTED:
        if not key.endswith("width"):
            alone = fake(**{key: AUGMENTED[key]})
            assert not torch.equal(alone.transform(raw_of(i, 3))[0], evaluated), key


@pytest.mark.parametrize("kind", ["waveform", "logmel", "mfcc"])
def test_inputs_are_normalised_and_zero_behind_their_lengths(kind: str) -> None:
    data = fake(features=kind, in_channels=1 if kind == "waveform" else 40)
    x, steps, _ = data.transform(data.splits["train"][-1, torch.arange(32)])
    within = real(steps, x.shape[1])
    torch.testing.assert_close(x[within].mean(0), torch.zeros(x.shape[2]), atol=1e-3, rtol=0)
    torch.testing.assert_close(x[within].std(0), torch.ones(x.shape[2]), atol=1e-3, rtol=0)
    assert float(x[~within].abs().sum()) == 0
    other = FSDD(num_classes=10, fake=True, batch_size=4, **{**data.about_features})
    other.load_state_dict(data.describe())  # a resumed run has the statistics of its first start
    other.setup()
    assert (other.mean, other.std) == (data.mean, data.std)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speed": 0.6}, "under 0.5"),
        ({"noise": [30, 10]}, r"as in data.noise=\[10,40\]"),
        ({"time_masks": -1}, "must not be negative"),
        ({"features": "mfcc", "frequency_masks": 1}, "use data.features=logmel or data.frequency_masks=0"),
        ({"held_out_speaker": "gorge"}, "did you mean george"),
        ({"num_classes": 9}, "must be 10"),
        ({"targets": "step"}, "one target for each sequence"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FSDD(**{"num_classes": 10, "fake": True, **LOGMEL, **change})

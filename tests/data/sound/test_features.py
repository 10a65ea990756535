"""Features of waveforms."""

import math
from typing import Any

import pytest
import scipy.fft
import torch
import torch.nn.functional as F
import torchaudio
from helpers.sound import LOGMEL, RATE, tone

from torchatlas.data.sound.features import Features
from torchatlas.errors import UserError


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

"""Augmentation of sounds."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.sound import RATE, pitch, tone

from torchatlas.data.sound.augment import add_noise, change_speed, mask_frequencies, mask_times, move
from torchatlas.data.sound.features import real


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

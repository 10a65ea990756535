"""Augmentation of whole batches of sounds: of waveforms `b n`, zero behind their lengths `b`, and of features."""

import torch
from torch import Tensor

from .features import real

TIME_SHARE = 0.2  # of a clip, the most that one time mask may cover (p of SpecAugment, section 2)


def change_speed(waves: Tensor, lengths: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Play each clip `factors` times as fast, which raises its pitch too.

    Ko, Peddinti, Povey and Khudanpur 2015, "Audio Augmentation for Speech Recognition", Interspeech, with linear
    interpolation between samples.
    """
    n = waves.shape[1]
    place = torch.arange(n, device=waves.device) * factors[:, None]
    left = place.floor()
    one, two = (waves.gather(1, index.long().clamp(max=n - 1)) for index in (left, left + 1))
    lengths = (lengths / factors).floor().long().clamp(1, n)
    return torch.lerp(one, two, place - left) * real(lengths, n), lengths


def move(waves: Tensor, lengths: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
    """Shift each clip by a number of samples: later, with zeros before it, or earlier, without its beginning.

    At least half of a clip stays. What is moved behind the end is cut off.
    """
    n = waves.shape[1]
    by = torch.maximum(by, -(lengths // 2))
    place = torch.arange(n, device=waves.device) - by[:, None]
    moved = waves.gather(1, place.clamp(0, n - 1)) * ((place >= 0) & (place < lengths[:, None]))
    return moved, (lengths + by).clamp(max=n)


def add_noise(waves: Tensor, lengths: Tensor, decibels: Tensor, noise: Tensor) -> Tensor:
    """Add noise `b n` of variance 1 so that each clip has this ratio of its power to that of the noise."""
    power = waves.square().sum(1) / lengths
    scale = (power / 10 ** (decibels / 10)).sqrt()
    return waves + scale[:, None] * noise * real(lengths, waves.shape[1])


def mask_frequencies(x: Tensor, width: int, random: Tensor) -> Tensor:
    """Set neighbouring channels of `b t c` to 0, the mean, see `mask_times`: fewer than `width`, by `random` `b 2`."""
    c = x.shape[2]
    size = (random[:, 0] * min(width, c)).floor()
    start = (random[:, 1] * (c - size + 1)).floor()
    place = torch.arange(c, device=x.device)
    hidden = (place >= start[:, None]) & (place < (start + size)[:, None])
    return x.masked_fill(hidden[:, None], 0.0)


def mask_times(x: Tensor, steps: Tensor, width: int, random: Tensor) -> Tensor:
    """Set neighbouring steps of normalised features to 0, the mean.

    Park et al. 2019, "SpecAugment", arXiv:1904.08779, section 2: the number of steps is uniform from 0 to `width` and
    at most a fifth of the clip (p = 0.2); so is the first of them among those that leave the mask inside the clip.

    Args:
        x: `b t c`.
        steps: of each clip.
        width: T of the paper, exclusive.
        random: numbers in [0, 1) of shape `b 2`.
    """
    size = (random[:, 0] * (TIME_SHARE * steps).clamp(max=width)).floor()
    start = (random[:, 1] * (steps - size + 1)).floor()
    place = torch.arange(x.shape[1], device=x.device)
    hidden = (place >= start[:, None]) & (place < (start + size)[:, None])
    return x.masked_fill(hidden[:, :, None], 0.0)

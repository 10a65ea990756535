"""Random numbers that are a function of (seed, epoch, index), for augmentation.

A generator's numbers depend on how many were drawn before, so a resumed run would see other pixels. Here
each sample's numbers are computed from its own counter by the finalizer of SplitMix64 (Steele, Lea and
Flood 2014, "Fast Splittable Pseudorandom Number Generators", figure 16), in integer arithmetic that is the same
on every device and for every division into batches, workers and processes.
"""

import math

import torch
from torch import Tensor


def _wrap(number: int) -> int:
    """Modulo 2^64, as a signed integer, since torch has no full unsigned arithmetic."""
    return (number + 2**63) % 2**64 - 2**63


_GAMMA, _MIX1, _MIX2 = map(_wrap, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _mix(z: Tensor) -> Tensor:
    def xor_shift(z: Tensor, bits: int) -> Tensor:  # >> is arithmetic in torch: the mask makes it logical
        mask: int = 2 ** (64 - bits) - 1
        return z ^ ((z >> bits) & mask)

    z = xor_shift(z, 30) * _MIX1
    z = xor_shift(z, 27) * _MIX2
    return xor_shift(z, 31)


def uniform(seed: int, epoch: int, index: Tensor, draws: int) -> Tensor:
    """Uniform numbers in [0, 1), a function of the arguments alone.

    Args:
        seed: any integer.
        epoch: any integer.
        index: int64 of shape `n`, the samples' places in the data set.
        draws: how many independent numbers each sample needs.

    Returns:
        float32 of shape `n draws`, on the device of `index`.
    """
    state = _mix(torch.full((), _wrap(seed + _GAMMA), dtype=torch.int64, device=index.device))
    state = _mix(state + _wrap(_GAMMA * (epoch + 1)))
    state = _mix(state + _GAMMA * (index.long() + 1))
    draw = torch.arange(1, draws + 1, device=index.device)
    bits = _mix(state[:, None] + _GAMMA * draw)
    return ((bits >> 40) & (2**24 - 1)).float() / 2**24


def among(random: Tensor, number: int) -> Tensor:
    """Numbers in [0, 1) to whole ones from 0 to number - 1."""
    return (random * number).long()


def normal(seed: int, epoch: int, index: Tensor, draws: int) -> Tensor:
    """Numbers of the standard normal distribution, a function of the arguments alone; see `uniform`.

    Two uniform numbers give two normal ones (Box and Muller 1958, "A Note on the Generation of Random Normal
    Deviates"); none is beyond 5.8.

    Returns:
        float32 of shape `n draws`, on the device of `index`.
    """
    one, two = uniform(seed, epoch, index, 2 * -(-draws // 2)).chunk(2, 1)
    radius, angle = (-2 * torch.log(1 - one)).sqrt(), 2 * math.pi * two
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :draws]

"""Learning-rate schedules, stepped once per optimiser step.

Each takes the optimiser and the run's total number of optimiser steps T, and multiplies the optimiser's own
learning rate by a factor f(t), t = 0..T-1. `warmup` is the share of T in which the factor rises linearly
from almost 0 to its first full value (Goyal et al. 2017, arXiv:1706.02677, section 2.2).
"""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def _warmed(optimizer: Optimizer, total: int, warmup: float, factor: Callable[[float], float]) -> LambdaLR:
    if not 0 <= warmup < 1:
        raise ValueError(f"schedule.warmup={warmup} must be a share of the run, from 0 to under 1")
    rising = round(warmup * total)

    def at(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return factor(min(1.0, (step - rising) / max(1, total - rising)))

    return LambdaLR(optimizer, at)


def constant(optimizer: Optimizer, total: int, *, warmup: float = 0.0) -> LambdaLR:
    """F = 1."""
    return _warmed(optimizer, total, warmup, lambda share: 1.0)


def linear(optimizer: Optimizer, total: int, *, warmup: float = 0.0, final: float = 0.0) -> LambdaLR:
    """From 1 to `final` on a straight line."""
    return _warmed(optimizer, total, warmup, lambda share: 1 + (final - 1) * share)


def cosine(optimizer: Optimizer, total: int, *, warmup: float = 0.0, final: float = 0.0) -> LambdaLR:
    """From 1 to `final` on half a cosine (Loshchilov and Hutter 2016, arXiv:1608.03983, eq. 5, one period)."""
    return _warmed(optimizer, total, warmup, lambda share: final + (1 - final) * (1 + math.cos(math.pi * share)) / 2)


def steps(
    optimizer: Optimizer,
    total: int,
    *,
    warmup: float = 0.0,
    milestones: tuple[float, ...] = (0.5, 0.75),
    gamma: float = 0.1,
) -> LambdaLR:
    """Times `gamma` at each milestone, a share of the run after the warm-up."""
    return _warmed(optimizer, total, warmup, lambda share: gamma ** sum(share >= m for m in milestones))

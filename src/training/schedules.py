"""Learning-rate schedules, stepped once per optimiser step.

Each takes the optimiser and the run's `Plan` (T optimiser steps in all), and multiplies the optimiser's own learning
rate by a factor f(t), t = 0..T-1, that is a function of the step alone (and, for `plateau`, of what it has observed).
`warmup` is a duration (`5%`, `500st`, `2ep`, ...) in which the factor rises linearly from almost 0 to its first full
value (Goyal et al. 2017, arXiv:1706.02677, section 2.2); what follows counts from its end.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..errors import UserError
from .durations import Plan

Length = str | float


class Schedule(LambdaLR):
    """A factor as a function of the step, and the durations it was made from, in steps."""

    def __init__(self, optimizer: Optimizer, factor: Callable[[int], float], lengths: dict[str, int]) -> None:
        self.lengths = lengths
        super().__init__(optimizer, factor)

    def observe(self, figure: float) -> None:
        """A validation figure of which less is better; most schedules do not look at it."""

    def restart(self, learning_rates: Sequence[float]) -> None:
        """Go on from the present step with other learning rates of the optimiser's own."""
        self.base_lrs = list(learning_rates)
        self._last_lr = [rate * f(self.last_epoch) for rate, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]
        for group, rate, own in zip(self.optimizer.param_groups, self._last_lr, self.base_lrs, strict=True):
            group["lr"], group["initial_lr"] = rate, own

    def state_dict(self) -> dict[str, Any]:
        """The step; all else is in the config."""
        return {"last_epoch": self.last_epoch, "_step_count": self._step_count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        vars(self).update(state_dict)


def _warmed(
    optimizer: Optimizer, plan: Plan, warmup: Length, factor: Callable[[int, int], float], **lengths: int
) -> Schedule:
    """`factor(t, T)` of the step after the warm-up and the number of steps after it."""
    rising = plan.steps(warmup, "schedule.warmup")
    if rising >= plan.total:
        raise UserError(f"schedule.warmup={warmup} is {rising} steps, all of the run's {plan.total}: use warmup=5%")
    falling = plan.total - rising

    def at(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1) * factor(0, falling)
        return factor(min(step - rising, falling), falling)

    return Schedule(optimizer, at, {"warmup": rising, **lengths})


def constant(optimizer: Optimizer, plan: Plan, *, warmup: Length = 0) -> Schedule:
    """F(t) = 1."""
    return _warmed(optimizer, plan, warmup, lambda t, total: 1.0)


def linear(optimizer: Optimizer, plan: Plan, *, warmup: Length = 0, final: float = 0.0) -> Schedule:
    """From 1 to `final` on a straight line."""
    return _warmed(optimizer, plan, warmup, lambda t, total: 1 + (final - 1) * t / total)


def exponential(optimizer: Optimizer, plan: Plan, *, warmup: Length = 0, final: float = 0.01) -> Schedule:
    """From 1 to `final` by the same factor in each step: f(t) = final^(t/T)."""
    if final <= 0:
        raise UserError(f"schedule.final={final} must be positive: an exponential never comes to 0")
    return _warmed(optimizer, plan, warmup, lambda t, total: final ** (t / total))


def cosine(
    optimizer: Optimizer, plan: Plan, *, warmup: Length = 0, final: float = 0.0, period: Length | None = None,
    stretch: float = 1.0,
) -> Schedule:  # fmt: skip
    """From 1 to `final` on half a cosine, once or with warm restarts.

    Loshchilov and Hutter 2016 (SGDR, arXiv:1608.03983, eq. 5). With `period` the factor returns to 1 after each period,
    and each period is `stretch` times as long as the one before (T_i and T_mult there).
    """
    first = None if period is None else plan.steps(period, "schedule.period")
    if first is not None and (first < 1 or stretch < 1):
        raise UserError(
            f"schedule.period={period} must be at least one step, and schedule.stretch={stretch} at least 1"
        )

    def factor(t: int, total: int) -> float:
        start, length = 0.0, float(first or total)
        while first and t - start >= length:
            start, length = start + length, length * stretch
        return final + (1 - final) * (1 + math.cos(math.pi * (t - start) / length)) / 2

    return _warmed(optimizer, plan, warmup, factor, **({} if first is None else {"period": first}))


def step(
    optimizer: Optimizer, plan: Plan, *, warmup: Length = 0, milestones: Sequence[Length] = ("50%", "75%"),
    gamma: float = 0.1,
) -> Schedule:  # fmt: skip
    """Times `gamma` at each milestone, a duration after the run's start."""
    places = [plan.steps(milestone, "schedule.milestones") for milestone in milestones]
    rising = plan.steps(warmup, "schedule.warmup")
    lengths = {f"milestone {i}": place for i, place in enumerate(places, start=1)}
    return _warmed(optimizer, plan, warmup, lambda t, total: gamma ** sum(t + rising >= p for p in places), **lengths)


def one_cycle(
    optimizer: Optimizer, plan: Plan, *, peak: Length = "30%", start: float = 0.04, final: float = 4e-6
) -> Schedule:
    """Up from `start` to 1 at `peak`, then down to `final`, on half cosines.

    Smith and Topin 2017 (arXiv:1708.07120), as in torch's `OneCycleLR` but for its momentum: the optimiser's learning
    rate is the highest one; start = 1/div_factor and final = start/final_div_factor.
    """
    top = plan.steps(peak, "schedule.peak")
    if not 0 < top < plan.total:
        raise UserError(
            f"schedule.peak={peak} is step {top} of {plan.total}: it must lie inside the run, as in peak=30%"
        )

    def at(t: int) -> float:  # the first and the last step are at the ends of the curves, as in torch
        rising = t < top - 1
        share = t / max(1, top - 1) if rising else (t - top + 1) / max(1, plan.total - top)
        low = start if rising else final
        return (
            low + (1 - low) * (1 - math.cos(math.pi * share) if rising else 1 + math.cos(math.pi * min(share, 1))) / 2
        )

    return Schedule(optimizer, at, {"peak": top})


def inverse_sqrt(optimizer: Optimizer, plan: Plan, *, warmup: Length = "5%") -> Schedule:
    """Linear up in w steps of warm-up, then sqrt(w / t) (Vaswani et al. 2017, arXiv:1706.03762, eq. 3); at most 1."""
    w = max(1, plan.steps(warmup, "schedule.warmup"))
    return Schedule(optimizer, lambda t: min((t + 1) / w, math.sqrt(w / (t + 1))), {"warmup": w})


class Plateau(Schedule):
    """Times `factor` whenever the observed figure has not become better for `patience` observations."""

    def __init__(
        self, optimizer: Optimizer, warm: Callable[[int], float], lengths: dict[str, int], *, factor: float,
        patience: int, threshold: float, minimum: float,
    ) -> None:  # fmt: skip
        self.options = (factor, patience, threshold, minimum)
        self.best: float | None = None
        self.waited, self.now = 0, 1.0
        super().__init__(optimizer, lambda t: self.now * warm(t), lengths)

    def observe(self, figure: float) -> None:
        factor, patience, threshold, minimum = self.options
        if math.isfinite(figure) and (self.best is None or figure < self.best - threshold * abs(self.best)):
            self.best, self.waited = figure, 0
        else:
            self.waited += 1
        if self.waited > patience:
            self.now, self.waited = max(minimum, self.now * factor), 0
            self.restart([float(rate) for rate in self.base_lrs])

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"best": self.best, "waited": self.waited, "now": self.now}


def plateau(
    optimizer: Optimizer, plan: Plan, *, warmup: Length = 0, factor: float = 0.1, patience: int = 5,
    threshold: float = 1e-4, minimum: float = 0.0,
) -> Schedule:  # fmt: skip
    """Times `factor` when the monitored validation figure stalls, as torch's `ReduceLROnPlateau`.

    Args:
        factor: what the learning rate is multiplied by.
        patience: validations without improvement that are waited for.
        threshold: share by which a figure must be better to count.
        minimum: of the product of all factors.
    """
    rising = plan.steps(warmup, "schedule.warmup")
    return Plateau(
        optimizer, lambda t: min(1.0, (t + 1) / (rising + 1)), {"warmup": rising}, factor=factor, patience=patience,
        threshold=threshold, minimum=minimum,
    )  # fmt: skip

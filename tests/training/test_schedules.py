"""Schedules against torch's own."""

import json
import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from torchatlas.training import schedules
from torchatlas.training.durations import Plan
from torchatlas.zoo import options

PLAN = Plan(steps_per_epoch=10, samples_per_step=4, total=100, seconds_per_step=0.5)


def rates(schedule: Callable[..., Any], total: int = 100, lr: float = 1.0) -> list[float]:
    """The learning rate of each of the first `total` steps."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler, found = schedule(optimizer), []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


S = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (partial(schedules.constant, plan=PLAN), partial(S.ConstantLR, factor=1.0)),
        (partial(schedules.linear, plan=PLAN, final=0.1), partial(S.LinearLR, start_factor=1, end_factor=0.1,
                                                                  total_iters=100)),
        (partial(schedules.exponential, plan=PLAN, final=0.01), partial(S.ExponentialLR, gamma=0.01 ** (1 / 100))),
        (partial(schedules.cosine, plan=PLAN), partial(S.CosineAnnealingLR, T_max=100)),
        (partial(schedules.cosine, plan=PLAN, period="2ep"), partial(S.CosineAnnealingWarmRestarts, T_0=20)),
        (partial(schedules.cosine, plan=PLAN, period="10st", stretch=2),
         partial(S.CosineAnnealingWarmRestarts, T_0=10, T_mult=2)),
        (partial(schedules.step, plan=PLAN, milestones=["30%", "8ep"]), partial(S.MultiStepLR, milestones=[30, 80])),
        (partial(schedules.one_cycle, plan=PLAN),
         partial(S.OneCycleLR, max_lr=1.0, total_steps=100, div_factor=25, final_div_factor=1e4, cycle_momentum=False)),
    ],
)  # fmt: skip
def test_schedules_are_torchs(ours: Callable[..., Any], torchs: Callable[..., Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = rates(torchs)
    assert rates(ours) == pytest.approx(expected, abs=1e-7)


def test_inverse_sqrt_is_the_papers() -> None:
    """Vaswani et al., eq. 3, on the scale where its highest value is 1: d^-0.5 min(t^-0.5, t w^-1.5) sqrt(d w)."""
    w = 20
    paper = [min(t**-0.5, t * w**-1.5) * math.sqrt(w) for t in range(1, 101)]
    assert rates(partial(schedules.inverse_sqrt, plan=PLAN, warmup="20%")) == pytest.approx(paper)


@pytest.mark.parametrize("name", [n for n in options("schedule") if n not in ("one_cycle", "inverse_sqrt")])
def test_warm_up(name: str) -> None:
    """From 1/(w+1) in equal steps to the first full value; afterwards as without one, counted from its end."""
    make = partial(getattr(schedules, name), plan=PLAN)
    found = rates(partial(make, warmup="1ep"))
    assert found[:10] == pytest.approx([(t + 1) / 11 for t in range(10)])
    assert found[10] == pytest.approx(1)
    assert all(rate <= 1 + 1e-9 for rate in found)
    if name in ("linear", "cosine", "exponential"):
        shorter = rates(partial(getattr(schedules, name), plan=Plan(10, 4, 90)), 90)
        assert found[10:] == pytest.approx(shorter)


@pytest.mark.parametrize("name", options("schedule"))
def test_schedules_go_on_where_they_were(name: str, compose: Callable[..., Any]) -> None:
    """Each config; state saved at step 37 and loaded into a new one."""
    from hydra.utils import instantiate

    make = instantiate(compose(f"schedule={name}", "name=x").schedule, _convert_="all")

    def new() -> tuple[Any, Any]:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
        return optimizer, make(optimizer, PLAN)

    optimizer, schedule = new()
    for t in range(37):
        optimizer.step()
        schedule.step()
        if t % 5 == 0:
            schedule.observe(1.0 if t else 0.5)
    other, resumed = new()
    resumed.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    resumed.restart([0.3])
    for _ in range(60):
        assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
        for o, s in ((optimizer, schedule), (other, resumed)):
            o.step()
            s.step()
            s.observe(1.0)
    schedule.restart([0.6])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(2 * other.param_groups[0]["lr"])


def test_plateau_is_torchs() -> None:
    figures = [1.0, 0.9, 0.95, 0.93, 0.92, 0.91, 0.899999, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    one, two = (torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0) for _ in range(2))
    ours = schedules.plateau(one, PLAN, factor=0.5, patience=2)
    torchs = S.ReduceLROnPlateau(two, factor=0.5, patience=2)
    for figure in figures:
        ours.observe(figure)
        torchs.step(figure)
        assert one.param_groups[0]["lr"] == two.param_groups[0]["lr"]

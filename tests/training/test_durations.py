"""Durations in steps."""

from typing import Any

import pytest

from torchatlas.errors import UserError
from torchatlas.training.durations import Duration, Plan

PLAN = Plan(steps_per_epoch=10, samples_per_step=4, total=100, seconds_per_step=0.5)


@pytest.mark.parametrize(
    ("text", "steps"),
    [("2ep", 20), ("0.5ep", 5), ("30st", 30), ("80sa", 20), ("5%", 5), ("100%", 100), ("10s", 20), ("1min", 120),
     ("0.01h", 72), ("1d", 172800), (0.25, 25), (0, 0), ("0", 0), (" 3 EP ", 30), (".5ep", 5), ("1e-2", 1)],
)  # fmt: skip
def test_durations_in_steps(text: Any, steps: int) -> None:
    assert PLAN.steps(text) == steps


@pytest.mark.parametrize("text", ["5", "ep", "-1ep", "3weeks", "", "1.2.3ep", "120%", None, "nan", "5 %%"])
def test_what_is_no_duration(text: Any) -> None:
    with pytest.raises(UserError, match="is no duration: write 20ep"):
        Duration.parse(text)


def test_a_time_is_measured_once() -> None:
    asked = []
    plan = Plan(10, 4, 100, measure=lambda: asked.append(1) or 0.1)  # type: ignore[func-returns-value]
    assert (plan.steps("1s"), plan.steps("2s"), plan.steps("1ep")) == (10, 20, 10)
    assert len(asked) == 1
    with pytest.raises(UserError, match="no measured time"):
        Plan(10, 4, 100).steps("1s")

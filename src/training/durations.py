"""Lengths of a run and of its parts, in the unit that suits: `20ep`, `3000st`, `50000sa`, `5%`, `2h`.

| unit | |
|---|---|
| `ep` | epochs, passes over the training data |
| `st` | optimiser steps |
| `sa` | training samples |
| `%` | share of the run |
| `s`, `min`, `h`, `d` | time, by the measured seconds of a step |

Each is converted once, to optimiser steps, when the run knows its data; schedules see steps only.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import UserError

SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
UNITS = ("ep", "st", "sa", "%", *SECONDS)


@dataclass(frozen=True)
class Duration:
    """A number with its unit.

    >>> Duration.parse("2.5ep")
    Duration(number=2.5, unit='ep')
    """

    number: float
    unit: str

    @classmethod
    def parse(cls, text: str | float, key: str = "the duration") -> "Duration":
        """From text such as `20ep`. A bare number below 1 is a share of the run; 0 is 0 in any unit.

        Args:
            text: what the user wrote.
            key: the name of the setting, for the message.

        Raises:
            UserError: no unit, an unknown one, or a negative number.
        """
        match = re.fullmatch(r"\s*(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)\s*([a-z%]*)\s*", str(text).lower())
        if match:
            number, unit = float(match[1]), match[2]
            if unit in UNITS and not (unit == "%" and number > 100):
                return cls(number, unit)
            if not unit and number < 1:
                return cls(100 * number, "%")
        raise UserError(
            f"{key}={text} is no duration: write 20ep (epochs), 3000st (steps), 50000sa (samples), 5% (of the run), "
            "90s, 10min, 2h or 1d"
        )

    @property
    def seconds(self) -> float | None:
        """Of a time; None of anything else."""
        return self.number * SECONDS[self.unit] if self.unit in SECONDS else None

    def __str__(self) -> str:
        return f"{self.number:.15g}{self.unit}"


@dataclass
class Plan:
    """What converts durations to optimiser steps.

    Attributes:
        steps_per_epoch: optimiser steps in a pass over the training data.
        samples_per_step: training samples of an optimiser step, over all devices and accumulated batches.
        total: optimiser steps of the whole run.
        shift: by how many steps the epochs so far had more than as many of the present length, where the data of a run
            have changed.
        seconds_per_step: measured when the first duration in time is asked for.
        measure: does that.

    >>> plan = Plan(steps_per_epoch=100, samples_per_step=32, total=2000, seconds_per_step=0.5)
    >>> [plan.steps(text) for text in ("2ep", "30st", "640sa", "5%", "1min")]
    [200, 30, 20, 100, 120]
    """

    steps_per_epoch: int
    samples_per_step: int
    total: int = 0
    seconds_per_step: float | None = None
    measure: Callable[[], float] | None = None
    shift: int = 0

    @property
    def epochs(self) -> float:
        """Of the whole run."""
        return (self.total - self.shift) / self.steps_per_epoch

    def end(self, text: str | float, key: str = "the duration") -> int:
        """The step at which a run of this length ends; see `steps`."""
        return self.steps(text, key) + (self.shift if Duration.parse(text, key).unit == "ep" else 0)

    def steps(self, text: str | float, key: str = "the duration") -> int:
        """Optimiser steps of a duration, rounded to the nearest.

        Raises:
            UserError: see `Duration.parse`; or a time, where no step can be measured.
        """
        duration = Duration.parse(text, key)
        if (seconds := duration.seconds) is not None:
            if self.seconds_per_step is None and self.measure is not None:
                self.seconds_per_step = self.measure()
            if self.seconds_per_step is None:
                raise UserError(f"{key}={text}: a step has no measured time here; give steps (st) or epochs (ep)")
            return round(seconds / self.seconds_per_step)
        size = {"ep": self.steps_per_epoch, "st": 1, "sa": 1 / self.samples_per_step, "%": self.total / 100}
        return round(duration.number * size[duration.unit])

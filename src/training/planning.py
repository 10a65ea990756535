"""The run's plan: how many optimiser steps it has, converted once from what the user gave."""

import copy
import logging
import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from ..errors import UserError
from .blocks import compile_alike
from .durations import Plan


class Behind:
    """What a run that goes on has behind it. No dataclass: Hydra would hand it on as a dictionary.

    Args:
        epochs, steps: whole epochs and optimiser steps.
        ended: whether it had come to its end.
        steps_per_epoch: of its last epoch; None: not known.
        shift: of its plan, see `Plan`.
        layout: the memory format of its network; None where the weights do not tell.
    """

    def __init__(
        self, epochs: int = 0, steps: int = 0, *, ended: bool = False, steps_per_epoch: int | None = None,
        shift: int = 0, layout: torch.memory_format | None = None,
    ) -> None:  # fmt: skip
        self.epochs, self.steps, self.ended, self.layout = epochs, steps, ended, layout
        self.steps_per_epoch, self.shift = steps_per_epoch, shift

    def shift_to(self, steps_per_epoch: int) -> int:
        """The shift of a plan that goes on with epochs of another length, from the present one on.

        Where that one has had more steps than it now would have, it is over.
        """
        begun = self.shift + self.epochs * (self.steps_per_epoch or steps_per_epoch)
        beyond = 0 if self.steps_per_epoch in (None, steps_per_epoch) else self.steps - begun - steps_per_epoch
        return begun - self.epochs * steps_per_epoch + max(0, beyond)


NOTHING_BEHIND = Behind()  # of a new run
log = logging.getLogger(__name__)
MEASURED_STEPS = 12  # of which the first quarter warms up


def make_plan(task: Any, limits: Sequence[str] | None, seconds_per_step: float | None = None) -> Plan:
    """The plan of a run that ends at the first of its limits; the trainer is told how many epochs that is.

    Args:
        task: attached to a trainer, its network on the device.
        limits: durations, see `Duration`; at least one. None: the trainer has its own end, which stays.
        seconds_per_step: as measured at the run's first start, where it is resumed.
    """
    trainer = task.trainer
    trainer.fit_loop.setup_data()
    accumulated = trainer.accumulate_grad_batches
    plan = Plan(
        steps_per_epoch=math.ceil(trainer.num_training_batches / accumulated),
        samples_per_step=samples_of_a_batch(trainer) * accumulated,
        seconds_per_step=seconds_per_step,
        measure=partial(seconds_of_a_step, task),
    )
    plan.shift = task.behind.shift_to(plan.steps_per_epoch)
    given = limits_of(trainer) if limits is None else limits
    plan.total = max(1, min(plan.end(limit, "duration") for limit in given))
    if limits is not None:
        trainer.fit_loop.max_epochs = math.ceil(plan.epochs)
    return plan


def limits_of(trainer: Any) -> list[str]:
    """The durations that end the training of a trainer that is the user's own.

    Raises:
        UserError: it has no end, of which schedules are parts.
    """
    epochs, steps = trainer.max_epochs, trainer.max_steps
    found = [f"{epochs}ep"] if epochs is not None and epochs > 0 else []
    found += [f"{steps}st"] if steps is not None and steps > 0 else []
    if not found:
        raise UserError("the trainer has no end: give it max_epochs= or max_steps=, from which the task makes its plan")
    return found


def samples_of_a_batch(trainer: Any) -> int:
    """Over all devices; of a loader that does not say it, 1."""
    data = getattr(trainer, "datamodule", None)
    size = getattr(data, "batch_size", None) or getattr(trainer.train_dataloader, "batch_size", None)
    return int(size) if isinstance(size, int) else 1


def seconds_of_a_step(task: Any) -> float:
    """Median time of an optimiser step, measured on a copy; random state, weights and data order stay as they are.

    Validation and the writing of files are not in it.
    """
    trainer = task.trainer
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    twin = copy.copy(task)
    twin._modules = dict(task._modules)
    twin.network = copy.deepcopy(task.network)
    compile_alike(task.network, twin.network)
    twin.train()
    optimizer = twin.build_optimizer()
    devices = [task.device] if task.device.type == "cuda" else []
    times: list[float] = []
    with torch.random.fork_rng(devices):
        batches = iter(data.loader("train", shuffle=True))
        raw = [next(batches) for _ in range(min(4, int(trainer.num_training_batches)))]
        for i in range(MEASURED_STEPS * trainer.accumulate_grad_batches):
            start = time.perf_counter()
            batch = trainer.strategy.batch_to_device(raw[i % len(raw)], task.device)
            with trainer.precision_plugin.forward_context():
                loss = twin.step(batch)["loss"]
            loss.backward()
            if (i + 1) % trainer.accumulate_grad_batches == 0:
                optimizer.step()
                optimizer.zero_grad()
            if devices:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    times = sorted(times[len(times) // 4 :])
    measured = times[len(times) // 2] * trainer.accumulate_grad_batches
    return float(trainer.strategy.broadcast(measured))


def describe_plan(plan: Plan, lengths: dict[str, int]) -> str:
    """One line: the run's length in steps and epochs, and the durations of the schedule in steps."""
    parts = [
        f"{plan.total:,} steps of {plan.samples_per_step} samples, {plan.epochs:.4g} epochs of "
        f"{plan.steps_per_epoch:,} steps"
    ]
    if plan.seconds_per_step is not None:
        parts.append(f"{1e3 * plan.seconds_per_step:.3g} ms a step, measured")
    parts += [f"{name} {steps:,} steps" for name, steps in lengths.items() if steps]
    return "plan: " + "; ".join(parts)

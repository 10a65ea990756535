"""The learning-rate range test: a short training whose learning rate grows until the loss runs away.

Smith 2015, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186, section 3.3; the learning rate
grows exponentially and the loss is smoothed, as fast.ai does it (Howard and Gugger 2020, "fastai: A Layered API for
Deep Learning", arXiv:2002.04688). In step t = 0..T-1 of T

    lr_t = low (high / low)^(t / (T - 1))

Two learning rates are suggested: where the smoothed loss falls most steeply against log lr, and a tenth of the one at
which it is lowest.
"""

import contextlib
import math
import os
import random
import shlex
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torch.optim import Optimizer

from ..data.base import PURE, DataModule
from ..errors import UserError
from ..predict.rows import file_for
from ..run.assemble import assemble
from ..run.check import fits
from ..run.compose import composed, require_config_words
from ..run.console import ConsoleHandler, logged_by, quiet_libraries
from ..run.devices import device_of
from ..storage.random_state import kept_random_state
from ..tasks.base import Task
from ..training.precision import AUTOCAST, require_precision
from ..training.precision import precision as chosen_precision
from ..training.threads import cores, divide

MEMORY = 0.9  # of the average that tells when to stop: at 100 steps, about ten of them count
NEIGHBOUR = 0.8  # weight of the next step in the smoothed curve, at 100 steps
RUN_AWAY = 4.0  # times the lowest smoothed loss
LEAST_STEPS = 10
DRAWINGS = (".pdf", ".png", ".svg")


@dataclass(frozen=True)
class Range:
    """What a range test has found.

    Attributes:
        rates: the learning rates of the steps, growing.
        losses: of each step's samples, before the weights change.
        smoothed: the same, averaged over neighbouring steps; what is above the beginning counts as the beginning.
        steepest: the learning rate where the smoothed loss falls most steeply.
        tenth: a tenth of the one at which the smoothed loss is lowest.
        ran_away: whether the loss ran away before the last step.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    steepest: float
    tenth: float
    ran_away: bool


def range_test(
    task: Task, data: DataModule, optimizer: Optimizer, *, low: float = 1e-6, high: float = 10.0, steps: int = 100,
    precision: str = "32-true", clip: float | None = None, clip_by: str = "norm", accumulate: int = 1,
) -> Range:  # fmt: skip
    """Train with a growing learning rate, and put everything back.

    Weights, buffers, gradients, the optimiser's state and options, modes and the random states of Python, NumPy, torch
    and the present device are afterwards, bit for bit, what they were before, also where an exception or Ctrl-C ends
    the test.

    Args:
        task: on the device on which to compute.
        data: set up for training.
        optimizer: of the task's parameters. Groups with learning rates of their own keep their ratio to the
            optimiser's.
        low, high: learning rates of the first and the last step.
        steps: optimiser steps, at most; fewer where the loss runs away.
        precision: as `trainer.precision`, but not `auto`.
        clip, clip_by: as `trainer.gradient_clip_val` and `trainer.gradient_clip_algorithm`.
        accumulate: batches in a step.

    Raises:
        UserError: the range or the number of steps is none, the first loss is NaN or infinite, or no loss is lower than
            the first.
    """
    check_range(low, high, steps)
    own = float(optimizer.defaults["lr"])
    if not own > 0:
        raise UserError(f"optim.lr={own:g} must be positive, since each group's learning rate is a multiple of it")
    shares = [float(group.get("initial_lr", group["lr"])) / own for group in optimizer.param_groups]
    rates, losses, smoother = [], [], Smoother(MEMORY ** (100 / steps))
    lowest = math.inf
    with kept(task, optimizer):
        task.balance_classes(data)
        batches = endless(task, data, precision)
        device = next(task.parameters()).device
        scaler = torch.amp.GradScaler(device.type, enabled=precision == "16-mixed")
        task.train()
        for t in range(steps):
            rate = low * (high / low) ** (t / (steps - 1))
            for group, share in zip(optimizer.param_groups, shares, strict=True):
                group["lr"] = rate * share
            optimizer.zero_grad()
            loss = sum(backward(task, next(batches), scaler, precision, accumulate) for _ in range(accumulate))
            if not math.isfinite(loss):
                break
            rates.append(rate)
            losses.append(loss)
            now = smoother.add(loss)
            lowest = min(lowest, now)
            if now > lowest + (RUN_AWAY - 1) * abs(lowest):
                break
            if clip is not None:
                scaler.unscale_(optimizer)
                task.configure_gradient_clipping(optimizer, clip, clip_by)
            scaler.step(optimizer)
            scaler.update()
        else:
            return judged(rates, losses, steps, ran_away=False)
    if not rates:
        raise UserError(f"the loss of the first step is {loss}: look at the data, or start lower than low={low:g}")
    return judged(rates, losses, steps, ran_away=True)


def check_range(low: float, high: float, steps: int) -> None:
    """Refuse what is no range.

    Raises:
        UserError: it says which number is wrong.
    """
    if not (0 < low < math.inf and 0 < high < math.inf):
        raise UserError(f"low={low:g} and high={high:g} must be positive numbers, as in low=1e-6 high=10")
    if low >= high:
        raise UserError(f"low={low:g} must be under high={high:g}, as in low=1e-6 high=10")
    if steps < LEAST_STEPS:
        raise UserError(f"steps={steps} must be at least {LEAST_STEPS}, as in steps=100")


def endless(task: Task, data: DataModule, precision: str) -> Iterator[tuple[Any, ...]]:
    """Batches as the task takes them, epoch after epoch."""
    device, dtype = next(task.parameters()).device, PURE.get(precision)
    loader = data.train_dataloader()
    for epoch in count():
        loader.sampler.set_epoch(epoch)
        for raw in loader:
            moved = tuple(x.to(device, non_blocking=True) if isinstance(x, Tensor) else x for x in raw)
            batch = data.transform(moved)
            yield tuple(x.to(dtype) if dtype and x.is_floating_point() else x for x in batch)


def backward(task: Task, batch: tuple[Any, ...], scaler: Any, precision: str, accumulate: int) -> float:
    """Add the gradients of one batch of a step; returns its share of the loss."""
    device = next(task.parameters()).device
    with torch.autocast(device.type, AUTOCAST.get(precision), enabled=precision in AUTOCAST):
        loss = task.step(batch)["loss"] / accumulate
    share = float(loss.detach())
    if task.l1:
        weights = [p for p in task.network.parameters() if p.requires_grad and p.ndim >= 2]
        loss = loss + task.l1 / accumulate * torch.stack([w.abs().sum() for w in weights]).sum()
    scaler.scale(loss).backward()
    return share


class Smoother:
    """Exponential moving average without the weight of its start (Kingma and Ba 2014, arXiv:1412.6980, section 3)."""

    def __init__(self, memory: float) -> None:
        self.memory, self.sum, self.weight = memory, 0.0, 0.0

    def add(self, value: float) -> float:
        self.sum = self.memory * self.sum + (1 - self.memory) * value
        self.weight = self.memory * self.weight + 1 - self.memory
        return self.sum / self.weight


def smooth(values: Sequence[float], memory: float) -> list[float]:
    """Averages in which a step counts `memory` times as much as the one before or after it, seen from a third.

    They look as far ahead as back, so that the curve is not moved to larger learning rates.
    """

    def sums(numbers: Iterable[float]) -> list[float]:
        found, total = [], 0.0
        for number in numbers:
            total = memory * total + number
            found.append(total)
        return found

    weights = [1.0] * len(values)
    both = [
        [one + two - x for one, two, x in zip(sums(xs), sums(xs[::-1])[::-1], xs, strict=True)]
        for xs in (list(values), weights)
    ]
    return [total / weight for total, weight in zip(*both, strict=True)]


def judged(rates: list[float], losses: list[float], steps: int, *, ran_away: bool) -> Range:
    """The suggestions.

    Raises:
        UserError: the loss never fell.
    """
    ceiling = max(
        losses[: max(1, steps // LEAST_STEPS)]
    )  # else the end, which runs away, would hide what was before it
    smoothed = smooth([min(loss, ceiling) for loss in losses], NEIGHBOUR ** (100 / steps))
    bottom = min(range(len(smoothed)), key=smoothed.__getitem__)
    slopes = [(smoothed[i + 1] - smoothed[i - 1]) / 2 for i in range(1, bottom)]  # steps are equal in log lr
    if not slopes or min(slopes) >= 0:
        raise UserError(
            f"the loss did not fall between the learning rates {rates[0]:.2g} and {rates[-1]:.2g}: give a lower low=, "
            "a higher high= or more steps="
        )
    steepest = rates[1 + min(range(len(slopes)), key=slopes.__getitem__)]
    return Range(rates, losses, smoothed, steepest, rates[bottom] / 10, ran_away)


@contextlib.contextmanager
def kept(task: Task, optimizer: Optimizer) -> Iterator[None]:
    """What is changed inside is put back, in the same tensors."""
    places: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for module in task.modules():
        owned: list[dict[str, Any]] = [module._parameters, module._buffers]  # type: ignore[list-item]
        places += [(own, dict(own)) for own in owned]
    tensors = [tensor for _, before in places for tensor in before.values() if tensor is not None]
    values = [(x, x.detach().clone(), x.grad, None if x.grad is None else x.grad.clone()) for x in tensors]
    modes = [(module, module.training) for module in task.modules()]
    parts: list[Any] = getattr(optimizer, "parts", [optimizer])  # Muon is made of two
    groups = [group for part in parts for group in part.param_groups]
    options = [(group, _pairs({k: v for k, v in group.items() if k != "params"})) for group in groups]
    states = [(part.state, {key: (state, _pairs(state)) for key, state in part.state.items()}) for part in parts]
    plain = [(part, dict(vars(part))) for part in {id(p): p for p in (*parts, optimizer)}.values()]
    try:
        with kept_random_state():
            yield
    finally:
        with torch.no_grad():
            for own, before in places:
                own.clear()
                own.update(before)
            for tensor, value, gradient, its_value in values:
                tensor.copy_(value)
                tensor.grad = gradient
                if gradient is not None:
                    gradient.copy_(its_value)
            for part, attributes in plain:
                vars(part).clear()
                vars(part).update(attributes)
            for group, pairs in options:
                _put_back(group, pairs | {"params": (group["params"], None)})
            for state, entries in states:
                state.clear()
                for parameter, (entry, pairs) in entries.items():
                    _put_back(entry, pairs)
                    state[parameter] = entry
        for module, mode in modes:
            module.training = mode


def _pairs(entries: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Each entry itself, and of a tensor the numbers in it."""
    return {key: (value, value.clone() if isinstance(value, Tensor) else None) for key, value in entries.items()}


def _put_back(entries: dict[str, Any], pairs: dict[str, tuple[Any, Any]]) -> None:
    entries.clear()
    for key, (value, numbers) in pairs.items():
        entries[key] = value if numbers is None else value.copy_(numbers)


def lr_range(
    *words: Annotated[str, "training"], low: float = 1e-6, high: float = 10.0, steps: int = 100, output: str = ""
) -> Path:
    """The learning rate range test: steps at a growing rate, a picture and two suggestions.

    It computes on one device, and no run folder is made.

    Args:
        words: those of training, as in model=resnet18 data=cifar10 data.batch_size=128.
        low, high: learning rates of the first and the last step.
        steps: optimiser steps, at most; fewer where the loss runs away.
        output: the picture, which ends in .png, .svg or .pdf; else lr_range-MODEL-DATA.png.

    Returns:
        The picture.

    Raises:
        UserError: a mistake in the words; see `range_test`, too.

    Examples:
        torchatlas lr_range model=mlp data=digits steps=60
    """
    check_range(low, high, steps)
    require_config_words(words, "here, where a new network is trained for some steps")
    threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings(), logged_by(ConsoleHandler(), "%(message)s"), kept_random_state():
            quiet_libraries()
            return tested(words, low, high, steps, output)
    finally:
        torch.set_num_threads(threads)


def tested(words: Sequence[str], low: float, high: float, steps: int, output: str) -> Path:
    """See `lr_range`."""
    asked = composed(words)
    model, chosen = asked.choices["model"], asked.choices["data"]
    data = fits(asked)
    path = Path(output or f"lr_range-{model}-{chosen}.png").expanduser()
    if path.suffix not in DRAWINGS:
        raise UserError(f"output={path} must end in {', '.join(DRAWINGS)}")
    path = file_for(str(path))
    plain = asked.plain()
    if plain["task"].get("freeze") is not None:
        raise UserError("the range test trains all layers from its first step: add task.freeze=null")
    trainer = plain["trainer"]
    device = device_of(trainer["accelerator"])
    precision = chosen_precision(trainer["precision"], trainer["accelerator"])
    random.seed(plain["seed"])
    np.random.seed(plain["seed"])
    torch.manual_seed(plain["seed"])
    parts = assemble(plain | {"compile": False}, data=data)
    task = parts.task
    for line in parts.said:
        print(line)
    if not task.automatic_optimization:
        raise UserError(f"the task {task.name} has several optimisers, for which there is no range test")
    require_precision(task.network, precision, device)
    task.to(device, PURE.get(precision))
    task.setup("fit")
    computing, data.num_workers = divide(
        cores(), in_memory=data.in_memory, on_gpu=device.type == "cuda", workers=data.num_workers
    )
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(computing)
    data.prepare_data()
    data.setup("fit")
    found = range_test(
        task, data, task.build_optimizer(), low=low, high=high, steps=steps, precision=precision,
        clip=trainer["gradient_clip_val"], clip_by=trainer["gradient_clip_algorithm"],
        accumulate=trainer["accumulate_grad_batches"],
    )  # fmt: skip
    rest = " ".join(word for word in words if not word.startswith(("model=", "data=")))
    draw(found, f"{model} on {chosen}{', ' * bool(rest)}{rest}").savefig(path)
    end = f"the loss ran away at {found.rates[-1]:.2g}" if found.ran_away else f"the loss did not run away by {high:g}"
    print(f"{len(found.rates)} steps from the learning rate {low:g} on; {end}")
    print(f"{word_of(found.steepest):<16} where the loss falls most steeply")
    print(f"{word_of(found.tenth):<16} a tenth of where it is lowest")
    print(f"{'picture':<16} {shlex.quote(str(path))}")
    return path


def word_of(rate: float) -> str:
    """A learning rate as it is typed, to two digits.

    >>> word_of(0.03162)
    'optim.lr=0.032'
    """
    return f"optim.lr={rate:.2g}"


def draw(found: Range, title: str) -> Figure:
    """Loss and smoothed loss against the learning rate, with the suggestions."""
    figure = Figure(figsize=(7, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(found.rates, found.losses, color="0.75", linewidth=1, label="loss of each step")
    axes.plot(found.rates, found.smoothed, color="C0", linewidth=2, label="smoothed")
    for rate, color, label in (
        (found.steepest, "C3", "falls most steeply"),
        (found.tenth, "C2", "a tenth of the lowest"),
    ):
        axes.axvline(rate, color=color, linestyle="--", linewidth=1.2, label=f"{word_of(rate)}: {label}")
    bottom, top = min(found.losses), max(found.smoothed)
    axes.set_ylim(bottom - 0.05 * (top - bottom), top + 0.25 * (top - bottom))  # what ran away is cut off
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.set_title(title, fontsize=10, wrap=True)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure

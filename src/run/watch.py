"""A stopwatch that any training program carries without knowing: torch tells it of each optimiser's step.

A contestant of `torchatlas bench` runs in a process of its own and is asked for some steps at a time, so that several
take turns: after the last of them it waits inside of the optimiser's step until it is asked again.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data.dataloader import _BaseDataLoaderIter

from ..analysis.memory import resident

PROFILED = 5  # steps of which the operations are looked at
PEAK_SIZE = 1024  # of the square matrices whose product is the measure of a CPU's core


class Watch:
    """Counts steps, and does what the other end of a connection asks for between two of them.

    It is sent a number of steps, for which it answers how long they took; "profile", for the operations of some steps;
    "facts", for what `facts` knows; or None, at which the process ends.

    Args:
        connection: to the process that asks.
        begun: `time.time()` when this process was started.

    Attributes:
        facts: what a contestant can tell of network and data.
        reads: whether it is seen how long the contestant waits for data.
    """

    def __init__(self, connection: Any, begun: float) -> None:
        self.connection, self.begun = connection, begun
        self.facts: Callable[[], dict[str, Any]] = dict
        self.operations: Callable[[Any], Any] = list
        self.steps, self.goal, self.depth, self.waited, self.reading, self.reads = 0, 1, 0, 0.0, False, False
        self.profiler: Any = None
        register_optimizer_step_pre_hook(self._enter)
        register_optimizer_step_post_hook(self._leave)
        watched = _BaseDataLoaderIter.__next__
        _BaseDataLoaderIter.__next__ = lambda loader: self.timed(watched, loader)  # type: ignore[method-assign,assignment]
        self.start()

    def start(self) -> None:
        self.waited, self.wall, self.cpu = 0.0, time.perf_counter(), cpu_seconds()

    def timed(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function returns; its time is time that goes to data."""
        if self.reading:
            return function(*arguments)
        self.reading, self.reads, begun = True, True, time.perf_counter()
        try:
            return function(*arguments)
        finally:
            self.reading = False
            self.waited += time.perf_counter() - begun

    def each(self, items: Iterator[Any]) -> Iterator[Any]:
        """The same items; the time until each is there goes to data."""
        end = object()
        while (item := self.timed(next, items, end)) is not end:
            yield item

    def _enter(self, *_: Any) -> None:
        self.depth += 1

    def _leave(self, *_: Any) -> None:
        self.depth -= 1  # an optimiser can consist of others, as Muon does
        if self.depth:
            return
        self.steps += 1
        if self.steps >= self.goal:
            with torch.enable_grad():
                self.answer()

    def answer(self) -> None:
        """Tell what was asked for, and take the next question."""
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter() - self.wall, cpu_seconds() - self.cpu
        if self.profiler is not None:
            self.profiler.stop()
            self.connection.send(self.operations(self.profiler.key_averages(group_by_input_shape=True)))
            self.profiler = None
        elif self.steps == 1:
            self.connection.send({"seconds": time.time() - self.begun, "cpu_seconds": cpu_seconds()})
        else:
            waited = self.waited if self.reads else None
            self.connection.send({"seconds": wall, "cpu_seconds": cpu, "waited": waited, "memory_bytes": memory()})
        while (asked := self.connection.recv()) == "facts":
            self.connection.send(self.facts())
        if asked is None:
            self.connection.close()
            os._exit(0)  # whatever program this is
        if asked == "profile":
            kinds = [torch.profiler.ProfilerActivity.CPU]
            kinds += [torch.profiler.ProfilerActivity.CUDA] * torch.cuda.is_initialized()
            self.profiler, asked = torch.profiler.profile(activities=kinds, record_shapes=True), PROFILED
            self.profiler.start()
        self.goal = self.steps + asked
        self.start()


def cpu_seconds() -> float:
    """Of all threads of this process, and of the processes that it has begun where the system shows them."""
    return time.process_time() + sum(_of_children(os.getpid()))


def _of_children(process: int) -> Iterator[float]:
    """Seconds of each living child, by /proc (proc(5): user and system time are the 14th and 15th field of stat)."""
    with contextlib.suppress(OSError, ValueError):
        with open(f"/proc/{process}/task/{process}/children", encoding="ascii") as file:
            children = [int(child) for child in file.read().split()]
        for child in children:
            with contextlib.suppress(OSError), open(f"/proc/{child}/stat", encoding="utf-8") as file:
                fields = file.read().rpartition(")")[2].split()
                yield (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                yield from _of_children(child)


def memory() -> int | None:
    """The most that the process has had: tensors on the GPU where there is one in use, else its resident set."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else resident("VmHWM")


def product_rate(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """FLOP/s of products of square matrices, the best of ten: what can be had of a device without a data sheet."""
    size = PEAK_SIZE if device.type == "cpu" else 8 * PEAK_SIZE
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(11):
        begun = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begun)
    return 2 * size**3 / best

"""Training programs side by side: each in a process of its own, in turns, with the same network, data and settings.

In each round every contestant makes the same number of optimiser steps while the others wait; who begins alternates.
Beside the clock stands the processor time of each (all of its threads and workers), which a busy machine disturbs less;
where the two part, a note says so.
"""

import copy
import logging
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ..analysis.flops import peak_flops
from ..analysis.hot_spots import HotSpot
from ..data.base import DataModule
from ..errors import UserError, nearest
from ..metrics.figures import amount
from ..storage.record import hardware, source, versions
from ..training.precision import precision
from ..training.threads import cores
from .build import build_data
from .contestants import lengthen
from .devices import device_of
from .peers import Peer, peer_of
from .playing import MEANT, NEEDS, OUTPUT, play

log = logging.getLogger(__name__)
QUIET = 0.9  # of the clock's time has to be processor time, else something else was computing
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "fma", "asimd", "bf16")  # of which the speed of a CPU depends


@dataclass
class Round:
    """What one contestant took for the steps of a round, in seconds; `waited` is part of `seconds`."""

    seconds: float
    cpu_seconds: float
    waited: float | None


@dataclass
class Result:
    """One contestant.

    Attributes:
        name, meaning: who it is.
        rounds: see `Round`.
        first_step_seconds, first_step_cpu_seconds: from the start of its process to the end of the first step.
        memory_bytes: the most that its process has had; on a GPU, the most of its tensors.
        error: why it has no rounds.
    """

    name: str
    meaning: str
    rounds: list[Round] = field(default_factory=list)
    first_step_seconds: float = 0.0
    first_step_cpu_seconds: float = 0.0
    memory_bytes: int | None = None
    error: str = ""


@dataclass
class Comparison:
    """Contestants, and what is known of the step that they all make.

    Attributes:
        model, data: names. words: as they were typed.
        steps: of each round and contestant.
        device, precision, threads, layout: where and how it was computed.
        parameters, samples_per_step, tokens_per_step, flops_per_step: tokens are None where inputs have none.
        peak_flops_per_second: of a data sheet, or measured at matrix products; see `peak_is_measured`.
        hot_spots: of our trainer's step.
        notes: what else has to be known.
        time, hardware, versions, commit, uncommitted_changes: of the measurement.
    """

    model: str
    data: str
    words: list[str]
    steps: int
    device: str
    precision: str
    threads: int
    layout: str = ""
    parameters: int = 0
    samples_per_step: int = 0
    tokens_per_step: int | None = None
    flops_per_step: int = 0
    peak_flops_per_second: float = 0.0
    peak_is_measured: bool = True
    results: list[Result] = field(default_factory=list)
    hot_spots: list[HotSpot] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    time: str = ""
    hardware: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    uncommitted_changes: bool = False

    def record(self) -> dict[str, Any]:
        """As JSON has it, with the figures that are printed, and without the place of the data."""
        found = asdict(self) | {"words": [word for word in self.words if not word.startswith("data.root=")]}
        for result, written in zip(self.results, found["results"], strict=True):
            if result.rounds:
                written["figures"] = asdict(figures(self, result))
        return found


@dataclass
class Figures:
    """Of one contestant, medians over its rounds; ratios are its time by that of the first, round by round."""

    seconds_per_step: float
    cpu_seconds_per_step: float
    per_second: float
    waiting: float | None
    mfu: float
    ratio: float
    cpu_ratio: float


class Contestant:
    """A process that trains, and waits between two rounds.

    Args:
        job: see `playing.play`.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        self.folder = Path(job["folder"])
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=play, args=(other, dict(job), time.time()))
        self.process.start()
        other.close()

    def ask(self, question: Any) -> Any:
        """The answer.

        Raises:
            UserError: the process has come to an end instead.
        """
        self.connection.send(question)
        return self.answer()

    def answer(self) -> Any:
        try:
            found = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            found = f"its process ended with status {self.process.exitcode}"
        if isinstance(found, str):
            raise UserError(found)
        return found

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):
            self.connection.send(None)
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def last_lines(self) -> str:
        """What it has printed last."""
        path = self.folder / OUTPUT
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        return " / ".join(line.strip() for line in lines[-3:])


def chosen(against: Sequence[str]) -> list[str]:
    """The contestants by name, ours before all.

    Raises:
        UserError: there is none of that name, or a package is missing.
    """
    for name in against:
        if name not in MEANT:
            where = (
                f": name its folder, as in peer=PATH/TO/{name}" if name in ("timm", "torchvision", "nanogpt") else ""
            )
            raise UserError(f"against={name} is unknown{where or nearest(name, list(MEANT))}")
        missing = [package for package in NEEDS.get(name, ()) if find_spec(package) is None]
        if missing:
            raise UserError(f"against={name} needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    return list(dict.fromkeys(["torchatlas", *against]))


def adapted(plain: dict[str, Any], threads: int | None) -> int:
    """Change a config so that nothing is validated and one device computes; returns the threads of a contestant."""
    options = plain["trainer"]
    options |= {
        "devices": 1, "strategy": "auto", "sync_batchnorm": False, "limit_val_batches": 0, "profiler": None,
        "fast_dev_run": False, "limit_train_batches": None,
        "precision": precision(options["precision"], options["accelerator"]),
    }  # fmt: skip
    if options["precision"] not in ("32-true", "bf16-mixed"):
        raise UserError(f"trainer.precision={options['precision']} has no place here: use 32-true or bf16-mixed")
    number = (plain["callbacks"].get("threads") or {}).get("number")
    found: int = threads or number or cores()
    if plain["callbacks"].get("threads"):
        plain["callbacks"]["threads"]["number"] = found
    return found


def compare(
    plain: dict[str, Any], model: str, data: str, words: Sequence[str], against: Sequence[str], peers: Sequence[str],
    rounds: int, steps: int, threads: int | None,
) -> Comparison:  # fmt: skip
    """Let all take their turns.

    Args:
        plain: a run's config, resolved and checked; it is changed.
        model, data, words: the names that were chosen, and what was typed.
        against: names, see `playing.MEANT`.
        peers: programs, see `peers.peer_of`.
        rounds, steps: how many, and of how many steps each.
        threads: of each process; None: those of the config, or all cores.

    Raises:
        UserError: a contestant that is not there, or our own fails; others that fail are left out with a note.
    """
    names = chosen(against)
    threads = adapted(plain, threads)
    device = device_of(plain["trainer"]["accelerator"])
    label = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    found = Comparison(model, data, list(words), steps, label, plain["trainer"]["precision"], threads)
    found.time, found.hardware, found.versions = time.strftime("%Y-%m-%dT%H:%M:%S%z"), machine(), versions()
    found.commit, changes = source()
    found.uncommitted_changes = bool(changes)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5:
        found.notes.append(f"the machine was busy before it began: a load of {load:.1f}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, _environment(threads):
        jobs: list[dict[str, Any]] = [
            {"name": name, "config": copy.deepcopy(plain), "threads": threads} for name in names
        ]
        jobs += [_job(peer, threads) for peer in _peers(peers, model, plain, Path(folder))]
        for i, job in enumerate(jobs):
            job.setdefault("folder", str(Path(folder) / f"{i}"))
            Path(job["folder"]).mkdir(exist_ok=True)
        _take_turns(found, jobs, rounds)
    peak = peak_flops(label, found.precision)
    if peak is not None:
        found.peak_flops_per_second, found.peak_is_measured = peak, False
    found.notes += list(_disturbed(found))
    return found


def _peers(given: Sequence[str], model: str, plain: dict[str, Any], folder: Path) -> Iterator[Peer]:
    """Programs of others; the data of the config are read for them."""
    data: DataModule = build_data(plain["data"])
    data.prepare_data()
    if given:
        data.setup("fit")
        lengthen(data)
    for i, each in enumerate(given):
        place = folder / f"peer{i}"
        place.mkdir()
        yield peer_of(each, model, plain, data, place)


def _job(peer: Peer, threads: int) -> dict[str, Any]:
    return {
        "name": peer.name, "script": str(peer.script), "arguments": peer.arguments, "folder": str(peer.folder),
        "threads": threads,
    }  # fmt: skip


def _take_turns(found: Comparison, jobs: Sequence[Mapping[str, Any]], rounds: int) -> None:
    """Start all, one after the other, and ask them by turns."""
    there: dict[int, Contestant] = {}
    try:
        for i, job in enumerate(jobs):
            script = Path(job["script"]).name if "script" in job else ""
            result = Result(job["name"], MEANT.get(job["name"], f"{script} of the folder that was named"))
            found.results.append(result)
            log.info("%s: %s", result.name, result.meaning)
            contestant = Contestant(job)
            try:
                first = contestant.answer()
                result.first_step_seconds, result.first_step_cpu_seconds = first["seconds"], first["cpu_seconds"]
                contestant.ask(max(2, found.steps // 10))  # warms up
                there[i] = contestant
            except UserError as error:
                _failed(found, result, contestant, error)
        for number in range(rounds):
            for i in sorted(there, reverse=bool(number % 2)):
                _round(found, found.results[i], there, i)
            log.info("round %d of %d", number + 1, rounds)
        if 0 in there:
            known = there[0].ask("facts")
            found.peak_flops_per_second = known.pop("flops_per_second_of_products")
            vars(found).update(known)
            found.hot_spots = there[0].ask("profile")
    finally:
        for contestant in there.values():
            contestant.close()


def _round(found: Comparison, result: Result, there: dict[int, Contestant], i: int) -> None:
    try:
        told = there[i].ask(found.steps)
    except UserError as error:
        _failed(found, result, there.pop(i), error)
        return
    result.rounds.append(Round(told["seconds"], told["cpu_seconds"], told["waited"]))
    result.memory_bytes = told["memory_bytes"]


def _failed(found: Comparison, result: Result, contestant: Contestant, error: UserError) -> None:
    """A contestant that cannot go on: ours ends all, another is left out.

    Raises:
        UserError: it was ours.
    """
    contestant.close()
    result.error, result.rounds = str(error), []
    if result.name == "torchatlas":
        raise UserError(f"our own trainer failed: {error}")
    found.notes.append(f"{result.name} is left out, {error} ({contestant.last_lines()})")


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Processes that are started here have so many threads, whatever library makes them."""
    keys = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {key: os.environ.get(key) for key in keys}
    os.environ.update(dict.fromkeys(keys, str(threads)))
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key)
            else:
                os.environ[key] = value


def figures(found: Comparison, result: Result) -> Figures:
    """The medians of a contestant's rounds."""
    ours, theirs, steps = found.results[0].rounds, result.rounds, found.steps
    seconds = statistics.median(r.seconds for r in theirs) / steps
    waited = [r.waited / r.seconds for r in theirs if r.waited is not None]
    return Figures(
        seconds_per_step=seconds,
        cpu_seconds_per_step=statistics.median(r.cpu_seconds for r in theirs) / steps,
        per_second=(found.tokens_per_step or found.samples_per_step) / seconds,
        waiting=statistics.median(waited) if waited else None,
        mfu=found.flops_per_step / seconds / found.peak_flops_per_second if found.peak_flops_per_second else 0.0,
        ratio=statistics.median(b.seconds / a.seconds for a, b in zip(ours, theirs, strict=False)),
        cpu_ratio=statistics.median(b.cpu_seconds / a.cpu_seconds for a, b in zip(ours, theirs, strict=False)),
    )


def _disturbed(found: Comparison) -> Iterator[str]:
    """Notes about rounds that were not alone on the machine."""
    for result in found.results:
        shares = [r.cpu_seconds / r.seconds for r in result.rounds]
        if found.device == "cpu" and shares and min(shares) < QUIET:
            yield (
                f"{result.name} had the processor for {100 * min(shares):.0f} % of the time in one round: take its CPU "
                "time and the ratio by it, or measure again on an idle machine"
            )


def machine() -> dict[str, Any]:
    """The hardware, and the instructions of its CPU that matter."""
    found = hardware()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        flags = set(next(line for line in lines if line.startswith(("flags", "Features"))).split())
    except (OSError, StopIteration):
        flags = set()
    return {**found, "machine": platform.machine(), "flags": [flag for flag in FLAGS if flag in flags]}


COLUMNS = ("", "ms/step", "CPU ms", "per s", "data", "memory", "first", "MFU", "ratio", "by CPU")


def rows(found: Comparison) -> list[tuple[str, ...]]:
    """The table, less than 80 characters wide: first step in seconds; ratios over 1 are slower than our trainer."""
    lines: list[tuple[str, ...]] = []
    for result in found.results:
        if not result.rounds:
            continue
        f = figures(found, result)
        lines.append((
            result.name[:12], f"{1e3 * f.seconds_per_step:.4g}", f"{1e3 * f.cpu_seconds_per_step:.4g}",
            f"{f.per_second:,.0f}", "?" if f.waiting is None else f"{100 * f.waiting:.0f}%",
            "?" if result.memory_bytes is None else amount(result.memory_bytes, "B"),
            f"{result.first_step_seconds:.1f} s", f"{100 * f.mfu:.0f}%", f"{f.ratio:.2f}", f"{f.cpu_ratio:.2f}",
        ))  # fmt: skip
    return lines

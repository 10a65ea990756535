"""What is known of a run from the files in its folder, without torch."""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .files import claimed, read_epochs, read_json, read_metrics

SERIES = {"seeds.json": "seeds", "folds.json": "folds"}  # what a folder of several runs has, and what they are
FALLING = ("loss", "error", "perplexity", "mae", "mse", "rmse", "nll", "bits", "fid", "kid", "distance")


@dataclass(frozen=True)
class Run:
    """A run, or a series of them, whose figures are the means.

    Attributes:
        folder: where it is.
        name: of the run.
        state: "running" (a process trains in it), "finished" (to its end, with its test), or "stopped".
        epochs, steps: that it has had.
        length: epochs that it is to have, where it is epochs that end it.
        figure: by which its epochs are compared, as in "val/accuracy".
        best, best_epoch: that of the best epoch.
        test: the same figure of the test.
        seconds: of all epochs.
        bytes: of all files.
        begun: time of the first start.
        command: of the first start.
        config: as saved; empty where it cannot be read.
        runs: of a series, how many there are.
    """

    folder: Path
    name: str
    state: str
    epochs: int | None
    length: int | None
    steps: int | None
    figure: str
    best: float | None
    best_epoch: int | None
    test: float | None
    seconds: float | None
    bytes: int
    begun: str
    command: str
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    runs: int = 1

    @property
    def falls(self) -> bool:
        """Whether a lower figure is better: by what the run took for its best epoch, or else by the figure's name."""
        values = [epoch[self.figure] for epoch in read_epochs(self.folder) if self.figure in epoch]
        if self.best is not None and values and min(values) < max(values):
            return bool(self.best <= min(values))
        return self.figure.rpartition("/")[2].endswith(FALLING)


def find_runs(folder: Path) -> list[Run]:
    """The runs in a folder and below it, the oldest first; those of a series are one unless the folder is its own."""
    found = []
    for top, folders, files in os.walk(folder):
        folders.sort()
        series = [name for name in SERIES if name in files]
        if "record.json" not in files and not series:
            continue
        if series and Path(top) != folder:
            folders.clear()
            found.append(of_series(Path(top), SERIES[series[0]]))
        elif not series:
            folders.clear()
            found.append(of_run(Path(top)))
    return sorted(found, key=lambda run: (run.begun, str(run.folder)))


def of_run(folder: Path) -> Run:
    """What is known of one run."""
    config, metrics, starts = config_of(folder), read_metrics(folder), starts_of(folder)
    figure = str(metrics.get("monitor", ""))
    test = metrics.get("test", {})
    tested = bool(test) or not config.get("test") or not (config.get("callbacks") or {}).get("checkpoint")
    state = "running" if is_used(folder) else "finished" if metrics.get("finished") and tested else "stopped"
    return Run(
        folder, str(config.get("name") or folder.name), state, metrics.get("epochs"), length_of(config),
        metrics.get("steps"), figure, metrics.get("best", {}).get(figure), metrics.get("best_epoch"),
        test.get(figure.replace("val/", "test/", 1)), metrics.get("seconds"), size_of(folder),
        str(starts[0].get("time", "")) if starts else "", str(starts[0].get("command", "")) if starts else "", config,
    )  # fmt: skip


def of_series(folder: Path, kind: str) -> Run:
    """Runs that differ in their seed or their fold, as one: its epochs are those of all, its figures the means."""
    singles = [of_run(path.parent) for path in sorted(folder.glob("*/record.json"))]
    config, starts = config_of(folder), starts_of(folder)
    number = int(config.get(kind) or len(singles))
    states = [run.state for run in singles]
    state = "stopped" if len(states) < number else "finished"
    state = "running" if "running" in states else "stopped" if "stopped" in states else state
    with_figure = [run for run in singles if run.figure]
    return Run(
        folder, f"{config.get('name') or folder.name}, {number} {kind}", state,
        _sum([run.epochs for run in singles]), None if (length := length_of(config)) is None else length * number,
        _sum([run.steps for run in singles]), with_figure[0].figure if with_figure else "",
        _mean([run.best for run in singles]), None, _mean([run.test for run in singles]),
        _sum([run.seconds for run in singles]), size_of(folder), str(starts[0].get("time", "")) if starts else "",
        str(starts[0].get("command", "")) if starts else "", config, number,
    )  # fmt: skip


def config_of(folder: Path) -> dict[str, Any]:
    """`config.yaml` as plain values; nothing where it is not there or damaged. Nothing in it is called."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
        found = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), loader)  # a safe loader
        return found if isinstance(found, dict) else {}
    return {}


def starts_of(folder: Path) -> list[dict[str, Any]]:
    """What `record.json` says of each start of a run."""
    found: list[dict[str, Any]] = read_json(folder / "record.json").get("starts", [])
    return found


def length_of(config: dict[str, Any]) -> int | None:
    """The epochs that a run is to have, where these alone are given.

    >>> length_of({"duration": "40ep"}), length_of({"duration": None, "trainer": {"max_epochs": 5, "max_steps": -1}})
    (40, 5)
    """
    duration, trainer = config.get("duration"), config.get("trainer") or {}
    if duration is not None:
        number = str(duration).removesuffix("ep")
        return int(number) if number != str(duration) and number.isdigit() else None
    epochs = trainer.get("max_epochs")
    return epochs if isinstance(epochs, int) and epochs > 0 else None


def is_used(folder: Path) -> bool:
    """Whether a process trains in a folder; see `run_folder.trained_in`."""
    if os.name != "posix":
        return False
    handle = os.open(folder, os.O_RDONLY)
    try:
        with claimed(handle, shared=True) as free:
            return not free
    finally:
        os.close(handle)


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    total = 0
    for top, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):  # gone meanwhile
                total += os.lstat(os.path.join(top, name)).st_size
    return total


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys.

    >>> flat({"optim": {"lr": 0.1, "betas": [0.9, 0.99]}, "seed": 0})
    {'optim.lr': 0.1, 'optim.betas': [0.9, 0.99], 'seed': 0}
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _sum(values: list[Any]) -> Any:
    there = [value for value in values if value is not None]
    return sum(there) if there else None


def _mean(values: list[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None

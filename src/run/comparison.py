"""Runs beside one another: what differs between their configs, which figures they have, and which is best."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.utils import get_class

from ..errors import UserError
from ..metrics.figures import Figure, Reports, figure_of, reported
from ..storage.files import read_json, read_metrics
from ..storage.overview import SERIES, Run, flat
from .renamed import renamed
from .trust import require_trusted

LEFT_OUT = ("resume", "name", "config", "data.mean", "data.std", "data.classes")  # what follows from the others


def differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Keys of which not all runs have the same value, each with the values; None where a run has no such key."""
    configs = [flat(run.config) for run in runs]
    keys = [key for key in dict.fromkeys(key for config in configs for key in config) if key not in LEFT_OUT]
    found = {key: [config.get(key) for config in configs] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def figures_of(run: Run) -> dict[str, float]:
    """Validation figures of a run's best epoch, and those of its test; of a series the means."""
    for name in SERIES:
        if about := read_json(run.folder / name):
            return {key: figure["mean"] for key, figure in about.get("figures", {}).items()}
    metrics = read_metrics(run.folder)
    best = {key: value for key, value in metrics.get("best", {}).items() if key.startswith("val/")}
    tested: dict[str, float] = metrics.get("test", {})
    return best | tested


def known_of(run: Run) -> dict[str, Figure]:
    """What the classes of a run's task and data say of its figures; nothing of those that may not be called."""
    found: dict[str, Figure] = {}
    config = renamed(run.config)
    for part in ("task", "data"):
        with contextlib.suppress(UserError, KeyError, TypeError):  # of another place, or damaged
            require_trusted(config[part])
            found |= reported(get_class(config[part]["_target_"]))
    return found


def best_among(
    values: Sequence[float | None], name: str, known: Reports, runs: Sequence[Run] = ()
) -> set[int]:  # fmt: skip
    """Places of the best of some values of a figure; none where there is one value, or nobody knows which is better.

    >>> accuracy = {"accuracy": Figure("higher")}
    >>> best_among([0.5, None, 0.7], "val/accuracy", accuracy), best_among([0.5], "val/accuracy", accuracy)
    ({2}, set())
    """
    there = {i: value for i, value in enumerate(values) if value is not None and math.isfinite(value)}
    figure = figure_of(name, known)
    if len(there) < 2 or len(set(there.values())) < 2:
        return set()
    if figure is not None:
        lower = figure.better == "lower"
    else:
        monitored = [run.falls for run in runs if run.figure.partition("/")[2] == name.partition("/")[2]]
        if not monitored:
            return set()
        lower = monitored[0]
    best = (min if lower else max)(there.values())
    return {i for i, value in there.items() if value == best}


def as_shown(value: Any) -> str:
    """A value of a config in a table.

    >>> as_shown(None), as_shown(True), as_shown([64, 64]), as_shown(0.001)
    ('null', 'true', '[64,64]', '0.001')
    """
    if isinstance(value, Mapping) and not value:
        return "{}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(as_shown, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)

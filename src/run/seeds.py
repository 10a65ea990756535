"""One run with several seeds: mean, spread and interval of its figures."""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import rich
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.table import Table
from scipy import stats

from ..errors import UserError
from ..metrics.figures import Reports, format_figure
from ..storage.files import read_metrics, write_json
from ..storage.record import begin
from ..storage.run_folder import find_checkpoint, is_series
from .compose import Composed
from .reopen import reopened
from .resume import CHANGED
from .saved import saved_config
from .summary import known_figures

log = logging.getLogger(__name__)


def run_series(execute: Callable[..., Any], composed: Composed, folder: Path) -> float:
    """Run, or finish, one run for each seed, each in a folder of its own, and report.

    Args:
        execute: what runs one of them, see `train.execute`.
        composed: checked; of a series that goes on only the folder counts.
        folder: of the series.

    Returns:
        The mean of the best validation figure.

    Raises:
        UserError: `seeds` is no number from 2 on, or nothing would write the figures that are to be compared.
    """
    goes_on = is_series(folder)
    config = saved_config(folder) if goes_on else composed.config
    number, first = config.seeds, config.seed
    if isinstance(number, bool) or not isinstance(number, int) or number < 2:
        raise UserError(f"seeds={number} must be a whole number from 2, as in seeds=5; for one run use seed=")
    plain: Any = OmegaConf.to_container(config, resolve=True)
    callbacks = plain["callbacks"]
    if callbacks.get("record") is None:
        raise UserError("seeds= compares the figures that callbacks.record writes: do not leave it out")
    tested = plain["test"] and callbacks.get("checkpoint") is not None  # which keeps the weights that are tested
    begin(folder, plain, composed.words)
    write_json(folder / "seeds.json", {"seeds": list(range(first, first + number)), "figures": {}})
    best: list[float] = []
    for seed in range(first, first + number):
        own = folder / f"seed-{seed}"
        own.mkdir(exist_ok=True)
        one = replace(composed, config=of_seed(config, seed), accepted=f"{CHANGED}=accept" in composed.words)
        if finished(own, tested):
            log.info("seed %d has had its run", seed)
        else:
            log.info("seed %d, of %d to %d", seed, first, first + number - 1)
            path = find_checkpoint(str(own)) if any(own.glob("checkpoints/*.ckpt")) else None
            if path is not None:
                asked = [word for word in composed.words if word.startswith(f"{CHANGED}=")]
                one = reopened(own, path, asked, composed.words)
            beside = checkpoint_of(folder, range(first, seed)) if goes_on else None
            execute(one, own, path, alone=True, beside=beside)
        metrics = read_metrics(own)
        best.append(metrics["best"].get(metrics["monitor"], math.nan))
    report(folder, range(first, first + number), known_figures(plain))
    return sum(best) / len(best)


def checkpoint_of(folder: Path, seeds: range) -> Path | None:
    """A checkpoint of a run that has begun, whose data those of later ones are to be."""
    begun = (folder / f"seed-{seed}" for seed in seeds)
    return next((find_checkpoint(str(own)) for own in begun if any(own.glob("checkpoints/*.ckpt"))), None)


def of_seed(config: DictConfig, seed: int) -> DictConfig:
    """The config of one run of a series."""
    one = config.copy()
    with open_dict(one):
        one.seeds, one.resume, one.seed = None, None, seed
        if "seed" in one.data:
            one.data.seed = seed
    return one


def finished(folder: Path, test: bool) -> bool:
    """Whether a run has come to its end, its test included."""
    metrics = read_metrics(folder)
    return bool(metrics.get("finished")) and (not test or bool(metrics["test"]))


def interval(values: list[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean, standard deviation (n - 1), and half the width of the mean's interval by Student's t.

    >>> [round(x, 4) for x in interval([1.0, 2.0, 3.0])]
    [2.0, 1.0, 2.4841]
    """
    n = len(values)
    mean = sum(values) / n
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    return mean, deviation, float(stats.t.ppf((1 + level) / 2, n - 1)) * deviation / math.sqrt(n)


def report(folder: Path, seeds: range, known: Reports) -> None:
    """A table of the test figures and the best validation ones, of which this is known, also in `seeds.json`."""
    found = {seed: read_metrics(folder / f"seed-{seed}") for seed in seeds}
    rows: dict[str, list[float]] = {}
    for kind in ("test", "best"):
        for key in next(iter(found.values()))[kind]:
            if kind == "test" or key.startswith("val/"):
                rows[key] = [metrics[kind][key] for metrics in found.values()]
    table = Table(
        "", "mean", "standard deviation", "95 % interval of the mean", "lowest", "highest", title_justify="left"
    )
    table.title = f"{len(seeds)} runs, seeds {seeds[0]} to {seeds[-1]}; val is that of the best epoch"
    figures = {}
    for key, values in rows.items():
        mean, deviation, half = interval(values)
        figures[key] = {"mean": mean, "standard_deviation": deviation, "interval": [mean - half, mean + half],
                        "values": values}  # fmt: skip
        numbers = (mean, deviation, mean - half, mean + half, min(values), max(values))
        shown = [format_figure(key, number, known) for number in numbers]
        table.add_row(key.replace("_", " "), *shown[:2], f"{shown[2]} to {shown[3]}", *shown[4:])
        log.info("%s: %s ± %s (standard deviation %s)", key, shown[0], format_figure(key, half, known), shown[1])
    rich.get_console().print(table)
    write_json(folder / "seeds.json", {"seeds": list(seeds), "figures": figures})

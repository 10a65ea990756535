"""One run with several seeds, or on the folds of a cross-validation: mean, spread and interval of its figures."""

import hashlib
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rich
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.table import Table
from scipy import stats

from ..data.base import DataModule
from ..errors import UserError
from ..metrics.figures import Reports, format_figure
from ..storage.files import read_json, read_metrics, write_json
from ..storage.record import begin
from ..storage.run_folder import find_checkpoint, is_series
from .build import build_data
from .compose import Composed
from .reopen import reopened
from .resume import CHANGED
from .saved import saved_config
from .summary import known_figures

log = logging.getLogger(__name__)
DATA = "data.json"  # of a cross-validation: what was divided


def run_series(
    execute: Callable[..., Any], composed: Composed, folder: Path, predict: Callable[[Path], None] | None = None
) -> float:  # fmt: skip
    """Run, or finish, one run for each seed or fold, each in a folder of its own, and report.

    Args:
        execute: what runs one of them, see `train.execute`.
        composed: checked; of a series that goes on only the folder counts.
        folder: of the series.
        predict: what is done in the folder of each run on a fold that has ended.

    Returns:
        The mean of the best validation figure.

    Raises:
        UserError: `seeds` or `folds` is no number from 2 on, nothing would write the figures to be compared;
            the data cannot be divided, or are others than those that were.
    """
    goes_on = is_series(folder)
    config = saved_config(folder) if goes_on else composed.config
    kind, members = members_of(config)
    plain: Any = OmegaConf.to_container(config, resolve=True)
    callbacks = plain["callbacks"]
    if callbacks.get("record") is None:
        raise UserError(f"{kind}= compares the figures that callbacks.record writes: do not leave it out")
    accepted = f"{CHANGED}=accept" in composed.words
    if kind == "folds":
        require_divisible(next(iter(members.values())), folder, accepted=accepted)
    tested = plain["test"] and callbacks.get("checkpoint") is not None  # which keeps the weights that are tested
    begin(folder, plain, composed.words)
    write_json(folder / f"{kind}.json", {kind: [number_of(name) for name in members], "figures": {}})
    best: list[float] = []
    for place, (name, one_config) in enumerate(members.items()):
        own, said = folder / name, name.replace("-", " ")
        own.mkdir(exist_ok=True)
        one = replace(composed, config=one_config, accepted=accepted)
        if finished(own, tested):
            log.info("%s has had its run", said)
        else:
            log.info("%s, of %d to %d", said, number_of(next(iter(members))), number_of(list(members)[-1]))
            path = find_checkpoint(str(own)) if any(own.glob("checkpoints/*.ckpt")) else None
            if path is not None:
                asked = [word for word in composed.words if word.startswith(f"{CHANGED}=")]
                one = reopened(own, path, asked, composed.words)
            before = [folder / other for other in list(members)[:place]] if goes_on and kind == "seeds" else []
            execute(one, own, path, alone=True, beside=checkpoint_of(before))
        if predict is not None and kind == "folds" and tested_weights(own):
            predict(own)
        metrics = read_metrics(own)
        best.append(metrics["best"].get(metrics["monitor"], math.nan))
    report(folder, kind, list(members), known_figures(plain))
    return sum(best) / len(best)


def members_of(config: DictConfig) -> tuple[str, dict[str, DictConfig]]:
    """What the runs of a series differ in, "seeds" or "folds", and the config of each by the name of its folder.

    Raises:
        UserError: both are asked for, or a number is none.
    """
    seeds, folds, first = config.seeds, config.get("folds"), config.seed
    if seeds is not None and folds is not None:
        raise UserError(f"seeds={seeds} and folds={folds} cannot be had at once: leave one out, or use -m seed=0,1")
    kind, number = ("seeds", seeds) if folds is None else ("folds", folds)
    if isinstance(number, bool) or not isinstance(number, int) or number < 2:
        alone = "for one run use seed=" if kind == "seeds" else "for one run leave it out"
        raise UserError(f"{kind}={number} must be a whole number from 2, as in {kind}=5; {alone}")
    if kind == "seeds":
        return kind, {f"seed-{seed}": of_seed(config, seed) for seed in range(first, first + number)}
    return kind, {f"fold-{fold}": of_fold(config, fold) for fold in range(1, number + 1)}


def number_of(name: str) -> int:
    """Of the name of a run's folder in a series."""
    return int(name.rpartition("-")[2])


def tested_weights(folder: Path) -> bool:
    """Whether a run has kept its best weights."""
    return (folder / "checkpoints" / "best.ckpt").exists()


def checkpoint_of(folders: list[Path]) -> Path | None:
    """A checkpoint of a run that has begun, whose data those of later ones are to be."""
    return next((find_checkpoint(str(own)) for own in folders if any(own.glob("checkpoints/*.ckpt"))), None)


def of_seed(config: DictConfig, seed: int) -> DictConfig:
    """The config of one run of a series."""
    one = config.copy()
    with open_dict(one):
        one.seeds, one.resume, one.seed = None, None, seed
        if "seed" in one.data:
            one.data.seed = seed
    return one


def of_fold(config: DictConfig, fold: int) -> DictConfig:
    """The config of the run that one fold validates."""
    one = config.copy()
    with open_dict(one):
        one.resume = None
        one.data._fold_ = {"number": fold, "of": config.folds, "group": config.folds_group}
        one.folds = one.folds_group = None
    return one


def require_divisible(config: DictConfig, folder: Path, *, accepted: bool) -> None:
    """Refuse a cross-validation before its first run: of data that cannot be divided, or that are others than at first.

    Args:
        config: of a run.
        folder: of the series, which knows what its data were.
        accepted: whether other data will do.
    """
    data = build_data(config.data)
    if data.indivisible:
        raise UserError(f"folds= cannot divide these data, since {data.indivisible}: leave it out")
    data.prepare_data()
    level = logging.getLogger("torchatlas").level
    logging.getLogger("torchatlas").setLevel(logging.ERROR)  # the first run says it
    try:
        data.setup("fit")
    finally:
        logging.getLogger("torchatlas").setLevel(level)
    if not data.places:
        raise UserError(
            f"folds= is for data with a class for each sample, in any order, and {type(data).__name__} has none of the "
            "kind: leave it out"
        )
    now = contents_of(data)
    before = read_json(folder / DATA)
    if before and before != now and not accepted:
        raise UserError(
            f"the data are not those that were divided, {before['samples']} samples before and {now['samples']} now or "
            f"others: put the former ones back, or go on with these by {CHANGED}=accept"
        )
    write_json(folder / DATA, now)


def contents_of(data: DataModule) -> dict[str, Any]:
    """What folds are made of: how many samples, and a checksum of their names and labels."""
    first, labels = data.pool[0], np.asarray(data.pool[-1], dtype=np.int64)
    digest = hashlib.sha256(labels.tobytes())
    if isinstance(first, np.ndarray):
        digest.update(first.tobytes())
    return {"samples": len(labels), "checksum": digest.hexdigest()}


def finished(folder: Path, test: bool) -> bool:
    """Whether a run has come to its end, its test included."""
    metrics = read_metrics(folder)
    return bool(metrics.get("finished")) and (not test or bool(metrics["test"]))


def finished_series(folder: Path) -> bool:
    """The same of each run of a series."""
    config = saved_config(folder)
    test = bool(config.test and config.callbacks.get("checkpoint") is not None)
    return all(finished(folder / name, test) for name in members_of(config)[1])


def interval(values: list[float], level: float = 0.95, overlap: float = 0.0) -> tuple[float, float, float]:
    """Mean, standard deviation (n - 1), and half the width of the mean's interval by Student's t.

    Runs on folds have most of their training samples in common, and their figures vary less than those of other data
    would: with `overlap`, the ratio of samples for validation to those for training, the variance of the mean is
    (1/n + overlap) s^2 (Nadeau and Bengio 2003, "Inference for the Generalization Error", Machine Learning 52).

    >>> [round(x, 4) for x in interval([1.0, 2.0, 3.0])]
    [2.0, 1.0, 2.4841]
    """
    n = len(values)
    mean = sum(values) / n
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    return mean, deviation, float(stats.t.ppf((1 + level) / 2, n - 1)) * deviation * math.sqrt(1 / n + overlap)


def report(folder: Path, kind: str, members: list[str], known: Reports) -> None:
    """A table of the test figures and the best validation ones, of which this is known, also in `seeds.json`.

    Args:
        folder: of the series.
        kind: "seeds" or "folds".
        members: names of the folders of its runs.
        known: of the figures.
    """
    found: Mapping[str, Any] = {name: read_metrics(folder / name) for name in members}
    rows: dict[str, list[float]] = {}
    for part in ("test", "best"):
        for key in next(iter(found.values()))[part]:
            if part == "test" or key.startswith("val/"):
                rows[key] = [metrics[part][key] for metrics in found.values()]
    table = Table(
        "", "mean", "standard deviation", "95 % interval of the mean", "lowest", "highest", title_justify="left"
    )
    numbers = [number_of(name) for name in members]
    table.title = f"{len(members)} runs, {kind} {numbers[0]} to {numbers[-1]}; val is that of the best epoch"
    figures = {}
    for key, values in rows.items():
        overlap = 1 / (len(values) - 1) if kind == "folds" else 0.0
        mean, deviation, half = interval(values, overlap=overlap)
        figures[key] = {"mean": mean, "standard_deviation": deviation, "interval": [mean - half, mean + half],
                        "values": values}  # fmt: skip
        shown = [format_figure(key, x, known) for x in (mean, deviation, mean - half, mean + half, *ends(values))]
        table.add_row(key.replace("_", " "), *shown[:2], f"{shown[2]} to {shown[3]}", *shown[4:])
        log.info("%s: %s ± %s (standard deviation %s)", key, shown[0], format_figure(key, half, known), shown[1])
    rich.get_console().print(table)
    if len(members) == 2:
        log.info("the interval of two runs rests on one difference, and is wide: with %s=5 it says more", kind)
    write_json(folder / f"{kind}.json", {kind: numbers, "figures": figures})


def ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)

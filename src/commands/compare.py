"""`torchatlas compare`: runs side by side."""

import math
import shutil
import string
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from ..drawing.curves import draw_curves, sparkline
from ..errors import UserError
from ..metrics.figures import amount, clock, duration, format_figure
from ..predict.rows import file_for
from ..run.comparison import as_shown, best_among, differing, figures_of, known_of
from ..storage.files import read_epochs, read_metrics
from ..storage.overview import SERIES, Run, find_runs, of_run, of_series
from ..storage.run_folder import shown

MOST = 20  # runs
ROWS = 40  # keys that are shown
LEFT, NARROW = 28, 8  # columns of the keys, at most; of a run, at least


def compare(*runs: Annotated[str, "bare"], output: str = "") -> None:
    """Runs side by side: what differs in their configs, figures and cost with the best marked, curves.

    Figures are those of the best epoch in validation, and of the test. Of runs of seeds= and folds= they are the means.
    Runs of different tasks have figures of their own, which are not compared with one another.

    Args:
        runs: run folders or checkpoints, at least two; a folder with several runs stands for all of them.
        output: a PNG file for the curves, in a folder that is made.

    Raises:
        UserError: there are fewer than two runs, or too many; a folder has none.

    Examples:
        torchatlas compare runs/mlp-digits/one runs/mlp-digits/two
        torchatlas compare runs/mlp-digits output=curves.png
    """
    file = file_for(output) if output else None
    found = list({run.folder.resolve(): run for given in runs for run in runs_at(given)}.values())
    if len(found) < 2:
        raise UserError(f"compare needs at least two runs and got {len(found)}: name two run folders")
    if len(found) > MOST:
        raise UserError(
            f"{len(found)} runs are too many to stand side by side: name at most {MOST}, or use torchatlas runs"
        )
    names = list(string.ascii_uppercase[: len(found)])
    known: dict[str, Any] = {}
    for run in found:
        known |= known_of(run)
    for name, run in zip(names, found, strict=True):
        epochs = "no epoch" if not run.epochs else f"{run.epochs} epoch{'s' * (run.epochs > 1)}"
        print(f"{name}  {shown(run.folder)}\n   {run.name}, {run.state}, {epochs}")
    keys = differing(found)
    print_block("what differs", names, [
        (key, [short(key, value) for value in values], set()) for key, values in list(keys.items())[:ROWS]
    ], more=len(keys) - ROWS)  # fmt: skip
    figures = [figures_of(run) for run in found]
    print_block("figures", names, [
        (key, ["" if key not in own else format_figure(key, own[key], known) for own in figures],
         best_among([own.get(key) for own in figures], key, known, found))
        for key in ordered(found, figures)
    ])  # fmt: skip
    print_block("cost", names, costs(found))
    panels = curves_of(found, names)
    print_curves(panels, names)
    if file is not None:
        draw_curves(panels).savefig(file, dpi=120, format=None if file.suffix else "png")
        print(f"\ncurves  {file}")


def runs_at(given: str) -> list[Run]:
    """The run of a folder or of a checkpoint, or all runs in a folder.

    Raises:
        UserError: there is none.
    """
    path = Path(given).expanduser()
    if path.is_file() and path.suffix == ".ckpt":
        path = path.absolute().parent.parent
    if not path.is_dir():
        raise UserError(f"there is no run {given}: name run folders, as in torchatlas compare runs/A runs/B")
    for name, kind in SERIES.items():
        if (path / name).is_file():
            return [of_series(path, kind)]
    if (path / "config.yaml").is_file() or (path / "record.json").is_file():
        return [of_run(path)]
    if not (found := find_runs(path)):
        raise UserError(f"{given} holds no run: name run folders, as in torchatlas compare runs/A runs/B")
    return found


def short(key: str, value: Any) -> str:
    """A value of a config; of what is called the last part of its name."""
    text = as_shown(value)
    return text.rpartition(".")[2] if key.endswith("_target_") else text


def ordered(runs: Sequence[Run], figures: Sequence[dict[str, float]]) -> list[str]:
    """Names of figures: those by which runs are compared first, validation before test."""
    there = list(dict.fromkeys(key for own in figures for key in own))
    first = {run.figure.partition("/")[2] for run in runs}
    return sorted(there, key=lambda key: (key.partition("/")[2] not in first, not key.startswith("val/")))


def costs(runs: Sequence[Run]) -> list[tuple[str, list[str], set[int]]]:
    """Rows of what the training took; of a series the step and the memory are of its first run."""
    used = []
    for run in runs:
        first = read_metrics(run.folder) or next(map(read_metrics, sorted(run.folder.glob("*-*/"))), {})
        used.append(
            {"parameters": first.get("parameters"), "time": run.seconds, "size": run.bytes} | first.get("used", {})
        )
    rows = []
    for label, key, show in (
        ("parameters", "parameters", lambda x: f"{x:,}"), ("time", "time", clock),
        ("time of a step", "seconds_per_step", duration), ("memory", "memory_bytes", lambda x: amount(x, "B")),
        ("on disk", "size", lambda x: amount(x, "B")), ("device", "device", str),
    ):  # fmt: skip
        values = [own.get(key) for own in used]
        numbers = [value for value in values if isinstance(value, int | float)]
        best = {i for i, x in enumerate(values) if x == min(numbers)} if len(set(numbers)) > 1 else set()
        rows.append(
            (label, ["" if value is None else show(value) for value in values], best if key != "device" else set())
        )
    return [row for row in rows if any(row[1])]


def print_block(
    title: str, names: Sequence[str], rows: Sequence[tuple[str, list[str], set[int]]], more: int = 0
) -> None:
    """A table with a column for each run, cut to the terminal: what is too long loses its middle.

    More runs than fit come in further tables.
    """
    print(f"\n{title}")
    if not rows:
        return print("  nothing")
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10**4
    left = min(LEFT, max(len(key) for key, _, _ in rows))
    together = max(1, min(len(names), (limit - 2 - left) // (NARROW + 2)))
    for first in range(0, len(names), together):
        chosen = range(first, min(first + together, len(names)))
        room = (limit - 2 - left) // len(chosen) - 2
        table = [["", *(names[i] for i in chosen)]]
        for key, values, best in rows:
            marked = (f"{cut(values[i], room - 2)} *" if i in best else cut(values[i], room) for i in chosen)
            table.append([cut(key, left), *marked])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for line in table:
            print("  " + "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip())
    if more > 0:
        print(f"  and {more} more keys")
    return None


def cut(text: str, width: int) -> str:
    """A text that fits.

    >>> cut("optim.weight_decay", 9), cut("seed", 9)
    ('opti…ecay', 'seed')
    """
    keep = width - 1
    return text if len(text) <= width else f"{text[: -(-keep // 2)]}…{text[len(text) - keep // 2 :]}"


def curves_of(runs: Sequence[Run], names: Sequence[str]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """By figure and run the pairs of epoch and value: what is monitored, and the losses; of a series its first run."""
    figures = dict.fromkeys([*(run.figure for run in runs if run.figure), "val/loss", "train/loss"])
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {figure: {} for figure in figures}
    for name, run in zip(names, runs, strict=True):
        first = run.folder if run.runs == 1 else next(iter(sorted(run.folder.glob("*-*/"))), run.folder)
        epochs = read_epochs(first)
        for figure, curves in panels.items():
            points = [(epoch["epoch"], epoch[figure]) for epoch in epochs if math.isfinite(epoch.get(figure, math.nan))]
            if points:
                curves[f"{name} {run.name}"] = points
    return {figure: curves for figure, curves in panels.items() if curves}


def print_curves(panels: dict[str, dict[str, list[tuple[float, float]]]], names: Sequence[str]) -> None:
    """A line of text for each run, all of a figure on the same scale."""
    blocks = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    for figure, curves in panels.items():
        values = [value for points in curves.values() for _, value in points]
        low, high, last = min(values), max(values), int(max(points[-1][0] for points in curves.values()))
        print(f"\n{figure}, epochs 1 to {last}, from {low:.4g} to {high:.4g}")
        for name, points in curves.items():
            of_epoch: dict[float, float] = dict(points)
            line = [of_epoch.get(epoch) for epoch in range(1, last + 1)]
            drawn = sparkline(line, low, high, 50, blocks=blocks)
            print(f"  {name.partition(' ')[0]}  {drawn:<{min(50, last)}}  {points[0][1]:.4g} to {points[-1][1]:.4g}")

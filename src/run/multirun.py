"""The runs of `-m` beside one another: what differs, their figures, the best one."""

import contextlib
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import rich

from ..metrics.figures import Reports, clock, figure_of, format_figure
from ..storage.files import read_json, write_json, write_text
from ..storage.overview import Run, of_run, of_series
from ..storage.run_folder import is_series, shown
from .comparison import best_among, figures_of, known_of
from .console import print_table

MULTIRUN, RESULTS = "multirun.json", "results.csv"  # in the folder of a multirun: its words, and what came of them
MOST = 3  # figures that a table shows; the file has all
_noted: list[Path] = []


def note(folder: Path, name: str, words: Sequence[str], overrides: Sequence[str]) -> None:
    """Write what a multirun began with, and what one of its runs has of it.

    Args:
        folder: of the multirun.
        name: of the run's folder in it.
        words: what was typed.
        overrides: Hydra's, of this run.
    """
    path = folder / MULTIRUN
    about = read_json(path) or {"words": list(words), "runs": {}}
    about["runs"][name] = dict(override.lstrip("+").split("=", 1) for override in overrides if "=" in override)
    write_json(path, about)
    if folder not in _noted:
        _noted.append(folder)


@contextlib.contextmanager
def reported_at_the_end() -> Iterator[None]:
    """Around a program: however it ends, its multirun is reported if two of its runs have figures."""
    _noted.clear()
    try:
        yield
    finally:
        for folder in _noted:
            report(folder)


def report(folder: Path) -> None:
    """The table, on the screen and with all figures in `results.csv`.

    Args:
        folder: of the multirun.
    """
    noted = read_json(folder / MULTIRUN).get("runs", {})
    about = {name: words for name, words in noted.items() if (folder / name).is_dir()}  # else it came to nothing
    runs = [of_series_or_run(folder / name) for name in about]
    figures = [figures_of(run) for run in runs]
    if sum(map(bool, figures)) < 2:
        return
    known: dict[str, Any] = {}
    for run in runs:
        known |= known_of(run)
    words: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for own in about.values() for key in own):
        if key != "resume" and len(set(values := [own.get(key, "") for own in about.values()])) > 1:
            words[key] = values
    write_results(folder / RESULTS, runs, words, figures)
    columns = columns_of(runs, figures, known)
    best = {column: best_among([own.get(column) for own in figures], column, known, runs) for column in columns}
    heads = ["", *(key.replace(".", ".\n") for key in words), *map(head, columns), "epochs", "time"]
    if not rich.get_console().is_terminal:  # where columns are as wide as they need
        heads = [text.replace(".\n", ".").replace("\n", " ") for text in heads]
    lines = []
    for i, run in enumerate(runs):
        cells = [
            "" if (value := figures[i].get(column)) is None
            else format_figure(column, value, known) + (" *" if i in best[column] else "  ")
            for column in columns
        ]  # fmt: skip
        epochs, seconds = run.epochs, run.seconds
        lines.append([
            run.folder.name.partition("-")[0], *(values[i] for values in words.values()), *cells,
            "" if epochs is None else str(epochs), "" if seconds is None else clock(seconds),
        ])  # fmt: skip
    print_table(heads, lines, right=range(1 + len(words), len(heads)))
    said = f"* the best; {shown(folder)}/{RESULTS} has all figures"
    rich.get_console().print(said, markup=False, highlight=False, soft_wrap=True)


def of_series_or_run(folder: Path) -> Run:
    kind = "folds" if (folder / "folds.json").is_file() else "seeds"
    return of_series(folder, kind) if is_series(folder) else of_run(folder)


def columns_of(runs: Sequence[Run], figures: Sequence[Mapping[str, float]], known: Reports) -> list[str]:
    """The figures that the table shows: what is monitored, and others by which runs are compared; tests beside them."""
    there = list(dict.fromkeys(key for own in figures for key in own))
    first = list(dict.fromkeys(run.figure for run in runs if run.figure))
    headline = [key for key in there if key.startswith("val/") and (f := figure_of(key, known)) and f.headline]
    names = [key.removeprefix("val/") for key in dict.fromkeys([*first, *headline]) if key in there][:MOST]
    return [key for name in names for key in (f"val/{name}", f"test/{name}") if key in there]


def head(column: str) -> str:
    """`val/calibration_error` as the head of a column."""
    return column.replace("/", "\n", 1).replace("_", " ")


def write_results(path: Path, runs: Sequence[Run], words: Mapping[str, Sequence[str]], figures: Any) -> None:
    """One line for each run: its folder, what differs, all figures."""
    columns = dict.fromkeys(key for own in figures for key in own)
    text = io.StringIO()
    writer = csv.DictWriter(text, ["run", *words, "state", "epochs", "seconds", *columns])
    writer.writeheader()
    for i, run in enumerate(runs):
        own = {key: values[i] for key, values in words.items()}
        about = {"run": run.folder.name, "state": run.state, "epochs": run.epochs, "seconds": run.seconds}
        writer.writerow(about | own | figures[i])
    write_text(path, text.getvalue())

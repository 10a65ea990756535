"""`torchatlas runs`: a table of the runs in a folder, from their files alone, without torch."""

import contextlib
import csv
import fnmatch
import io
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError, nearest
from ..metrics.figures import amount, clock
from ..predict.rows import file_for
from ..storage.files import write_text
from ..storage.overview import Run, find_runs, flat

COLUMNS = (
    "run", "name", "state", "epochs", "steps", "figure", "best", "best_epoch", "test", "seconds", "bytes", "begun",
    "command",
)  # fmt: skip
HEADS = ("run", "state", "epochs", "figure", "best", "test", "time", "size")
CONDITION = re.compile(r"([\w.]+)\s*(<=|>=|!=|=|<|>)\s*(.*)")


def runs(
    folder: str = "runs", /, *, sort: str = "begun", filter: tuple[str, ...] = (), reverse: bool = False,
    output: str = "",
) -> None:  # fmt: skip
    """A table of the runs in a folder: name, state, epochs, the figure by which they are compared, time, size.

    A run is running (a process trains in it), finished (to its end, test included) or stopped. Its figure is that of
    the task's monitor, as in accuracy: best is of the best epoch in validation, test of the test set. Runs of seeds=
    and folds= are one line, with their means.

    Args:
        folder: in which runs are, at any depth.
        sort: a column (run, name, state, epochs, steps, figure, best, test, seconds, bytes, begun), or a key of the
            configs as in optim.lr; of best and test the best value comes first.
        filter: conditions, all of which hold, as in state=running, best>0.9, optim.lr<=0.01, name=resnet*; a word alone
            is a part of the run's folder.
        reverse: whether the order is turned round.
        output: a CSV file for the table, with further columns, in a folder that is made.

    Raises:
        UserError: there is no such folder, no such column or key.

    Examples:
        torchatlas runs
        torchatlas runs runs/mlp-digits sort=best filter=state=finished
        torchatlas runs filter=optim.lr>0.01,lenet5 output=runs.csv
    """
    file = file_for(output) if output else None
    top = Path(folder).expanduser()
    if not top.is_dir():
        raise UserError(f"there is no folder {folder}: name one with runs in it, as in torchatlas runs runs")
    found = find_runs(top)
    for condition in filter:
        found = [run for run in found if holds(condition, run, top, found)]
    found = sorted_by(sort, found, top)
    rows = [row_of(run, top) for run in (reversed(found) if reverse else found)]
    if file is not None:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        write_text(file, text.getvalue())
    print_rows(rows, top)


def row_of(run: Run, top: Path) -> dict[str, Any]:
    """A run's values by the names of the columns; None where there is none yet."""
    own = {column: getattr(run, column) for column in COLUMNS if column not in ("run", "figure")}
    place = run.folder.relative_to(top).as_posix()
    return {"run": place if place != "." else run.folder.name, "figure": run.figure.removeprefix("val/"),
            "length": run.length} | own  # fmt: skip


def value_of(key: str, run: Run, top: Path) -> Any:
    """A column's value of a run, or a key's of its config; None where it has none."""
    row = row_of(run, top)
    return row[key] if key in COLUMNS else flat(run.config).get(key)


def require_key(key: str, runs: Sequence[Run]) -> None:
    """Refuse what is neither a column nor in the config of any run."""
    known = [*COLUMNS, *dict.fromkeys(key for run in runs for key in flat(run.config))]
    if runs and key not in known:
        raise UserError(f"no run has a column or a key {key!r}{nearest(key, known)}")


def holds(condition: str, run: Run, top: Path, runs: Sequence[Run]) -> bool:
    """Whether a run meets a condition, see `runs`.

    Raises:
        UserError: it is of a key that no run has.
    """
    match = CONDITION.fullmatch(condition)
    if match is None:
        return condition in row_of(run, top)["run"]
    key, sign, wanted = match.groups()
    require_key(key, runs)
    value = value_of(key, run, top)
    if sign in ("=", "!="):
        return same(value, wanted) == (sign == "=")
    try:
        limit = float(wanted)
    except ValueError:
        raise UserError(f"filter={condition} compares with {wanted!r}, which is no number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return {"<": value < limit, ">": value > limit, "<=": value <= limit, ">=": value >= limit}[sign]


def same(value: Any, wanted: str) -> bool:
    """Whether a value is what is wanted: a number in any form, a text by a pattern with *.

    >>> same(0.1, ".10"), same("resnet18-digits", "resnet*"), same(None, "null"), same(True, "true")
    (True, True, True, True)
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            return float(wanted) == value
    text = {None: "null", True: "true", False: "false"}.get(value, str(value)) if not isinstance(value, list) else value
    return fnmatch.fnmatchcase(str(text), wanted)


def sorted_by(key: str, runs: list[Run], top: Path) -> list[Run]:
    """Runs by a column or a key of their configs; those without a value come last.

    Raises:
        UserError: no run has it.
    """
    require_key(key, runs)

    def place(run: Run) -> tuple[Any, ...]:
        value = value_of(key, run, top)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return (2 if value is None else 1, "" if value is None else str(value), 0.0)
        best_first = key in ("best", "test") and not run.falls
        return 0, run.figure if key in ("best", "test") else "", -value if best_first else value

    return sorted(runs, key=place)


def cells(row: dict[str, Any]) -> list[str]:
    """A row as it is shown, in the order of `HEADS`."""

    def figure(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}"

    epochs = "" if row["epochs"] is None else str(row["epochs"])
    return [
        row["run"], row["state"], f"{epochs or 0}/{row['length']}" if row["length"] else epochs, row["figure"],
        figure(row["best"]), figure(row["test"]), "" if row["seconds"] is None else clock(row["seconds"]),
        amount(row["bytes"], "B"),
    ]  # fmt: skip


def print_rows(rows: Sequence[dict[str, Any]], top: Path) -> None:
    """The table, a line each; in a terminal that is too narrow the run's folder has a line of its own."""
    if not rows:
        return print(f"there is no such run in {top}")
    table = [list(HEADS), *map(cells, rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEADS))]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    apart = limit is not None and sum(widths) + 2 * len(widths) - 2 > limit
    if apart:  # names of figures may be long, and are cut last
        rest = sum(widths[1:]) - widths[3] + 2 * (len(widths) - 1)
        widths[3] = max(4, min(widths[3], (limit or 80) - rest))
    for line in table:
        line[3] = line[3] if len(line[3]) <= widths[3] else f"{line[3][: widths[3] - 1]}…"
        shown = [
            f"{w:<{n}}" if i in (0, 1, 3) else f"{w:>{n}}" for i, (w, n) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(shown).rstrip() if not apart else f"{line[0]}\n  {'  '.join(shown[1:])}".rstrip())
    return None

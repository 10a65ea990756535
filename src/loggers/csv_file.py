"""A table of all figures in the run folder."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from .base import At, Outcome, RunLogger, comes_again

PLACE = ["step", "epoch"]


class CSVLogger(RunLogger):
    """Writes `metrics.csv`: a line for each place in the run at which something was told, a column for each figure.

    Lines within an epoch have no number in the column `epoch`. Numbers are written so that they are read as the same.
    """

    title: ClassVar[str] = "CSV"
    pictures = False

    def __init__(self, folder: Path, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(folder, config)
        self.path = self.folder / "metrics.csv"
        self.columns = list(PLACE)
        self.rows: list[dict[str, Any]] = []  # not yet written

    def begin(self, behind: At | None) -> None:
        rows: list[dict[str, Any]] = []
        if behind is None:
            self.write(rows)
            return
        for row in self.read():
            step, epoch = int(row["step"]), int(row["epoch"]) if row.get("epoch") else None
            values = {k: v for k, v in row.items() if k not in PLACE and v and not comes_again(k, step, epoch, behind)}
            rows += [{"step": row["step"], "epoch": row["epoch"], **values}] if values else []
        self.write(rows)

    def figures(self, values: Mapping[str, float], at: At) -> None:
        place = {"step": at.step, "epoch": "" if at.epoch is None else at.epoch}
        self.rows.append(place | {key: repr(float(value)) for key, value in values.items()})
        if len(self.rows) >= 100 or at.epoch is not None:
            self.flush()

    def flush(self) -> None:
        """Lines are added; only where there are new columns is the file written anew."""
        rows, self.rows = self.rows, []
        if not {key for row in rows for key in row} <= set(self.columns):
            self.write([*self.read(), *rows])
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerows(rows)

    def read(self) -> list[dict[str, Any]]:
        """What the file has; a line that a killed run left unfinished is left out."""
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
            whole = [line for line in file if line.endswith("\n")]
        rows = list(csv.DictReader(whole))
        return [row for row in rows if (row.get("step") or "").isdigit()]

    def write(self, rows: list[dict[str, Any]]) -> None:
        """The whole file, or not at all."""
        self.columns = list(dict.fromkeys([*PLACE, *(key for row in rows for key in row)]))
        part = self.path.with_name(self.path.name + ".part")
        part.unlink(missing_ok=True)
        with part.open("x", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)
        part.replace(self.path)

    def end(self, outcome: Outcome) -> None:
        self.flush()

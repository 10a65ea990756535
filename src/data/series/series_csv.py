"""A user's own table of series."""

import logging
from collections.abc import Sequence
from typing import Any

from ...errors import UserError
from ..tables import unsaid
from .base import SeriesData
from .clock import require_zone, text_of
from .columns import Name, find_times
from .tables import SIGNS, Form, Table, choose, listed, read_frame, read_table, wide_names

log = logging.getLogger(__name__)


class SeriesCSV(SeriesData):
    """Your own series: a table of text with a column of times and a column of numbers for each series, split by time.

    The first rows train, the last `test_share` of them are the test set, and `val_share` lies between. Times must be
    regular: a fixed step, days of the week, or first or last days of weeks, months, quarters or years; a table of
    nothing but numbers has none, and its rows are numbered. What divides the cells, whether the first line has names,
    decimal commas, marks of thousands, units and the form of the times are found by looking; see `read_cells`,
    `read_numbers` and `parse_times`. The log says what was decided where people differ, and a key decides otherwise.

    Args:
        path: the file, packed by gzip or not.
        time: the column of times, or the columns of dates and times of day, or of years, months and so on; "none":
            there is none; None: see `find_times`.
        group: the column that tells apart series which stand one under another; None: each has columns of its own.
        header: whether the first line has the names of the columns, which else are called 1, 2 and so on; None: look.
        encoding: as Python calls it, as in "latin-1"; None: UTF-8, or as a byte order mark says.
        decimal: "point" or "comma", what begins the decimals; None: as the numbers say.
        absent: numbers that stand for no value, as in [-9999].
        time_format: of the times, as strptime has it, as in "%d/%m/%y"; None: as the times say.
        zone: of a clock with daylight saving, as in "Europe/Berlin"; None: the clock has none, or says the offset.
        val_share, test_share: of all rows.
        others: see `SeriesData`. By default `series` are all columns of numbers, and `period` is the usual one of the
            step (see `usual_period`).

    Raises:
        UserError: it says what is wrong in the file and where.
    """

    free = ("header", "encoding")

    def __init__(
        self,
        *,
        path: str | None = None,
        time: Name | int | None = None,
        group: str | int | None = None,
        header: bool | None = None,
        encoding: str | None = None,
        decimal: str | None = None,
        absent: Sequence[float] | None = (),
        time_format: str | None = None,
        zone: str | None = None,
        val_share: float = 0.1,
        test_share: float = 0.2,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        if not (val_share > 0 and test_share > 0 and val_share + test_share < 1):
            raise UserError(
                f"data.val_share={val_share} and data.test_share={test_share} must be positive and leave rows to train"
            )
        if decimal is not None and decimal not in SIGNS:
            raise UserError(f"data.decimal={decimal} must be point or comma, or null to look at the numbers")
        if time_format is not None and "%" not in time_format:
            raise UserError(f"data.time_format={time_format} must be as in %d/%m/%Y or %Y-%m-%d %H:%M")
        if zone is not None:
            require_zone(zone)
        if isinstance(absent, str) or not all(isinstance(x, int | float) for x in absent or ()):
            raise UserError(f"data.absent={absent} must be a list of numbers, as in data.absent=[-9999]")
        self.path, self.time_column = path, _names(time)
        group = None if group is None else str(group)
        self.form = Form(encoding, header, decimal, time_format, zone, group, tuple(map(float, absent or ())))
        self.given_series = None if others.get("series") is None else self.series
        self.val_share, self.test_share = val_share, test_share

    @classmethod
    def declare_out_channels(
        cls, series: Sequence[str] | None = None, path: str | None = None, time: Name | int | None = None,
        covariates: Sequence[str] | None = (), group: str | int | None = None, header: bool | None = None,
        encoding: str | None = None, time_format: str | None = None, fake: bool = False,
    ) -> int:  # fmt: skip
        """The named series, or the columns of numbers in the file; two of made data without names."""
        if series is not None:
            return len(series)
        if fake:
            return 2
        group = None if group is None else str(group)
        form, others = Form(encoding, header, time_format=time_format, group=group), [*map(str, covariates or ())]
        with unsaid():
            cells = read_frame(path, form, [*listed(_names(time)), *others, group or ""])
            found = find_times(cells, _names(time), time_format, [*others, group or ""])
            return len(choose(cells, wide_names(cells, found, group), found, None, others))

    def read_table(self) -> Table:
        table = read_table(
            self.path, time=self.time_column, series=self.given_series, covariates=self.covariates,
            missing=self.missing, form=self.form, known=self.written,
        )  # fmt: skip
        log.info(
            "%s: %d rows with the step %s, from %s to %s; forecast: %s", self.path, len(table.times), table.step,
            text_of(table.times[0], table.zone), text_of(table.times[-1], table.zone), ", ".join(table.series),
        )  # fmt: skip
        return table

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.given_series = self.series

    def borders(self, table: Table) -> tuple[int, int, int]:
        n = len(table.values)
        test, val = round(self.test_share * n), round(self.val_share * n)
        return n - test - val, n - test, n


def _names(time: Name | int | None) -> Name | None:
    """Names of columns, which may look like numbers."""
    return list(map(str, time)) if isinstance(time, list) else None if time is None else str(time)

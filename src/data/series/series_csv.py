"""A user's own table of series."""

import logging
from collections.abc import Sequence
from typing import Any

from ...errors import UserError
from .base import SeriesData
from .tables import Table, find_series, find_times, read_frame, read_table, text_of

log = logging.getLogger(__name__)


class SeriesCSV(SeriesData):
    """Your own series: a CSV file with a column of times and a column of numbers for each series, split by time.

    The first rows train, the last `test_share` of them are the test set, and `val_share` lies between. Times must be
    regular: a fixed step, days of the week, or first or last days of months, quarters or years. Separators are commas,
    semicolons or tabs; beside the latter two a decimal comma is understood.

    Args:
        path: the file.
        time: the column of times; None: the first one that holds times.
        val_share, test_share: of all rows.
        others: see `SeriesData`. By default `series` are all columns of numbers, and `period` is the usual one of the
            step (see `usual_period`).

    Raises:
        UserError: it says what is wrong in the file and where.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        time: str | None = None,
        val_share: float = 0.1,
        test_share: float = 0.2,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        if not (val_share > 0 and test_share > 0 and val_share + test_share < 1):
            raise UserError(
                f"data.val_share={val_share} and data.test_share={test_share} must be positive and leave rows to train"
            )
        self.path, self.time_column = path, time
        self.given_series = None if others.get("series") is None else self.series
        self.val_share, self.test_share = val_share, test_share

    @classmethod
    def declare_out_channels(
        cls, series: Sequence[str] | None = None, path: str | None = None, time: str | None = None,
        covariates: Sequence[str] = (), fake: bool = False,
    ) -> int:  # fmt: skip
        """The named series, or the columns of numbers in the file; two of made data without names."""
        if series is not None:
            return len(series)
        if fake:
            return 2
        frame = read_frame(path)
        name, _ = find_times(frame, path, time)
        return len(find_series(frame, path, name, None, covariates))

    def read_table(self) -> Table:
        table = read_table(
            self.path, time=self.time_column, series=self.given_series, covariates=self.covariates,
            missing=self.missing,
        )  # fmt: skip
        log.info(
            "%s: %d rows with the step %s, from %s to %s; forecast: %s", self.path, len(table.times), table.step,
            text_of(table.times[0]), text_of(table.times[-1]), ", ".join(table.series),
        )  # fmt: skip
        return table

    def borders(self, table: Table) -> tuple[int, int, int]:
        n = len(table.values)
        test, val = round(self.test_share * n), round(self.val_share * n)
        return n - test - val, n - test, n

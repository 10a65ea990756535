"""Time series: windows of a common clock, split by time and scaled by what the training part holds."""

import copy
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import UserError
from ..base import DataModule
from ..contents import checksum
from ..reading import Given, find_files
from .columns import NONE, Name
from .held import write_tables
from .numbers import Written
from .tables import Form, Known, Table, fill, read_table

log = logging.getLogger(__name__)
MISSING = ("error", "last", "interpolate")
BATCH = 256  # of a user's windows


class SeriesWindows:
    """Pairs of what a forecaster sees and what comes next, one for each possible place in a range of rows.

    The forecast's rows lie all within the range; the rows seen may lie before it, as they would when the forecast is
    made. Window i is forecast from row `first + i` on.

    Args:
        values: float32 `t c`, the whole series.
        begin, end: the range of rows that are forecast.
        lookback, horizon: rows seen, and rows forecast.
        out_channels: how many of the first channels are forecast.
    """

    def __init__(self, values: Tensor, begin: int, end: int, *, lookback: int, horizon: int, out_channels: int) -> None:
        self.values, self.lookback, self.horizon, self.out_channels = values, lookback, horizon, out_channels
        self.first, self.end = max(begin, lookback), end

    def __len__(self) -> int:
        return max(0, self.end - self.horizon - self.first + 1)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor]:
        """Inputs `b lookback c` and targets `b horizon out_channels`."""
        _, indices = key
        rows = self.first + indices[:, None] + torch.arange(-self.lookback, self.horizon)
        window = self.values[rows]
        return window[:, : self.lookback], window[:, self.lookback :, : self.out_channels]


class SeriesDescription(TypedDict):
    """Series to be forecast.

    Attributes:
        time: name of the column of times, or names of the columns that hold a part each; "": there are no times.
        series, covariates: names of the columns.
        step: the distance between two rows, as pandas writes it; "row" where there are no times.
        written: how times and numbers are written in the file: "times", see `Times.form`; "decimal" and "units", see
            `Written`.
        mean, std: of each channel in its units, by which inputs are scaled.
        lookback, horizon: rows that a network sees, and rows that it forecasts.
        period, missing: see `SeriesData`.
        rows: where the training, validation and test rows end.
    """

    kind: Literal["series"]
    time: Name
    step: str
    written: dict[str, Any]
    series: list[str]
    covariates: list[str]
    mean: list[float]
    std: list[float]
    lookback: int
    horizon: int
    period: int | None
    missing: str
    rows: list[int]


@dataclass(frozen=True)
class GivenTable(Given[SeriesWindows]):
    """A user's table. Sample i looks back from row i + lookback on, the last one from the end of the table.

    Attributes:
        table: as it is in the file.
    """

    table: Table = field(kw_only=True)


class SeriesData(DataModule):
    """Real-valued series to be forecast. A subclass implements `read_table` and `borders`.

    The rows are split by time: training, then validation, then test. Mean and spread of each channel are those of the
    training rows; networks get and give scaled values. A window of validation or test may look back into the split
    before it, never ahead.

    Args:
        in_channels: all channels that networks see: the forecast series, then the covariates.
        out_channels: the forecast series.
        lookback, horizon: rows that a network sees, and rows that it forecasts.
        series: names of the columns to be forecast.
        covariates: names of further columns; their past is seen, and they are not forecast.
        period: rows after which the series resembles itself, for the seasonal naive baseline; 1: it has no season.
        missing: what becomes of missing values: "error"; "last", the value before them; "interpolate", in the training
            rows a line between the values around them, and elsewhere the value before, since there nothing may know
            what comes after it. What is filled counts in figures like what was measured; how much it is, is logged.
        common: batch size, workers, seed and so on, see `DataModule`.

    Attributes:
        mean, std: of each channel, in the data's units; what `state_dict` restores.
        rows: where the training, validation and test rows end; restored too, so that a file that has grown since
            leaves the splits as they were.

    Raises:
        UserError: a number that is not positive, or a declaration that does not agree with the names.
    """

    tasks = ("forecasting", "regression")
    targets = "horizon"
    indivisible = "what comes later in a series must not be learnt from"
    endings = (".csv",)

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        lookback: int,
        horizon: int,
        series: Sequence[str] | None = None,
        covariates: Sequence[str] | None = (),
        period: int | None = 1,
        missing: str = "error",
        **common: Any,
    ) -> None:
        super().__init__(**common)
        covariates = covariates or ()
        for key, value in (("lookback", lookback), ("horizon", horizon), ("period", period)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise UserError(f"data.{key}={value} must be a positive whole number")
        for key, names in (("series", series), ("covariates", covariates)):
            if names is not None and (isinstance(names, str) or len(set(names)) < len(names)):
                raise UserError(f"data.{key}={names} must be a list of different columns, as in data.{key}=[a,b]")
        if series is not None:  # a name may look like a number
            series = list(map(str, series))
        if not isinstance(covariates, str):
            covariates = list(map(str, covariates))
        if series is not None and not series:
            raise UserError("data.series=[] names nothing to forecast: name columns, as in data.series=[a,b]")
        if twice := [name for name in covariates if name in (series or ())]:
            raise UserError(f"{twice[0]!r} is in data.series and in data.covariates: leave it out of data.covariates")
        if missing not in MISSING:
            raise UserError(f"data.missing={missing} must be {', '.join(MISSING[:-1])} or {MISSING[-1]}")
        if in_channels != out_channels + len(covariates) or (series is not None and out_channels != len(series)):
            raise UserError(
                f"data.in_channels={in_channels} and data.out_channels={out_channels} do not agree with the columns: "
                "change data.series and data.covariates alone"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.lookback, self.horizon, self.period, self.missing = lookback, horizon, period, missing
        self.series = [f"series {i}" for i in range(1, out_channels + 1)] if series is None else list(series)
        self.covariates = list(covariates)
        self.mean, self.std, self.rows = [0.0] * in_channels, [1.0] * in_channels, list[int]()
        self.time: Name = "time"
        self.step, self.form, self.written = "h", Form(), Known()
        self.times: NDArray[np.datetime64] | NDArray[np.int64] = np.array([], "datetime64[us]")

    @classmethod
    def declare_out_channels(cls, series: Sequence[str] | None = None) -> int:
        """The named series."""
        return len(series or ())

    @classmethod
    def declare_in_channels(cls, out_channels: int, covariates: Sequence[str] | None = None) -> int:
        """The forecast series and the covariates."""
        return out_channels + len(covariates or ())

    def read_table(self) -> Table:
        """The whole table."""
        raise NotImplementedError

    def borders(self, table: Table) -> tuple[int, int, int]:
        """Rows at which training, validation and test end."""
        raise NotImplementedError

    def made_table(self) -> tuple[Table, tuple[int, int, int]]:
        """Waves with the season's period, each channel with its phase, and a little noise; and its borders."""
        train = self.lookback + self.horizon + 3 * self.batch_size
        rest = self.horizon + self.batch_size
        ends = (train, train + rest, train + 2 * rest)
        t = np.arange(ends[-1])[:, None]
        period = self.period if self.period is not None and self.period > 1 else 12
        phase = np.arange(self.in_channels) / self.in_channels
        noise = np.random.default_rng(0).normal(size=(len(t), self.in_channels))
        values = 10 + 2 * np.sin(2 * np.pi * (t / period + phase)) + 0.05 * noise
        times = np.datetime64("2000-01-01T00:00:00") + np.arange(len(t)) * np.timedelta64(3600, "s")
        return Table("time", self.series, self.covariates, times, "h", values), ends

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        if self.fake:
            table, ends = self.made_table()
        else:
            table = self.read_table()
            ends = self.borders(table)
        known = len(self.rows) > 0  # from a checkpoint
        if not known:
            self.rows = list(ends)
        elif self.rows[-1] > len(table.values):
            raise UserError(
                f"the data have {len(table.values)} rows, and the checkpoint knows {self.rows[-1]} of them: give the "
                "file of the training, or one that has grown at its end"
            )
        if (len(table.series), len(table.covariates)) != (self.out_channels, self.in_channels - self.out_channels):
            raise UserError(
                f"the data have {len(table.series)} series to forecast ({', '.join(table.series)}), and not "
                f"data.out_channels={self.out_channels}: name them with data.series=[...]"
            )
        self.time, self.step, self.times, self.written = table.time, table.step, table.times, table.known
        self.series, self.covariates = table.series, table.covariates
        if self.period is None:
            self.period = usual_period(table.step)
        ranges = dict(zip(("train", "val", "test"), zip([0, *self.rows], self.rows, strict=False), strict=True))
        self.require_rows({name: end - begin for name, (begin, end) in ranges.items()})
        values = fill(table, self.rows[0], self.missing)
        if (gaps := np.isnan(table.values)).any():
            log.info("%d of %d values are filled by data.missing=%s", gaps.sum(), gaps.size, self.missing)
        judged = np.isnan(table.values[self.rows[0] : self.rows[2], : self.out_channels])
        if judged.any():
            log.info("%d of %d values of validation and test are filled, not measured", judged.sum(), judged.size)
        if not known:
            train = values[: self.rows[0]]
            spread = train.std(0)
            self.mean = train.mean(0).tolist()
            self.std = np.where(spread > 1e-12 * np.abs(train).max(0), spread, 1.0).tolist()
        scaled = self.scaled(values)
        self.splits = {
            name: SeriesWindows(
                scaled, begin, end, lookback=self.lookback, horizon=self.horizon, out_channels=self.out_channels
            )
            for name, (begin, end) in ranges.items()
        }

    def checksum(self, split: str) -> str:
        """Of the scaled rows that its windows have: those of a table that has only grown at its end are the same."""
        windows = self.splits[split]
        assert isinstance(windows, SeriesWindows)
        return checksum([windows.values[windows.first - self.lookback : windows.end]])

    def require_rows(self, there: dict[str, int]) -> None:
        """Refuse a lookback or a horizon for which a split has no window; `there` are the rows of each split.

        Raises:
            UserError: it names a size that works.
        """
        h, look = self.horizon, self.lookback
        for split in ("val", "test"):
            if there[split] < h:
                advice = f"use data.horizon={there[split]}" if there[split] > 0 else "a longer series is needed"
                raise UserError(f"data.horizon={h} needs {h} rows and the {split} split has {there[split]}: {advice}")
        rows = there["train"]
        if look + h > rows:
            advice = f"use data.lookback={(rows - h + 1) // 2}" if rows > h else f"use data.horizon={max(1, rows // 4)}"
            raise UserError(
                f"data.horizon={h} and data.lookback={look} need {h + look} rows and the training split has {rows}: "
                f"{advice}"
            )

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """Scaled x `b lookback in_channels` and y `b horizon out_channels`, as they are."""
        x, y = batch
        return x, y

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        return (
            torch.randn(batch, self.lookback, self.in_channels),
            torch.randn(batch, self.horizon, self.out_channels),
        )

    def read(self, given: str) -> GivenTable:
        """See `DataModule.read`: a CSV file with the columns and the step of the training; no target is known."""
        if Path(given).expanduser().is_dir():
            raise UserError(f"{given} is a folder: name one table, input=FILE.csv")
        (path,) = find_files(given, self.endings)
        try:
            table = read_table(
                path, time=self.time or NONE, series=self.series, covariates=self.covariates, missing=self.missing,
                form=self.form, known=self.written,
            )  # fmt: skip
        except UserError as error:
            raise UserError(without_keys(str(error))) from error
        if table.step != self.step:
            raise UserError(
                f"{path} has the step {table.step}, and the network was trained with the step {self.step}: resample it"
            )
        rows = len(table.values)
        if rows < self.lookback:
            raise UserError(f"{path} has {rows} rows, and the network looks back on {self.lookback}")
        windows = SeriesWindows(
            self.scaled(fill(table, 0, self.missing)), 0, rows, lookback=self.lookback, horizon=0,
            out_channels=self.out_channels,
        )  # fmt: skip
        return GivenTable([{"file": str(path)}] * len(windows), windows, BATCH, table=table)

    def as_given(self, values: Sequence[Any], folder: Path) -> tuple[DataModule, Any]:
        """See `DataModule.as_given`: tables, see `frame_of`."""
        path, read = write_tables(values, folder, self.time, [*self.series, *self.covariates])
        reader = copy.copy(self)  # how the training's file was written is not how these are
        reader.form = replace(self.form, encoding=None, header=True, decimal=None)
        if read:
            reader.form = replace(reader.form, time_format=None)
            reader.written = replace(self.written, times=None)
        return reader, str(path)

    def scaled(self, values: NDArray[np.float64]) -> Tensor:
        """Values `t c` in the data's units, as networks take them: float32 of mean 0 and spread 1 in training."""
        return torch.from_numpy(((values - self.mean) / self.std).astype(np.float32))

    def describe(self) -> SeriesDescription:
        return {
            "kind": "series", "time": self.time, "step": self.step, "series": list(self.series),
            "written": {
                "times": self.written.times, "decimal": dict(self.written.numbers.decimal),
                "units": dict(self.written.numbers.units),
            },
            "covariates": list(self.covariates), "mean": list(self.mean), "std": list(self.std),
            "lookback": self.lookback, "horizon": self.horizon, "period": self.period, "missing": self.missing,
            "rows": list(self.rows),
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.mean, self.std = list(state_dict["mean"]), list(state_dict["std"])
        self.rows = list(state_dict["rows"])
        self.time, self.step, self.period = state_dict["time"], state_dict["step"], state_dict["period"]
        written = state_dict.get("written", {})  # an older checkpoint says nothing of it
        numbers = Written(dict(written.get("decimal", {})), dict(written.get("units", {})))
        self.written = Known(written.get("times"), numbers)
        self.series, self.covariates = list(state_dict["series"]), list(state_dict["covariates"])


def without_keys(sentence: str) -> str:
    """A mistake in a file that is given to a trained network: what it says of keys of the data is for training.

    >>> without_keys("a.csv has no row for Monday: add it, or use data.missing=last or data.missing=interpolate")
    'a.csv has no row for Monday: add it'
    >>> without_keys("a.csv has no column 'lode' for data.series: did you mean load?")
    "a.csv has no column 'lode': did you mean load?"
    """
    first, *rest = re.split(r"(, or |: |; )", re.sub(r" for data\.\w+", "", sentence))
    kept = [mark + clause for mark, clause in zip(rest[::2], rest[1::2], strict=True) if "data." not in clause]
    return first + "".join(kept)


def usual_period(step: str) -> int:
    """The usual season of series with such a step, in rows: a day, for days a week, for longer steps a year.

    >>> [usual_period(step) for step in ("h", "15min", "D", "B", "7D", "MS", "QS-OCT", "YS-JAN", "5h", "row")]
    [24, 96, 7, 5, 52, 12, 4, 1, 1, 1]
    """
    from pandas import Timedelta
    from pandas.tseries.frequencies import to_offset

    fixed = {"D": 7, "B": 5, "W": 52, "7D": 52, "MS": 12, "ME": 12, "QS": 4, "QE": 4}
    if (name := step.split("-")[0]) in fixed:
        return fixed[name]
    try:
        day = Timedelta(days=1) / Timedelta(to_offset(step))
    except (ValueError, TypeError):  # a year, a month
        return 1
    return int(day) if day > 1 and day == int(day) else 1

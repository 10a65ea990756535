"""Tables of series that a program has in memory, as the files that hold the same values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UserError
from .columns import Name

EXACT = "%.17e"  # a float64 comes back, and no point in it can be taken for a mark of thousands


def write_tables(values: Sequence[Any], folder: Path, time: Name, columns: Sequence[str]) -> tuple[Path, bool]:
    """One CSV file for each table.

    Args:
        values: see `frame_of`.
        folder: it is there.
        time, columns: see `frame_of`.

    Returns:
        The file, or of several tables the folder; and whether the times are times already, which are written as by
        ISO 8601, and not as the training's file had them.

    Raises:
        UserError: a value is no table, or some have times as texts and others do not.
    """
    frames = [frame_of(value, time, columns, f"input {i}") for i, value in enumerate(values)]
    read = [not isinstance(time, str) or not time or time not in frame or is_time(frame[time]) for frame in frames]
    if len(set(read)) > 1:
        raise UserError("some tables have times and others texts that say times: give the same in each")
    for i, frame in enumerate(frames):
        frame.to_csv(folder / f"{i:08d}.csv", index=False, float_format=EXACT)
    return (folder if len(values) > 1 else folder / f"{0:08d}.csv"), isinstance(time, str) and all(read)


def is_time(column: Any) -> bool:
    """Whether a column of pandas holds times, and no texts or numbers that say them."""
    return str(column.dtype).startswith(("datetime64", "period"))


def frame_of(value: Any, time: Name, columns: Sequence[str], name: str = "the table") -> Any:
    """A table as pandas has it.

    Args:
        value: a DataFrame of pandas, or of what has `to_pandas`, whose times are a column or the index; a Series; a
            dictionary of columns; or where there are no times an array `t c` of the columns of training in their order.
        time: name of the column of times; "": there are none.
        columns: the series and covariates of the training.
        name: for the message.

    Raises:
        UserError: it is none of these.
    """
    import pandas as pd

    value = value.to_pandas() if hasattr(value, "to_pandas") else value
    if isinstance(value, pd.Series):
        value = value.to_frame(value.name if value.name is not None or len(columns) > 1 else columns[0])
    elif isinstance(value, Mapping):
        value = pd.DataFrame(dict(value))
    elif not isinstance(value, pd.DataFrame):
        value = _of_array(value, time, columns, name)
    if isinstance(value.index, pd.DatetimeIndex | pd.PeriodIndex) and isinstance(time, str):
        if time and time not in value.columns:
            value = value.rename_axis(time).reset_index()
    elif isinstance(time, str) and time and value.index.name == time and time not in value.columns:
        value = value.reset_index()
    return value


def _of_array(value: Any, time: Name, columns: Sequence[str], name: str) -> Any:
    import pandas as pd

    try:
        numbers = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except ValueError:  # rows of several lengths
        numbers = np.empty(0, object)
    numbers = numbers[:, None] if numbers.ndim == 1 and len(columns) == 1 else numbers
    if numbers.dtype.kind not in "biuf" or numbers.ndim != 2 or numbers.shape[1] != len(columns):
        raise UserError(f"{name} is no table of the columns {', '.join(columns)}: give a DataFrame of pandas")
    if time:
        called = time if isinstance(time, str) else " and ".join(time)
        raise UserError(f"{name} is an array, which has no times: give a DataFrame of pandas with the column {called}")
    return pd.DataFrame(numbers, columns=list(columns))

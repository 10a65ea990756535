"""Files of series with classes, in the forms of the UCR and UEA archives."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import UserError, nearest

Series = NDArray[np.float64]
ENDINGS = (".tsv", ".ts", ".txt", ".arff")


def places(root: Path, name: str) -> list[Path]:
    """Folders in which the files of a set may lie, with a folder for each set or all in one."""
    return [root / "ucr" / name, root / "ucr", root / name, root]


def find_file(root: Path, name: str, part: str, archive: Sequence[str] = ()) -> Path:
    """`<name>_<part>` with one of `ENDINGS`, in one of `places`.

    Args:
        root: the folder of data.
        name: of the set.
        part: TRAIN or TEST.
        archive: names that can be downloaded.

    Raises:
        UserError: there is none; the nearest name of the archive is said.
    """
    for folder in places(root, name):
        for ending in ENDINGS:
            if (path := folder / f"{name}_{part}{ending}").is_file():
                return path
    hint = "" if name in archive else f"; the archive has no {name}{nearest(name, list(archive))}"
    raise UserError(
        f"there is no {name}_{part}{ENDINGS[0]} (nor {', '.join(ENDINGS[1:-1])} or {ENDINGS[-1]}) in "
        f"{places(root, name)[0]}, nor in {root}: put it there, or name another folder with data.root=FOLDER{hint}"
    )


def read_series(path: Path) -> tuple[list[Series], list[str]]:
    """Series and their labels from a file of an archive.

    Args:
        path: .tsv or .txt, a series a line with its label before the values; or .ts, `value,value,...:label`, and
            .arff, `value,value,...,label`, after a line `@data`. Series with several channels have one after the other,
            in .ts with a colon behind each, in .arff within quotes and with a backslash and an n between two. Missing
            values are NaN or ?.

    Returns:
        Each series, float64 `t`, or `t c` if it has several channels: a channel that is shorter has NaN at its end.

    Raises:
        UserError: a line is something else; it is named by its number.
    """
    series: list[Series] = []
    labels: list[str] = []
    ending = path.suffix.lower()
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in _lines_of_data(file, ending):
            channels, label = _divided(line, ending)
            if ending == ".ts" and "(" in line:
                raise UserError(f"{path}, line {number}: there are times where values and a label are expected")
            if ending in (".ts", ".arff") and not channels:
                raise UserError(f"{path}, line {number}: values and a label behind them are expected")
            try:
                rows = [np.array([_number(value) for value in channel]) for channel in channels]
            except ValueError as error:
                raise UserError(f"{path}, line {number}: {error}") from error
            if not all(np.isfinite(row).any() for row in rows) or any(np.isinf(row).any() for row in rows):
                raise UserError(f"{path}, line {number}: a series needs values, all of them finite")
            if series and len(rows) != (1 if series[0].ndim == 1 else series[0].shape[1]):
                raise UserError(f"{path}, line {number}: there are {len(rows)} channels, unlike in the line before")
            series.append(rows[0] if len(rows) == 1 else _side_by_side(rows))
            labels.append(_plain(label.strip().strip("'\"")))
    if not series:
        raise UserError(f"{path} holds no series")
    return series, labels


def _lines_of_data(file: Iterator[str] | Sequence[str], ending: str) -> Iterator[tuple[int, str]]:
    """Lines that hold a series, with their numbers."""
    header = ending in (".ts", ".arff")
    for number, line in enumerate(file, 1):
        words = line.strip()
        if header or not words or words.startswith(("#", "%")):
            header = header and words.lower() != "@data"
            continue
        yield number, line.strip("\r\n")


def _divided(line: str, ending: str) -> tuple[list[list[str]], str]:
    r"""The values of each channel, and the label.

    >>> _divided("1,2:3,4:a", ".ts"), _divided(r"'1,2\n3,4',a", ".arff"), _divided("a\t1\t2", ".tsv")
    (([['1', '2'], ['3', '4']], 'a'), ([['1', '2'], ['3', '4']], 'a'), ([['1', '2']], 'a'))
    """
    if ending == ".ts":
        *channels, label = line.strip().split(":")
        return [channel.split(",") for channel in channels], label
    if ending == ".arff":
        if match := re.fullmatch(r"""\s*(['"])(.*)\1\s*,(.*)""", line):
            return [channel.split(",") for channel in match[2].removesuffix("\\n").split("\\n")], match[3]
        *values, label = line.split(",")
        return [values] if values else [], label
    label, *values = line.split("\t") if "\t" in line.strip() else line.replace(",", " ").split()
    return [values], label


def _number(value: str) -> float:
    return np.nan if value.strip() in ("?", "") else float(value)


def _side_by_side(rows: Sequence[Series]) -> Series:
    """Channels as `t c`."""
    table = np.full((max(map(len, rows)), len(rows)), np.nan)
    for k, row in enumerate(rows):
        table[: len(row), k] = row
    return table


def _plain(label: str) -> str:
    """1, 1.0 and 1.0000000e+00 are the same label."""
    try:
        number = float(label)
    except ValueError:
        return label
    if not np.isfinite(number):
        raise UserError(f"{label!r} is no class: give the series a label")
    return str(int(number)) if number.is_integer() else str(number)


def prepare(values: Series, *, variable: bool, normalize: bool) -> Tensor:
    """Fill what is missing, and normalise.

    Args:
        values: a series `t` or `t c`, in which NaN is missing.
        variable: whether missing values at the end mean that the series is shorter; else they are filled too.
        normalize: each channel to mean 0 and standard deviation 1 (with n - 1, as the archive's own series are); a
            constant becomes zeros.

    Returns:
        float32 of the same shape. Missing values lie on a line between their neighbours; at the ends they repeat the
        nearest.
    """
    if values.ndim == 2:
        if variable:
            values = values[: np.flatnonzero(~np.isnan(values).all(1))[-1] + 1]
        return torch.stack([prepare(channel, variable=False, normalize=normalize) for channel in values.T], 1)
    known = np.flatnonzero(~np.isnan(values))
    if variable:
        values = values[: known[-1] + 1]
    if len(known) < len(values):
        values = np.interp(np.arange(len(values)), known, values[known])
    if normalize:
        values = values - values.mean()
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        values = values / spread if spread > 1e-8 else np.zeros_like(values)
    return torch.from_numpy(values).float()

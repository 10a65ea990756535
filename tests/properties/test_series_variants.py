"""One table, as people save it: the training data are the same."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.series import series_csv

from torchatlas.data.series.tables import read_table

ROWS = 400
TIMES = pd.date_range("2024-03-28", periods=ROWS, freq="h")  # over the begin of daylight saving, and days above 12
SINE = np.sin(2 * np.pi * np.arange(ROWS) / 24)
LOAD, OIL = np.round(1000 + 300 * SINE, 2), np.round(-50 * np.roll(SINE, 3), 1)
Numbers = Callable[[float], str]


def table(
    times: Any = None, load: Numbers = "{:.2f}".format, oil: Numbers = "{:.1f}".format, separator: str = ",",
    header: bool = True, names: str = "when",
) -> str:  # fmt: skip
    times = TIMES.astype(str) if times is None else times
    rows = [[*str(t).split("\0"), load(a), oil(b)] for t, a, b in zip(times, LOAD, OIL, strict=True)]
    quoted = [[f'"{cell}"' if separator in cell else cell for cell in row] for row in rows]
    lines = [separator.join(row) for row in ([[*names.split(","), "load", "oil"]] if header else []) + quoted]
    return "\n".join(lines) + "\n"


def comma(digits: int, mark: str = "") -> Numbers:
    """As most of Europe writes it."""
    return lambda x: f"{x:,.{digits}f}".replace(",", "\0").replace(".", ",").replace("\0", mark)


def marked(mark: str) -> Numbers:
    return lambda x: f"{x:,.2f}".replace(",", mark)


def long_form() -> str:
    rows = [
        f"{t},{name},{x}" for t, *row in zip(TIMES, LOAD, OIL, strict=True) for name, x in zip("ab", row, strict=True)
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    return "when,store,sold\n" + "\n".join(rows[i] for i in order)


def local(zone: str) -> list[str]:
    return list(TIMES.tz_localize("UTC").tz_convert(zone).strftime("%Y-%m-%d %H:%M"))


def behind(text: str, sign: str) -> str:
    return "\n".join(line + sign if i else line for i, line in enumerate(text.splitlines()))


FORMS = (
    "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y/%m/%d %H:%M", "%d.%m.%Y %H:%M", "%d.%m.%y %H:%M",
    "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%m/%d/%y %I:%M:%S %p", "%d-%b-%Y %H:%M", "%d %B %Y %H:%M",
    "%b %d, %Y %H:%M",
    "%a, %d %b %Y %H:%M:%S", "%Y%m%d %H:%M", "%Y%m%dT%H%M%S", "%Y%m%d%H", "%Y%m%d%H%M", "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M+00:00", "%Y-%m-%d_%H:%M", "%Y-%m-%d %H", "%Hh%M", "%y-%m-%d %H:%M",
)  # fmt: skip
HALVES = [text.replace("_", "\0") for text in TIMES.strftime("%d.%m.%Y_%I:%M %p")]
SECONDS = TIMES.astype("datetime64[s]").astype(np.int64)
JITTER = pd.to_timedelta(np.random.default_rng(0).integers(-9, 10, ROWS), "ms")
VARIANTS: dict[str, tuple[str | bytes, dict[str, Any]]] = {
    **{f"separator {s!r}": (table(separator=s), {}) for s in ";\t|"},
    **{f"times {form}": (table(TIMES.strftime(form)), {}) for form in FORMS if "%d" in form},
    "offsets": (table([t.isoformat() for t in TIMES.tz_localize("UTC").tz_convert("America/New_York")]), {}),
    "local clock in spring": (table(local("Europe/Berlin")), {"zone": "Europe/Berlin"}),
    "Unix seconds": (table(SECONDS), {}),
    "Unix milliseconds": (table(SECONDS * 1000), {}),
    "Unix fractions": (table([f"{s}.000" for s in SECONDS]), {}),
    "a format": (table(TIMES.strftime("at %H, %d of %m, %Y")), {"time_format": "at %H, %d of %m, %Y"}),
    "date and time": (table(TIMES.strftime("%Y-%m-%d\0%H:%M"), names="Date,Time"), {}),
    "date and time in halves": (table(HALVES, names="Date,Time"), {}),
    "date and hour": (table([f"{t.date()}\0{t.hour}" for t in TIMES], names="date,hour"), {}),
    "hours to 24": (table([f"{(t - pd.Timedelta('1h')).date()} {(t.hour - 1) % 24 + 1}:00" for t in TIMES]), {}),
    "year, month, day, hour": (table(TIMES.strftime("%Y\0%m\0%d\0%H"), names="year,month,day,hour"), {}),
    "milliseconds beside the clock": (table((TIMES + JITTER).astype(str)), {}),
    "blanks": (table(separator=" ").replace('"', ""), {}),
    "runs of blanks": (table(separator=" ").replace('"', "").replace(" ", "   "), {}),
    "decimal commas": (table(load=comma(2), oil=comma(1), separator=";"), {}),
    "decimal commas and tabs": (table(load=comma(2), oil=comma(1), separator="\t"), {}),
    "decimal commas in quotes": (table(load=comma(2), oil=comma(1)), {}),
    "decimal commas and blanks": (table(load=comma(2), oil=comma(1), separator=" ").replace('"', ""), {}),
    "points between thousands": (table(load=comma(2, "."), oil=comma(1), separator=";"), {}),
    "commas between thousands": (table(load=marked(",")), {}),
    "blanks between thousands": (table(load=marked(" "), separator="\t"), {}),
    "narrow blanks between thousands": (table(load=marked("\u202f")), {}),
    "apostrophes between thousands": (table(load=marked("'")), {}),
    "dollars": (table(load="${:,.2f}".format), {}),
    "euros and percents": (table(load=lambda x: comma(2, ".")(x) + " €", oil="{:.1f} %".format, separator=";"), {}),
    "units": (table(load="{:.2f} kWh".format, oil="{:.1f}°C".format), {}),
    "exponents": (table(load="{:.6e}".format), {}),
    "another minus": (table(oil=lambda x: f"{x:.1f}".replace("-", "−")), {}),
    "minus by brackets": (table(oil=lambda x: f"({-x:.1f})" if x < 0 else f"{x:.1f}"), {}),
    "no header": (table(header=False), {}),
    "no header, said": (table(header=False), {"header": False}),
    "separators behind": (behind(table(), ","), {}),
    "row names": ("\n".join(f"{i},{x}" if i else x for i, x in enumerate(table().splitlines())), {}),
    "latest first": ("\n".join([table().splitlines()[0], *table().splitlines()[:0:-1]]), {}),
    "one under another": (long_form(), {"group": "store"}),
    "Windows": (table().replace("\n", "\r\n").encode("utf-8-sig"), {}),
    "UTF-16": (table(separator="\t").encode("utf-16"), {}),
    "latin-1": (table(load="{:.2f} £".format).encode("latin-1"), {"encoding": "latin-1"}),
    "gzip": (gzip.compress(table().encode()), {}),
    "everything quoted": ("\n".join('"' + line.replace(",", '","') + '"' for line in table().splitlines()), {}),
    "a sparse table": (table().replace("\n", "\n\n"), {}),
    "zones by name": (table([f"{t} CEST" for t in TIMES + pd.Timedelta("2h")]), {}),
    "Excel's days": (table([f"{(t - pd.Timestamp('1899-12-30')) / pd.Timedelta('1D'):.9f}" for t in TIMES]), {}),
    "minus behind": (table(oil=lambda x: f"{-x:.1f}-" if x < 0 else f"{x:.1f}"), {}),
    "remarks above": ("# by hand\n# at home, in May\n" + table(), {}),
    "lines above": ("Station 5,,\n\nin Bern,,\n" + table(), {}),
    "units under the names": (table().replace("oil\n", "oil\n[UTC],kW,°C\n"), {}),
    "sums at the end": (table() + "Total,1,2\nMean:,3,4\n", {}),
    "rows numbered": ("\n".join(f"{i or 'No'},{x}" for i, x in enumerate(table().splitlines())), {}),
    "Excel": ("sep=;\n" + table(TIMES.strftime("%d.%m.%Y %H:%M"), comma(2, "."), comma(1), ";"), {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("series") / "a.csv"
    path.write_text(table())
    return series_csv(path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_training_data(variant: str, expected: Any, tmp_path: Path) -> None:
    content, options = VARIANTS[variant]
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    data = series_csv(path, **options)
    assert (data.step, data.rows, data.period) == ("h", [280, 320, 400], 24)
    assert (data.times == expected.times).all()
    assert data.mean == pytest.approx(expected.mean, rel=1e-12)
    for split in ("train", "val", "test"):
        assert len(data.splits[split]) == len(expected.splits[split])
        torch.testing.assert_close(data.splits[split].values, expected.splits[split].values, rtol=0, atol=0)


STEPS = {
    "days": ("D", "D", ["%d.%m.%Y", "%m/%d/%y", "%d %b %Y", "%Y%m%d", "%B %d, %Y", "%Y-%m-%d 00:00:00"]),
    "weeks": ("W-MON", "7D", ["%G-W%V", "%GW%V", "%G-W%V-%u", "W%V %G", "%Y-%m-%d"]),
    "months": ("MS", "MS", ["%Y-%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%y", "%Y%m", "%YM%m", "%d.%m.%Y", "%Y %b"]),
    "quarters": ("QS", "QS-JAN", ["%YQ{q}", "%Y-Q{q}", "Q{q} %Y", "{q}Q%y", "%Y-%m"]),
    "years": ("YS", "YS-JAN", ["%Y", "%d/%m/%Y", "%Y-%m-%d"]),
}


@pytest.mark.parametrize("kind", STEPS)
def test_the_same_long_steps(kind: str, tmp_path: Path) -> None:
    freq, step, forms = STEPS[kind]
    times = pd.date_range("1980-01-07" if kind == "weeks" else "1980-01-01", periods=40, freq=freq)
    for form in forms:
        cells = [time.strftime(form.replace("{q}", str(time.quarter))) for time in times]
        path = tmp_path / "a.csv"
        path.write_text("\n".join(["year,x", *(f'"{cell}",{i}' for i, cell in enumerate(cells))]))
        found = read_table(path)
        assert (found.step, found.values[:, 0].tolist()) == (step, list(range(40))), form
        assert (found.times == times.to_numpy()).all(), form

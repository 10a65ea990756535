"""Which columns hold times and series, and what is said where none does."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from torchatlas.data.series.columns import find_group, find_times
from torchatlas.data.tables import Cells, read_cells
from torchatlas.errors import UserError

DAYS = [f"2024-01-{day:02}" for day in range(1, 31)]


def cells_of(path: Path, **columns: Sequence[object]) -> Cells:
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join(",".join(map(str, row)) for row in [list(columns), *rows]) + "\n")
    return read_cells(path, header=True)


N = list(range(30))


def test_the_column_of_times_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert find_times(cells_of(path, nr=N, day=DAYS, x=N), None).name == "day"
    assert find_times(cells_of(path, first=DAYS, second=DAYS, x=N), None).name == "first"
    assert find_times(cells_of(path, first=DAYS, second=DAYS, x=N), "second").name == "second"
    unix = [1_711_324_800 + 60 * i for i in N]
    assert find_times(cells_of(path, x=N, timestamp=unix), None).name == "timestamp"
    assert find_times(cells_of(path, x=N, big=unix), None).times is None  # nothing says that these are times
    assert find_times(cells_of(path, x=N, big=unix), "big").name == "big"
    assert find_times(cells_of(path, x=N, years=[1990 + i for i in N]), None).name == "years"
    assert find_times(cells_of(path, x=N, y=N), None).times is None
    assert find_times(cells_of(path, day=DAYS, x=N), "none").name == ""
    dates, clock = [DAYS[i // 3] for i in N], [f"{8 * (i % 3)}:00" for i in N]
    assert find_times(cells_of(path, clock=clock, date=dates, x=N), None).name == ["date", "clock"]
    assert find_times(cells_of(path, date=DAYS, sunrise=clock, x=N), None).name == "date"  # each day comes once
    found = find_times(cells_of(path, x=N, YEAR=[2024] * 30, mo=[1] * 30, DY=[i + 1 for i in N]), None)
    assert found.name == ["YEAR", "mo", "DY"]
    assert found.times is not None
    assert str(found.times.stamps[-1])[:10] == "2024-01-30"


def test_tables_without_a_time_in_each_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for wrong, said in {"": "''", "soon": "'soon'", "2024-13-01": "'2024-13-01'"}.items():
        days = [*DAYS[:6], wrong, *DAYS[7:]]
        for time in ("day", None):
            message = rf"column 'day' of .* does not hold a time in every row, .*: line 8 has {said}; data\.time_format"
            with pytest.raises(UserError, match=message):
                find_times(cells_of(path, day=days, x=N), time)
    dates, clock = [DAYS[i // 3] for i in N], [f"{8 * (i % 3)}:00" for i in N]
    with pytest.raises(UserError, match=r"times of day in the column 'clock': name both, data\.time=\[date,clock\]"):
        find_times(cells_of(path, date=dates, clock=clock, x=N), "date")
    with pytest.raises(UserError, match=r"columns 'x' and 'clock' of .* do not make a time in every row"):
        find_times(cells_of(path, date=dates, clock=clock, x=N), ["x", "clock"])
    with pytest.raises(UserError, match=r"no column in which every row has a time.*data\.time=none if it has none"):
        find_times(cells_of(path, who=["me"] * 30, x=N), None)


def test_series_one_under_another_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    days, shop = [DAYS[i // 3] for i in N], [i % 3 for i in N]
    cells = cells_of(path, day=days, x=N, shop=shop, kind=["a"] * 30)
    assert find_group(cells, find_times(cells, None)) == "shop"
    cells = cells_of(path, day=days, x=N, kind=["a"] * 30)
    assert find_group(cells, find_times(cells, None)) is None  # nothing tells them apart
    cells = cells_of(path, day=[*DAYS[:29], DAYS[28]], x=N, half=[0] * 29 + [1])
    assert find_group(cells, find_times(cells, None)) is None  # one time that comes twice makes no series

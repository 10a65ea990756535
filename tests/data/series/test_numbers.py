"""Cells as numbers: what begins the decimals, marks of thousands, units."""

import logging
from pathlib import Path

import numpy as np
import pytest

from torchatlas.data.series.numbers import Written, is_numbers, read_numbers
from torchatlas.data.tables import read_cells
from torchatlas.errors import UserError


def numbers(path: Path, columns: list[list[str]], separator: str = ";", **options: object) -> list[list[float]]:
    names = [f"c{i}" for i in range(len(columns))]
    rows = [["n", *names], *((str(i), *row) for i, row in enumerate(zip(*columns, strict=True)))]
    path.write_text("\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows) + "\n")
    values, _ = read_numbers(read_cells(path), names, **options)  # type: ignore[arg-type]
    return [column.tolist() for column in values.T]


@pytest.mark.parametrize(
    ("columns", "separator", "expected"),
    [
        ([["1.003", "1.049"]], ";", [[1003, 1049]]),
        ([["1.003", "1.049"]], ",", [[1.003, 1.049]]),
        ([["1,003", "1,049"]], ",", [[1003, 1049]]),
        ([["1,003", "1,049"]], ";", [[1.003, 1.049]]),
        ([["1.003", "0.987"]], ";", [[1.003, 0.987]]),  # no thousands begin with 0
        ([["1.003", "1.5"]], ";", [[1.003, 1.5]]),
        ([["1.003", "1234"]], ";", [[1.003, 1234]]),  # thousands are not marked here
        ([["987", "1.010"]], ",", [[987, 1010]]),  # who writes three decimals would write 987.000
        ([["1.003", "1.049"], ["0,5", "1,5"]], ",", [[1003, 1049], [0.5, 1.5]]),  # the other column has commas
        ([["1.234.567", "1.234"]], ",", [[1234567, 1234]]),
        ([["1,234.5", "1.5"]], ";", [[1234.5, 1.5]]),
        ([["12,34,567.5", "1"]], ",", [[1234567.5, 1]]),  # in India
        ([["1.003", "1.049"], ["1.5", "2.5"]], ";", [[1.003, 1.049], [1.5, 2.5]]),
        ([["True", "False"]], ";", [[1, 0]]),
        ([["$5", "-$1,003.50"]], ",", [[5, -1003.5]]),
        ([["5 %", "0"]], ";", [[5, 0]]),  # 0 needs no unit
        ([["1e3", "2.5E-2"]], ";", [[1000, 0.025]]),
        ([["5.", ".5"]], ",", [[5, 0.5]]),
        ([["NA", "3"]], ",", [[np.nan, 3]]),
        ([["n/a", "-", "null", "?", "#N/A", "#NV", "Null", "--", "3"]], ",", [[*[np.nan] * 8, 3]]),
        ([["5,50-", "1.003,25"]], ";", [[-5.5, 1003.25]]),  # as SAP writes them
        ([["(5.50)", "(-2)", "+3"]], ",", [[-5.5, -2, 3]]),
    ],
)
def test_what_begins_the_decimals(
    columns: list[list[str]], separator: str, expected: list[list[float]], tmp_path: Path
) -> None:
    np.testing.assert_array_equal(numbers(tmp_path / "a.csv", columns, separator), expected)


def test_doubt_is_told_once_and_can_be_decided(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, doubtful = tmp_path / "a.csv", [["1.003", "1.049"]]
    with caplog.at_level(logging.INFO):
        numbers(path, doubtful)
    assert "1.003 is 1003: the sign in it marks thousands (data.decimal=point if it is not)" in caplog.text
    assert numbers(path, doubtful, decimal=".") == [[1.003, 1.049]]
    assert numbers(path, doubtful, known=Written({"c0": "."})) == [[1.003, 1.049]]
    assert numbers(path, doubtful, ",", known=Written({"c0": ","})) == [[1003, 1049]]
    assert numbers(path, [["1.003", "1.5"]], ",", known=Written({"c0": ","})) == [[1.003, 1.5]]  # no doubt
    caplog.clear()
    with caplog.at_level(logging.INFO):
        numbers(path, [["$5", "$6"], ["1", "2"]])
    assert "taken off the numbers: $ of c0" in caplog.text


def test_a_number_that_may_stand_for_none_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        numbers(tmp_path / "a.csv", [["-9999", "-3", "5", "-9999"], ["-99", "-98", "3", "5"]], ",")
    assert "column 'c0' is -9999 in 2 rows, far below all others" in caplog.text
    assert "(data.absent=[-9999] if it stands for no value)" in caplog.text
    assert "c1" not in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        (found,) = numbers(tmp_path / "a.csv", [["-9999", "-3", "5", "-9999"]], ",", absent=[-9999.0])
    np.testing.assert_array_equal(found, [np.nan, -3, 5, np.nan])
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "column 'c0' has no value in 2 rows, by data.absent"
    ]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["0.5", "1.5", "0,7"], r"'c0' of .* holds '0,7' in line 4, which is no number with decimals behind a point"),
        (["5 kW", "6 kW", "7 MW"], r"holds '7 MW' in line 4, which is no number in kW as the others"),
        (["5 kW", "6 kW", "7"], r"holds '7' in line 4, which is no number in kW as the others"),
        (["5", "6", "7 kW"], r"holds '7 kW' in line 4, which is no number: correct it"),
        (["5", "6", "x"], r"holds 'x' in line 4"),
        (["5", "6", "inf"], r"holds 'inf' in line 4, which is no number: correct it"),
        (["5", "6", "1e400"], r"holds '1e400' in line 4, which is no number: correct it"),
        (["5", "6", "1_000"], r"holds '1_000' in line 4"),
        (["5", "6", "(7"], r"holds '\(7' in line 4"),
        (["5", "6", "12.34.56"], r"holds '12\.34\.56' in line 4"),
        (["5", "6", "x" * 90], r"holds 'x{40}\.\.\.' in line 4"),
    ],
)
def test_cells_that_are_no_numbers(column: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        numbers(tmp_path / "a.csv", [column], ",")


def test_columns_of_numbers_and_of_words() -> None:
    assert is_numbers(["5", "6", "n.b."])
    assert is_numbers(["", "NA", "5 °C"])
    assert is_numbers(["true", "FALSE"])
    for words in (["12 Main Street", "3 High Street"], ["1st", "2nd"], ["s1", "s2"], ["A12", "A13"], ["", "NA"], []):
        assert not is_numbers(words), words

"""Tables of text: one content, stored as people store it, gives the same cells."""

import gzip
import logging
from pathlib import Path

import pytest

from torchatlas.data.tables import read_cells
from torchatlas.errors import UserError

NAMES = ["day", "Wärme, °C", "who"]
ROWS = [[f"2024-01-{i:02}", f"{i}.5", "Ann, Bo" if i % 2 else "Ü"] for i in range(1, 21)]


def quoted(cell: str, separator: str) -> str:
    return f'"{cell}"' if any(sign in cell for sign in (separator, '"', "\n", " ")) else cell


def written(separator: str = ",", end: str = "\n", behind: str = "") -> str:
    """The table as text; `behind` stands at the end of each row but the names."""
    lines = [separator.join(quoted(cell, separator) for cell in row) for row in [NAMES, *ROWS]]
    return end.join([lines[0], *(line + behind for line in lines[1:])]) + end


VARIANTS: dict[str, bytes] = {
    **{f"separator {separator!r}": written(separator).encode() for separator in ",;\t| "},
    "blanks around": written(" , ").encode(),
    "separators behind rows": written(behind=",").encode(),
    "separators behind all": written().replace("\n", ",\n").encode(),
    "Windows": written(end="\r\n").encode("utf-8-sig"),
    "old Mac": written(end="\r").encode(),
    "no end of the last line": written().rstrip().encode(),
    "blank lines": ("\n\n" + written().replace("\n", "\n\n")).encode(),
    "rows of separators at the end": (written() + ",,\n,,\n").encode(),
    "everything quoted": "\n".join(",".join(f'"{c}"' for c in row) for row in [NAMES, *ROWS]).encode(),
    "UTF-16": written("\t").encode("utf-16"),
    "UTF-32": written().encode("utf-32"),
    "Excel's line": ("sep=;\r\n" + written(";", "\r\n")).encode(),
    "remarks above": ("# made by hand\n# in May, at home\n" + written()).encode(),
    "lines above": ("Station 5;;\nin Bern\n\n" + written(";")).encode(),
    "more separators behind all": written().replace("\n", ",,,\n").encode(),
    "more separators behind rows": written(behind=",,,").encode(),
    "gzip": gzip.compress(written().encode()),
    "gzip of UTF-16": gzip.compress(written(";").encode("utf-16")),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["table.csv", "table.gz"])
def test_the_same_cells(variant: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(VARIANTS[variant])
    cells = read_cells(path, blanks=True)
    assert (cells.names, cells.header) == (NAMES, True)
    assert [cells.column(name) for name in NAMES] == [list(column) for column in zip(*ROWS, strict=True)]


def test_lines_and_places(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n\n"two\nlines, ""so""",a\n,\nlast,b\n')
    cells = read_cells(path)
    assert cells.column("text") == ['two\nlines, "so"', "last"]
    assert cells.lines.tolist() == [3, 6]
    assert cells.place(1, "label") == f"{path}, line 6, column 'label'"
    assert cells.rows([1]).column("label") == ["b"]


def test_encodings(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(written().encode("latin-1"))
    with pytest.raises(UserError, match=r"a\.csv, line 1 is no text in UTF-8: save .*, or use data\.encoding=latin-1"):
        read_cells(path)
    with pytest.raises(UserError, match=r"data\.encoding=latin-17 is unknown"):
        read_cells(path, encoding="latin-17")
    assert read_cells(path, encoding="latin-1").names == NAMES
    path.write_bytes(written().encode("utf-8-sig"))
    assert read_cells(path, encoding="latin-1").names == NAMES  # the mark counts
    path.write_bytes(written().encode("utf-16-le"))
    with pytest.raises(UserError, match=r"line 1 is no text in UTF-8.*data\.encoding=utf-16-le"):
        read_cells(path)
    assert read_cells(path, encoding="utf-16-le").names == NAMES


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("2024-01-01 00:00,5\n2024-01-01 01:00,6\n", False),
        ("0.785,0.611\n0.78,0.61\n0.79,\n", False),
        ("$5,3 %\n$6,4 %\n", False),
        ("time,5\n2024-01-01,6\n", True),
        ("date,0,1,OT\n2024-01-01,.5,3,2\n2024-01-02,.5,3,2\n", True),
        ("0,1,2\n.5,3,2\n.5,3,2\n", True),
        (",0\n2024-01-01,3\n2024-01-02,4\n", True),
        ("awful,neg\nfine,pos\nbad,neg\n", False),
        ("text,label\nfine,pos\nbad,neg\n", True),
        ('"3","Stocks fall"\n"1","Peace"\n"3","Stocks rise"\n', False),
        ("a,b\n", True),
    ],
)
def test_names_or_none(text: str, header: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with caplog.at_level(logging.INFO):
        cells = read_cells(path)
    assert cells.header is header
    assert len(cells) == text.count("\n") - header
    assert ("has no line of names: its columns are called 1 to" in caplog.text) is not header
    turned = read_cells(path, header=not header)
    assert turned.header is not header
    if not header:
        assert cells.names[0] == "1"
        with pytest.raises(UserError, match=r"no column 'load' for data\.series, whose columns have no names"):
            cells.require("load", "data.series")


def test_a_name_that_is_asked_for_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1,4\n3,5\n")
    assert not read_cells(path).header
    assert read_cells(path, expected=["4"]).names == ["1", "4"]


def test_names_in_front_twice_and_none(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text('"when" "load"\n"1" 2024-01-01 5\n"2" 2024-01-02 6\n')  # as R writes it
    cells = read_cells(path, blanks=True)
    assert (cells.names, cells.column("load")) == (["Unnamed: 0", "when", "load"], ["5", "6"])
    path.write_text("a,a,\n1,2,3\n")
    assert read_cells(path).names == ["a", "a.1", "Unnamed: 2"]


def test_quotes_that_are_signs(tmp_path: Path) -> None:
    """Tables with tabs are often written without quotes; a quote at the begin of a text then swallows no rows."""
    path = tmp_path / "a.tsv"
    rows = ['"So they say\tpos', "fine\tneg", 'said" "he\tpos', '"again\tneg']
    path.write_text("text\tlabel\n" + "\n".join(rows))
    assert read_cells(path).column("text") == ['"So they say', "fine", 'said" "he', '"again']


def test_lines_above_and_lacking_cells_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.csv"
    path.write_text("# of May\nn,a,b\n1,2,3\n2,5\n3,,7\n4\n")
    with caplog.at_level(logging.INFO):
        cells = read_cells(path, blanks=True)
    assert cells.lines.tolist() == [3, 4, 5, 6]
    assert [cells.column(name) for name in ("a", "b")] == [["2", "5", "", ""], ["3", "", "7", ""]]
    assert "left out are 1 lines above the names, from '# of May' on" in caplog.text
    assert "2 rows have fewer cells than there are columns: those at their end are empty" in caplog.text
    with pytest.raises(UserError, match="line 6: there is 1 cell under 3 columns"):  # a text that is cut in two
        read_cells(path)
    path.write_text("text,label\n# great,pos\nso so,neg\nbad,neg\n")
    assert read_cells(path).column("text") == ["# great", "so so", "bad"]
    path.write_text("#great,pos\n#bad,neg\nso so,neg\nbad,neg\n")
    assert read_cells(path, header=False).column("1") == ["#great", "#bad", "so so", "bad"]


def test_decimal_commas_under_one_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("load\n1.003,5\n7,25\n")
    assert read_cells(path, blanks=True).column("load") == ["1.003,5", "7,25"]
    path.write_text("load\n1,5\n2,25\n")  # the numbers of the rows in front
    assert read_cells(path, blanks=True).column("load") == ["5", "25"]


def test_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for content, message in {
        b"": "is empty",
        b"\n\n": "is empty",
        b"a,b\n1,2\n1,2,3\n": r"a\.csv, line 3: there are 3 cells under 2 columns: put texts",
        b"a,b\n1,2\n1\n": r"line 3: there is 1 cell under 2 columns",
        b"Report,of,May\n1,2\n1,2\n": r"line 2: there are 2 cells under 3 names: the first line must have a name",
        b"PK\x03\x04 and more": "no text but an Excel workbook",
        b"a,b\n1,\x00\n": "line 2 holds a zero byte",
        gzip.compress(b"a,b\n1,2\n" * 99)[:-12]: "packed by gzip and damaged",
        gzip.compress(b"a,b\n1,2\n" * 99)[:12]: "packed by gzip and damaged",
    }.items():
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_cells(path)
    for where in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(UserError, match=r"there is no file .*: name one with data\.path"):
            read_cells(where)

"""Tables of answers, and the files that they are written to."""

import csv
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from torchatlas.errors import UserError
from torchatlas.predict.rows import file_for, table


def test_two_commands_do_not_write_one_file(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    file.write_text("what was there before, longer than what comes")
    with table(file) as write:
        write({"file": "a", "class": "cat"})
        with pytest.raises(UserError, match="is being written by another command"), table(file) as other:
            other({"file": "b", "class": "dog"})
        write({"file": "c", "class": "cat"})
    assert list(csv.reader(file.read_text().splitlines())) == [["file", "class"], ["a", "cat"], ["c", "cat"]]
    with table(file) as write:
        write({"file": "b", "class": "dog"})
    assert list(csv.reader(file.read_text().splitlines())) == [["file", "class"], ["b", "dog"]]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_full_disk_is_named() -> None:
    said = r"/dev/full cannot be written \(No space left on device\): name another place"
    with pytest.raises(UserError, match=said), table(Path("/dev/full")) as write:
        write({"file": "a"})


def test_what_is_read_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in.csv", "set/a.PNG", "set/out.csv"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    refused = (("in.csv", "./in.csv"), (str(tmp_path / "in.csv"), "in.csv"), ("set/a.PNG", "set"), ("set/a.PNG", "."))
    for output, given in refused:
        with pytest.raises(UserError, match="is a file that is read, and would be overwritten"):
            file_for(output, given, (".png",))
    for output, given in (("set/out.csv", "set"), ("new.csv", "in.csv"), ("in.csv", "set"), ("in.csv", "x" * 5000)):
        assert file_for(output, given, (".png",)) == Path(output)


@pytest.mark.parametrize("errors", [False, True])
@pytest.mark.parametrize("order", ["aae", "eaa", "aea", "ee", "aa"])
def test_each_error_has_its_row_wherever_it_comes(order: str, errors: bool, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    given: list[dict[str, Any]] = [
        {"place": f"{i}", "error": "torn, twice"}
        if kind == "e"
        else {"place": f"{i}", "text": 'a "b"\nc', "class": "x"}
        for i, kind in enumerate(order)
    ]
    with table(path, errors=errors) as write:
        for i, row in enumerate(given):
            write(row)
            if "e" not in order[: i + 1]:
                assert len(list(csv.DictReader(StringIO(path.read_text())))) == i + 1  # at once
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["place"] for row in rows] == [row["place"] for row in given]
    for row, wanted in zip(rows, given, strict=True):
        assert {key: row.get(key) or "" for key in ("text", "class", "error")} == {
            key: wanted.get(key, "") for key in ("text", "class", "error")
        }
    assert ("error" in rows[0]) is (errors or "e" in order)

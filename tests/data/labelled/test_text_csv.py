"""A user's table of texts, and mistakes in it."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchatlas.data.labelled import text_csv
from torchatlas.errors import UserError


def table(path: Path, rows: list[list[str]], delimiter: str = ",") -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def reviews(n: int = 60) -> list[list[str]]:
    return [["id", "review", "stars"]] + [
        [str(i), f"film {i}, it is {'good' if i % 2 else 'bad'}", str(i % 2 * 10)] for i in range(n)
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_texts(tmp_path: Path, delimiter: str, compose: Callable[..., Any]) -> None:
    path = table(tmp_path / "my.csv", reviews(), delimiter)
    words = ["model=lstm", "data=text_csv", f"data.path={path}", "data.text=review", "data.label=stars"]
    assert compose(*words).data.num_classes == 2
    data = text_csv.TextCSV(
        num_classes=2, path=str(path), text="review", label="stars", share=0.2, vocab_size=200, batch_size=4
    )
    examples = data.read_examples()
    assert data.classes == ["0", "10"]  # sorted as numbers
    texts = {split: set(part.texts) for split, part in examples.items()}
    assert sum(map(len, texts.values())) == 60 == len(set.union(*texts.values()))
    for part in examples.values():
        assert all(("good" in text) == bool(label) for text, label in zip(part.texts, part.labels, strict=True))
    table(path, [*reviews(), ["60", "one more, it is good", "10"]], delimiter)
    more = data.read_examples()
    assert all(set(part.texts) <= set(more[split].texts) for split, part in examples.items())  # no other has moved
    other = text_csv.TextCSV(
        num_classes=2, path=str(path), text="review", label="stars", classes=["10", "0"], share=0.2, vocab_size=200
    )
    assert other.read_examples()["train"].labels == [1 - y for y in more["train"].labels]
    pairs = text_csv.TextCSV(
        num_classes=2, path=str(path), text="review", pair="id", label="stars", share=0.2, vocab_size=200, batch_size=4
    )
    pairs.setup()
    assert len(next(iter(pairs.train_dataloader()))) == 4


def test_lines_with_labels_and_folders(tmp_path: Path) -> None:
    for swapped in (False, True):
        lines = [(f"text number {i}", "yes" if i % 3 else "no") for i in range(30)]
        for name, part in (("train.txt", lines), ("dev.txt", lines[:5]), ("test.tsv", [])):
            (tmp_path / name).write_text("\n".join("\t".join(p[::-1] if swapped else p) for p in part))
        table(tmp_path / "test.tsv", [["label", "text"], ["no", "new"], ["yes", "newer"]], "\t")
        data = text_csv.TextCSV(num_classes=2, path=str(tmp_path), vocab_size=60)
        found = data.read_examples()
        assert data.classes == ["no", "yes"]
        assert found["train"].texts[:2] == ["text number 0", "text number 1"]
        assert {split: len(part.texts) for split, part in found.items()} == {"train": 30, "val": 5, "test": 2}
        assert found["test"].labels == [0, 1]


def test_mistakes_in_tables_of_texts(tmp_path: Path, compose: Callable[..., Any]) -> None:
    def read(rows: list[list[str]] | str, name: str = "my.csv", **columns: Any) -> None:
        path = tmp_path / name
        if isinstance(rows, str):
            path.write_text(rows)
        else:
            table(path, rows)
        text_csv.TextCSV.declare_num_classes(str(path), **columns)

    good = [["text", "label"], ["a b", "x"], ["c d", "y"], ["e f", "x"], ["g", "y"], ["h", "y"]]
    read(good)
    with pytest.raises(UserError, match=r"has no column 'txt' \(did you mean 'text'\?\)|has no column 'txt'.*text"):
        read(good, text="txt")
    with pytest.raises(UserError, match=r"has no column 'second'.*data\.pair=COLUMN"):
        read(good, pair="second")
    with pytest.raises(UserError, match=r"line 3: there are 3 cells under 2 columns: put texts .* into quotes"):
        read("text,label\na,x\nb, and c,y\n")
    with pytest.raises(UserError, match="line 2: label is empty"):
        read("text,label\na,\nb,y\n")
    with pytest.raises(UserError, match="has the label x alone: at least two are needed"):
        read("text,label\na,x\nb,x\n")
    with pytest.raises(UserError, match="has the label of no text alone"):
        read("text,label\n")
    with pytest.raises(UserError, match="6 different labels in 6 rows, so label holds no classes"):
        read([["text", "label"], *([f"t{i}", f"l{i}"] for i in range(6))])
    with pytest.raises(UserError, match="line 2: a text and its label with one tab between them"):
        read("a\tx\nb\n", "my.txt")
    with pytest.raises(UserError, match="there is no file or folder"):
        text_csv.TextCSV.declare_num_classes(str(tmp_path / "none.csv"))
    with pytest.raises(UserError, match=r"data=text_csv needs your file"):
        text_csv.TextCSV.declare_num_classes()
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"holds no train\.csv"):
        text_csv.find_files(tmp_path / "folder")
    path = table(tmp_path / "my.csv", good)
    with pytest.raises(UserError, match="too few to keep a share of"):
        text_csv.TextCSV(num_classes=2, path=str(path), vocab_size=60).read_examples()
    with pytest.raises(UserError, match="has 2 classes, not"):
        text_csv.TextCSV(num_classes=3, path=str(path), vocab_size=60).read_examples()
    with pytest.raises(UserError, match=r"my\.csv, line 2: the label 'x' is none of the classes y, z"):
        text_csv.TextCSV(num_classes=2, path=str(path), classes=["y", "z"], vocab_size=60).read_examples()

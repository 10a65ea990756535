"""A user's table of texts, and mistakes in it."""

import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

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
    with pytest.raises(UserError, match=r"has no column 'txt' for data\.text: did you mean text\?"):
        read(good, text="txt")
    with pytest.raises(UserError, match=r"has no column 'second' for data\.pair: it is one of text, label"):
        read(good, pair="second")
    with pytest.raises(UserError, match=r"line 3: there are 3 cells under 2 columns: put texts .* into quotes"):
        read("text,label\na,x\nb, and c,y\n")
    with pytest.raises(UserError, match="line 2, column 'label' is empty: fill it"):
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


def read(path: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """The classes and the examples of a file."""
    columns = {key: options[key] for key in ("text", "pair", "label", "header", "encoding") if key in options}
    size = text_csv.TextCSV.declare_num_classes(str(path), **columns)
    data = text_csv.TextCSV(num_classes=size, path=str(path), share=0.2, vocab_size=200, **options)
    examples = data.read_examples()
    return data, {split: (part.texts, part.pairs, part.labels) for split, part in examples.items()}


ROWS = [[f"film {i}, it is {'good' if i % 2 else 'bad'}", str(i % 2)] for i in range(40)]


def written(delimiter: str = ",", *, names: bool = True, labels: tuple[str, str] = ("0", "1")) -> str:
    """The rows as a table, in which everything is quoted."""
    rows = [["text", "label"]] * names + [[text, labels[int(label)]] for text, label in ROWS]
    return "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows) + "\n"


VARIANTS: dict[str, tuple[str, bytes]] = {
    "semicolons": ("my.csv", written(";").encode()),
    "tabs": ("my.tsv", written("\t").encode()),
    "packed": ("my.csv.gz", gzip.compress(written().encode())),
    "UTF-16": ("my.csv", written().encode("utf-16")),
    "separators at the ends": ("my.csv", written().replace("\n", ",\n").encode()),
    "labels as floats": ("my.csv", written(labels=("0.0", "1.0")).encode()),
    "some labels as floats": ("my.csv", written().replace(',"1"', ',"1.0"', 7).encode()),
    "labels with a sign": ("my.csv", written(labels=("-0", "+1")).encode()),
    "no names": ("my.csv", written(names=False).encode()),
    "no table": ("my.txt", "\n".join("\t".join(row) for row in ROWS).encode()),
    "no table but names": ("my.txt", "\n".join("\t".join(row) for row in [["text", "label"], *ROWS]).encode()),
    "label first": ("my.txt", "\n".join("\t".join(row[::-1]) for row in ROWS).encode()),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_table_gives_the_same_data(variant: str, tmp_path: Path) -> None:
    one = tmp_path / "one.csv"
    one.write_text(written())
    name, content = VARIANTS[variant]
    other = tmp_path / name
    other.write_bytes(content)
    (data, expected), (same, found) = read(one), read(other)
    assert data.classes == same.classes == ["0", "1"]
    assert found == expected


def test_numbers_are_one_class_in_all_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for name, labels in (("train", ("0", "1")), ("val", ("0.0", "1.0")), ("test", ("0", "1.00"))):
        (tmp_path / f"{name}.csv").write_text(written(labels=labels))
    data, found = read(tmp_path)
    assert data.classes == ["0", "1"]
    assert found["train"] == found["val"] == found["test"]
    assert "labels that are the same number are one class: 0 and 0.0 are 0, 1 and 1.0 and 1.00 are 1" in caplog.messages
    older = text_csv.TextCSV(num_classes=2, path=str(tmp_path), classes=["1.0", "0.0"], vocab_size=200)
    assert older.read_examples()["test"].labels == [1 - y for y in found["test"][2]]


def test_columns_without_names_and_joined(tmp_path: Path) -> None:
    """As AG News has them: a class, a title, a text."""
    path = tmp_path / "news.csv"
    path.write_text("".join(f'"{i % 2 + 3}","Title {i}","Text, {i}"\n' for i in range(40)))
    data, found = read(path, text="2+3", label="1")
    assert data.classes == ["3", "4"]
    assert sorted(text for part in found.values() for text in part[0])[0] == "Title 0 Text, 0"
    _, pairs = read(path, text="2", pair="3", label="1")
    assert all(
        one.replace("Title", "Text,") == other for part in pairs.values() for one, other in zip(*part[:2], strict=True)
    )
    with pytest.raises(UserError, match=r"no column 'text' for data\.text, whose columns have no names .* 1, 2, 3"):
        read(path, label="1")
    path.write_text("1,2\n" + "".join(f"a{i},{i % 2}\n" for i in range(9)))
    assert len(text_csv.read_rows(path, ("1", None, "2"), header=False).labels) == 10
    assert len(text_csv.read_rows(path, ("1", None, "2"), header=True).labels) == 9


def test_encodings(tmp_path: Path) -> None:
    for name in ("my.csv", "my.txt"):
        path = tmp_path / name
        path.write_bytes("\n".join(f"Müll {i}\t{i % 2}" for i in range(40)).encode("latin-1"))
        with pytest.raises(UserError, match=r"data\.encoding=latin-1"):
            read(path)
        _, found = read(path, encoding="latin-1")
        assert all(text.startswith("Müll") for part in found.values() for text in part[0])


def test_messages_are_short(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,label\n" + "".join(f"text {i},{'x' * 99}{i // 3}\n" for i in range(3000)))
    (tmp_path / "test.csv").write_text(f"text,label\na,{'y' * 9999}\n")
    with pytest.raises(UserError, match=r"test\.csv, line 2: the label 'y+…' is none of the classes") as caught:
        read(tmp_path)
    assert len(str(caught.value)) < 900
    with pytest.raises(UserError) as caught:
        read(path, text="other")
    assert len(str(caught.value)) < 300


# --- a user's files


@pytest.fixture
def trained(tmp_path: Path) -> text_csv.TextCSV:
    """Data of the rows above, as a run leaves them."""
    path = tmp_path / "train.csv"
    path.write_text(written(labels=("neg", "pos")))
    data, _ = read(path)
    data.setup()
    return data


def given(data: text_csv.TextCSV, path: Path, content: str) -> list[tuple[str, str]]:
    path.write_text(content)
    found = data.read(str(path))
    assert len(found) == len(found.about)
    return [(row["place"].removeprefix(str(path)), row["text"]) for row in found.about]


def test_a_table_is_read_as_in_training(trained: text_csv.TextCSV, tmp_path: Path) -> None:
    """Its columns are found by their names, the label may be missing, and a quoted cell is one text."""
    table = 'id,text,label\n7,"good, indeed",pos\n8,"two\nlines",neg\n9,last,pos\n'
    texts = [(":2", "good, indeed"), (":3", "two\nlines"), (":5", "last")]
    assert given(trained, tmp_path / "new.csv", table) == texts
    assert given(trained, tmp_path / "new.csv", 'text\n"good, indeed"\n"two\nlines"\nlast\n') == texts
    assert given(trained, tmp_path / "new.tsv", 'label\ttext\n\tgood, indeed\n\t"two\nlines"\n\tlast\n') == texts
    alone = [(":1", "good one"), (":2", "bad one"), (":3", "last one")]
    assert given(trained, tmp_path / "new.csv", "good one\nbad one\nlast one\n") == alone
    assert given(trained, tmp_path / "new.csv", "good one,pos\nbad one,neg\nlast one,pos\n") == alone
    assert given(trained, tmp_path / "new.txt", "good one\tpos\nbad one\tneg\nlast one\tpos\n") == alone
    assert given(trained, tmp_path / "new.txt", "pos\tgood one\nneg\tbad one\npos\tlast one\n") == alone
    assert given(trained, tmp_path / "new.txt", "good one\nbad one\nlast one\n") == alone
    with pytest.raises(UserError, match=r"new\.csv has no column 'text' for data\.text.*did you mean texts"):
        given(trained, tmp_path / "new.csv", "texts,label\na,pos\n")
    with pytest.raises(UserError, match="line 2, column 'text' is empty"):
        given(trained, tmp_path / "new.csv", "text,label\n,pos\n,neg\n")
    rows = trained.read("one that was typed")
    assert rows.about == [{"place": "", "text": "one that was typed"}]


def test_a_row_without_a_text_keeps_no_other_from_being_answered(trained: text_csv.TextCSV, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    assert given(trained, path, "text,label\ngood,pos\n,neg\nbad,neg\n") == [(":2", "good"), (":4", "bad")]
    (wrong,) = trained.read(str(path)).unread
    assert wrong["place"] == f"{path}:3"
    assert wrong["error"] == f"{path}, line 3, column 'text' is empty: fill it, or leave the row out"


def test_a_pair_that_is_none_keeps_no_other_from_being_answered(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    rows = [f"word{i},word{i % 5},{'pn'[i % 2]}" for i in range(60)]
    path.write_text("\n".join(["one,two,label", *rows]) + "\n")
    data, _ = read(path, text="one", pair="two")
    data.setup()
    new = tmp_path / "new.txt"
    new.write_text("word1\tword2\nword3\n\nword4\tword5\n")
    found = data.read(str(new))
    assert [row["text"] for row in found.about] == ["word1\tword2", "word4\tword5"]
    assert [row["place"] for row in found.unread] == [f"{new}:2"]
    assert "two texts with one tab between them are expected" in found.unread[0]["error"]
    new = tmp_path / "new.csv"
    new.write_text("one,two\nword1,word2\nword3,\n")
    found = data.read(str(new))
    assert [row["text"] for row in found.about] == ["word1\tword2"]
    assert "line 3, column 'two' is empty" in found.unread[0]["error"]
    with pytest.raises(UserError, match="'word1 word2': two texts with one tab between them are expected"):
        data.read("word1 word2")


def test_classes_that_may_be_one_or_none_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "train.csv"
    labels = ["yes", "Yes", "no", "NA", "True", "1"]
    path.write_text("text,label\n" + "".join(f"word{i},{labels[i % 6]}\n" for i in range(120)))
    with caplog.at_level("WARNING"):
        data, _ = read(path)
    assert sorted(data.classes) == sorted(labels)
    assert "NA is a class like the others" in caplog.text
    assert "1 and True, Yes and yes are different classes" in caplog.text
    caplog.clear()
    path.write_text("text,label\n" + "".join(f"word{i},{i % 2}\n" for i in range(120)))
    with caplog.at_level("WARNING"):
        read(path)
    assert not caplog.text


def test_lines_of_the_log_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "train.csv"
    path.write_text("# of May\ntext,n,label\n" + "".join(f"word{i},{i},{'pn'[i % 2]}\n" for i in range(120)))
    with caplog.at_level("INFO"):
        assert text_csv.TextCSV.declare_num_classes(path=str(path)) == 2
        read(path)
    assert caplog.text.count("lines above the names") == 1


def test_tokens_of_a_table_are_those_of_training(trained: text_csv.TextCSV, tmp_path: Path) -> None:
    path = tmp_path / "again.csv"
    path.write_text(written(labels=("neg", "pos")))
    found = trained.read(str(path))
    splits: Any = trained.splits
    tokens = {tuple(row) for row in (found.samples[-1, torch.tensor([i])][0][0].tolist() for i in range(len(found)))}
    known = {
        tuple(part[-1, torch.tensor([i])][0][0].tolist()) for part in splits.values() for i in range(len(part.labels))
    }
    assert tokens == known

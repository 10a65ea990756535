"""What is said of a user's texts: classes, tags, answers."""

import csv
import io
import json
from pathlib import Path

import pytest
import torch
from helpers import Train
from helpers.labelled import squad_file

from torchatlas.commands.evaluate import evaluate
from torchatlas.commands.predict import predict
from torchatlas.data.labelled import squad
from torchatlas.data.labelled.conll import IGNORED, Conll
from torchatlas.errors import UserError
from torchatlas.explain.texts import look
from torchatlas.predict.texts import find_entities, rows_of_tags
from torchatlas.run.restore import reader, restore
from torchatlas.tasks.token_classification import TokenClassification


def run(train: Train, *words: str) -> Path:
    return train(
        "trainer=cpu", "logger=none", "data.fake=true", "optim.lr=0.003", "model.length=8", "data.max_length=16",
        "trainer.check_val_every_n_epoch=20", "callbacks.threads.number=1", *words,
    )  # fmt: skip


BERT_SIZES = (
    "model=bert_tiny",
    "model.dim=32",
    "model.depth=1",
    "model.heads=2",
    "model.max_length=32",
    "model.dropout=0.0",
)


def last(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.json").read_text())["test"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("network", ["lstm", "bert"])
def test_a_classifier_of_texts(train: Train, network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("model=lstm", "model.dim=32") if network == "lstm" else BERT_SIZES
    folder = run(
        train, *sizes, "task=classification", "data=text_csv", "data.batch_size=64", "duration=80ep"
    )  # fmt: skip
    figures = last(folder)
    assert figures["test/accuracy"] > 0.55 > 0.4 > figures["test/majority_accuracy"]
    assert {"test/macro_f1", "test/matthews_correlation", "test/bag_of_words_accuracy"} <= set(figures)
    evaluated = evaluate(str(folder), "test")
    assert evaluated["test/accuracy"] == pytest.approx(figures["test/accuracy"])
    assert "val/bag_of_words_accuracy" in evaluate(str(folder), "val")
    (tmp_path / "my.txt").write_text("ba bi class0ba bu\n\nba bi class2ba bu\n")
    capsys.readouterr()
    predict(str(folder), str(tmp_path / "my.txt"), str(tmp_path / "out.csv"), top=2)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [row["place"][-2:] for row in rows] == [":1", ":3"]
    assert [row["class_1"] for row in rows] == ["class0", "class2"]
    for row in rows:
        assert float(row["probability_1"]) > float(row["probability_2"]) >= 0
    table = tmp_path / "my.csv"  # as training has them; the labels say nothing
    table.write_text('id,text,label\n7,"ba bi class0ba, bu",x\n8,"ba\nclass2ba bu",\n')
    predict(str(folder), str(table), str(tmp_path / "out.csv"))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [(row["text"], row["class"]) for row in rows] == [
        ("ba bi class0ba, bu", "class0"), ("ba\nclass2ba bu", "class2"),
    ]  # fmt: skip
    if network == "bert":
        _, task, about = restore(str(folder))
        seen, _ = look(task, about, str(table)).names["self"]
        assert seen[1:4] == ["ba", "bi", "class0ba"]
    predict(str(folder), "ba class1ba")
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["class"] == "class1"
    with pytest.raises(UserError, match="there is no file or folder nowhere"):
        predict(str(folder), "nowhere")
    with pytest.raises(UserError, match="top=4 must be from 1 to the 3 classes"):
        predict(str(folder), "ba class1ba", top=4)


def test_a_tagger(train: Train, tmp_path: Path) -> None:
    folder = run(
        train, *BERT_SIZES, "task=token_classification", "data=conll", "data.batch_size=32", "duration=80ep",
        "task.monitor=f1",
    )  # fmt: skip
    figures = last(folder)
    assert figures["test/f1"] > 0.8
    assert figures["test/usual_tag_f1"] > 0.8  # each made word has one tag
    assert evaluate(str(folder), "test")["test/f1"] == pytest.approx(figures["test/f1"])
    _, task, about = restore(str(folder))
    assert about["data"]["classes"][2] == "B-ORG"
    data = reader(about)
    assert isinstance(task, TokenClassification)
    assert isinstance(data, Conll)
    rows = list(find_entities(task, data, "boba guba biba"))
    assert all({"text", "entity", "kind", "probability"} <= set(row) for row in rows)
    # A text that is longer than an input is read in pieces, and each word is judged in one of them.
    (tmp_path / "long.txt").write_text("boba guba\n" + " ".join(["boba"] * 40) + "\n")
    pieces = data.read(str(tmp_path / "long.txt"))
    assert pieces.texts[:2] == [0, 1]
    assert pieces.texts[-1] == 1
    judged = [int((labels != IGNORED).sum()) for *_, labels in pieces]
    assert (judged[0], sum(judged[1:]), max(judged) < 15) == (2, 40, True)
    assert {row["place"][-2:] for row in find_entities(task, data, str(tmp_path / "long.txt"))} == {":1", ":2"}


def test_words_and_their_tags() -> None:
    """Where tags are of no entities each word has its own; an entity is as certain as its least certain word."""
    tags, certain = torch.tensor([0, 1, 2]), torch.tensor([0.9, 0.5, 0.75])
    words = [(0, 3), (4, 6), (6, 7)]
    assert rows_of_tags("New to.", words, tags, certain, ["ADJ", "ADP", "."]) == [
        {"word": "New", "tag": "ADJ", "probability": 0.9},
        {"word": "to", "tag": "ADP", "probability": 0.5},
        {"word": ".", "tag": ".", "probability": 0.75},
    ]
    assert rows_of_tags("New to.", words, tags, certain, ["B-LOC", "I-LOC", "O"]) == [
        {"entity": "New to", "kind": "LOC", "probability": 0.5}
    ]


def test_a_reader_of_questions(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(
        train, *BERT_SIZES, "task=span", "data=squad", "data.batch_size=32", "duration=80ep", "task.monitor=f1",
    )  # fmt: skip
    figures = last(folder)
    assert figures["test/exact_match"] > 0.8
    assert figures["test/f1"] >= figures["test/exact_match"]
    assert evaluate(str(folder), "test")["test/f1"] == pytest.approx(figures["test/f1"])
    long = " ".join(["ba bi"] * 10 + ["answerbe"] + ["bo bu"] * 10)  # in several windows
    (tmp_path / "asked.txt").write_text(f"where\tba bi answerba bo\nwhere\t{long}\n")
    capsys.readouterr()
    predict(str(folder), str(tmp_path / "asked.txt"))
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["answer"] for row in rows] == ["answerba", "answerbe"]
    squad_file(tmp_path / "asked.json", [squad.Question("where", "ba answerbi bo", [], [])])
    predict(str(folder), str(tmp_path / "asked.json"))
    assert json.loads(capsys.readouterr().out)["answer"] == "answerbi"
    with pytest.raises(UserError, match="a question and its text with one tab"):
        predict(str(folder), "no tab here")

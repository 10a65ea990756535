"""`predict` needs nothing but the checkpoint."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Train
from PIL import Image
from rich.console import Console
from sklearn.datasets import load_digits

from torchatlas.tasks.classification import Classification

Terminal = Callable[..., tuple[str, str]]


def test_predict_images(trained_digits: Path, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real digits as picture files, some enlarged and in colour: most are read right."""
    pictures, labels = load_digits(return_X_y=True)
    (tmp_path / "images").mkdir()
    for i in range(30):
        image = Image.fromarray(np.round(pictures[i].reshape(8, 8) * 255 / 16).astype(np.uint8))
        if i % 2:
            image = image.resize((24, 24), Image.Resampling.BICUBIC).convert("RGB")
        image.save(tmp_path / "images" / f"{i:02}.png")
    capsys.readouterr()
    command(
        "predict", f"ckpt={trained_digits}", f"input={tmp_path / 'images'}", f"output={tmp_path / 'out.csv'}", "top=2"
    )
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [r["class_1"] for r in rows] == [r["class_1"] for r in printed]
    assert sum(int(r["class_1"]) == y for r, y in zip(rows, labels[:30], strict=True)) >= 25
    assert all(float(r["probability_1"]) >= float(r["probability_2"]) for r in rows)


def test_a_torn_file_keeps_no_other_from_being_answered(
    trained_digits: Path, terminal: Terminal, tmp_path: Path
) -> None:
    pictures = load_digits(return_X_y=True)[0][:70].reshape(-1, 8, 8)
    (tmp_path / "set").mkdir()
    for i, pixels in enumerate(pictures):
        Image.fromarray(np.round(pixels * 255 / 16).astype(np.uint8)).save(tmp_path / "set" / f"{i:02}.png")
    words = ("predict", f"ckpt={trained_digits}", f"input={tmp_path / 'set'}")
    whole, _ = terminal(*words, f"output={tmp_path / 'whole.csv'}")
    expected = [json.loads(line) for line in whole.splitlines()]
    for torn in ("00.png", "30.png"):
        (tmp_path / "set" / torn).write_bytes(b"torn")
    (tmp_path / "set" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "set" / ".ipynb_checkpoints" / "01.png").write_bytes(b"torn")
    file = tmp_path / "new" / "deep" / "out.csv"  # folders are made
    out, err = terminal(*words, f"output={file}", status=1)
    printed = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert len(printed) == len(rows) == 70
    for i, (was, line, row) in enumerate(zip(expected, printed, rows, strict=True)):
        assert line["file"] == row["file"] == was["file"]
        if i in (0, 30):
            assert "cannot be read as an image" in line["error"]
            assert row["error"] == line["error"]
            assert row["class"] == ""
        else:
            assert (line["class"], row["class"], row["error"]) == (was["class"], was["class"], "")
            assert line["probability"] == pytest.approx(was["probability"], abs=1e-5)
    assert "torchatlas: 2 of 70 could not be answered, see error" in err
    assert f"of {tmp_path / 'set'} left out are 1 hidden files and folders (.ipynb_checkpoints)" in out + err
    assert next(csv.reader((tmp_path / "whole.csv").read_text().splitlines())) == [
        "file",
        "class",
        "probability",
        "error",
    ]
    terminal(*words[:2], f"input={tmp_path / 'set' / '01.png'}", f"output={file}")
    assert next(csv.reader(file.read_text().splitlines())) == [
        "file",
        "class",
        "probability",
    ]  # of one file there is no such column
    for path in (tmp_path / "set").glob("*.png"):
        path.write_bytes(b"torn")
    terminal(*words, f"output={file}", status=1)
    assert len(file.read_text().splitlines()) == 71


def test_answers_are_written_as_they_come(
    trained_digits: Path, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stops the command keeps what there was; and a mistake takes nothing from an earlier file."""
    for i in range(130):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i:03}.png")
    file = tmp_path / "out.csv"
    words = ("predict", f"ckpt={trained_digits}", f"input={tmp_path}", f"output={file}")
    command(*words)
    before = file.read_text()
    with pytest.raises(SystemExit):
        command(*words, "top=11")
    assert file.read_text() == before
    predict, done = Classification.predict, []

    def killed(*arguments: Any) -> Any:
        done.append(file.read_text() if done else "")
        if len(done) == 3:
            raise KeyboardInterrupt
        return predict(*arguments)

    monkeypatch.setattr(Classification, "predict", killed)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        command(*words)
    assert [len(text.splitlines()) for text in done] == [0, 65, 129]
    assert file.read_text() == done[-1]
    assert before.startswith(done[-1])


def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    trained_digits: Path, terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Classification, "predict", lambda *_: pytest.fail("it has begun"))
    words = ("predict", f"ckpt={trained_digits}", f"input={tmp_path / 'a.png'}")
    for output, sentence in (
        (tmp_path / "a.png" / "out.csv", f"{tmp_path / 'a.png'} cannot be written ("),
        (tmp_path, f"output={tmp_path} is a folder: name a file in it, as in output={tmp_path / 'output'}"),
    ):
        assert sentence in terminal(*words, f"output={output}", status=2)[1]


def test_predict_text(train: Train, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("model=lstm_lm", "debug=one_batch", "trainer=cpu", "model.dim=8", "logger=none", "callbacks=default")
    (tmp_path / "a.txt").write_text("The quick brown fox jumps over the lazy dog. " * 10)
    capsys.readouterr()
    command("predict", f"ckpt={folder}", f"input={tmp_path / 'a.txt'}", "length=30")
    row = json.loads(capsys.readouterr().out)
    assert row["characters"] == 450
    assert len(row["continuation"]) == 30
    assert 5 < row["bits_per_character"] < 8  # one batch of training: near log2 104
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("The quick brown fox.")
    (texts / "b.txt").write_bytes(b"\xff torn")
    (texts / "c.txt").write_text("x")
    (texts / "d.txt").write_text("The lazy dog.")
    with pytest.raises(SystemExit) as caught:
        command("predict", f"ckpt={folder}", f"input={texts}", "length=3", f"output={tmp_path / 'out.csv'}")
    assert caught.value.code == 1
    rows = {Path(r["file"]).name: r for r in csv.DictReader((tmp_path / "out.csv").read_text().splitlines())}
    assert {name: bool(row["bits_per_character"]) for name, row in rows.items()} == {
        "a.txt": True, "b.txt": False, "c.txt": False, "d.txt": True,
    }  # fmt: skip
    assert "is no UTF-8 text" in rows["b.txt"]["error"]
    assert "has 1 characters where at least 2" in rows["c.txt"]["error"]


def test_predictions_in_a_terminal_keep_their_brackets(
    trained_digits: Path,
    command: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rich.get_console", lambda: Console(force_terminal=True, width=200))
    Image.new("L", (8, 8)).save(tmp_path / "a[bold][red].png")
    command("predict", f"ckpt={trained_digits}", f"input={tmp_path / 'a[bold][red].png'}")
    assert "a[bold][red].png" in capsys.readouterr().out


def test_mistakes_with_a_checkpoint(
    trained_digits: Path, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    for arguments, expected in (
        (["evaluate", f"ckpt={trained_digits}", "split=tset"], "did you mean test"),
        (["predict", f"ckpt={trained_digits}", "input=nowhere"], "there is no file or folder nowhere"),
        (["predict", f"ckpt={trained_digits}", f"input={tmp_path / 'empty'}"], "holds no file that ends in"),
        (
            ["predict", f"ckpt={trained_digits}", f"input={tmp_path / 'text.png'}"],
            "text.png cannot be read as an image",
        ),
        (
            ["predict", f"ckpt={trained_digits}", f"input={tmp_path}", "top=11"],
            "top=11 must be from 1 to the 10 classes",
        ),
        (["predict", f"ckpt={trained_digits}", f"input={tmp_path}", "top=many"], "top=many must be a whole number"),
        (
            ["predict", f"ckpt={trained_digits}", f"input={tmp_path}", "tile=1024"],
            "tile=1024 does nothing for image data and the task classification, for which predict takes top, tta, "
            "mc_samples and seed: leave it out",
        ),
    ):
        with pytest.raises(SystemExit):
            command(*arguments)
        assert expected in capsys.readouterr().err

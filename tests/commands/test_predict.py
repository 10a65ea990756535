"""`predict` needs nothing but the checkpoint."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Train
from PIL import Image
from rich.console import Console
from sklearn.datasets import load_digits


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


def test_predict_text(train: Train, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("model=lstm_lm", "debug=one_batch", "trainer=cpu", "model.dim=8", "logger=none", "callbacks=default")
    (tmp_path / "a.txt").write_text("The quick brown fox jumps over the lazy dog. " * 10)
    capsys.readouterr()
    command("predict", f"ckpt={folder}", f"input={tmp_path / 'a.txt'}", "length=30")
    row = json.loads(capsys.readouterr().out)
    assert row["characters"] == 450
    assert len(row["continuation"]) == 30
    assert 5 < row["bits_per_character"] < 8  # one batch of training: near log2 104


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

"""`evaluate` needs nothing but the checkpoint."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from helpers import Train
from helpers.runs import FOLDER, make_folder

from torchatlas.storage.checkpoints import read


def test_evaluate_repeats_the_runs_test_figures(trained_digits: Path, command: Any, tmp_path: Path) -> None:
    (trained_digits / "config.yaml").unlink()  # the checkpoint is enough
    command("evaluate", f"ckpt={trained_digits}", f"output={tmp_path / 'figures.json'}")
    figures = json.loads((tmp_path / "figures.json").read_text())
    expected = json.loads((trained_digits / "metrics.json").read_text())
    assert {k: figures[k] for k in expected["test"]} == expected["test"]
    command(
        "evaluate",
        f"ckpt={trained_digits / 'checkpoints' / 'best.ckpt'}",
        "split=val",
        f"output={tmp_path / 'val.json'}",
    )
    val = json.loads((tmp_path / "val.json").read_text())
    assert val["val/loss"] == pytest.approx(expected["best"]["val/loss"], rel=1e-5)


def test_an_image_folder_run_carries_its_classes_and_statistics(train: Train, command: Any, tmp_path: Path) -> None:
    make_folder(tmp_path / "set")
    folder = train("model=mlp", *FOLDER, f"data.root={tmp_path / 'set'}", "trainer.max_epochs=10")
    about = read(folder / "checkpoints" / "best.ckpt")["torchatlas"]["data"]
    assert about["classes"] == ["dark", "light"]
    assert about["mean"] != [0.5] * 3
    moved = tmp_path / "moved"
    (tmp_path / "set").rename(moved)
    command("evaluate", f"ckpt={folder}", f"data.root={moved}", f"output={tmp_path / 'figures.json'}")
    assert json.loads((tmp_path / "figures.json").read_text())["test/accuracy"] == 1
    command("predict", f"ckpt={folder}", f"input={moved / 'light' / '3.png'}", f"output={tmp_path / 'out.csv'}")
    assert next(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))["class"] == "light"

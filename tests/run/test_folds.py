"""Cross-validation: a run for each fold, resumable, with what they say of samples that they have not trained on."""

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers import Train
from helpers.runs import FOLDER, make_folder, metrics

from torchatlas.run.seeds import interval

TINY = ("trainer=cpu", "callbacks=default", "logger=none", "trainer.max_epochs=1")


def table_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_cross_validation(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of files, stopped in the second fold and typed again: figures, predictions of all, and no group in two folds."""
    from torchatlas import train as program

    real, executed = program.execute, list[Any]()
    make_folder(tmp_path / "set")

    def stops_at_the_second(asked: Any, *rest: Any, **more: Any) -> Any:
        executed.append(asked.config.data._fold_.number)
        if executed == [1, 2]:
            raise KeyboardInterrupt
        return real(asked, *rest, **more)

    monkeypatch.setattr(program, "execute", stops_at_the_second)
    data = ("model=mlp", "model.widths=[8]", *FOLDER, f"data.root={tmp_path / 'set'}", "trainer.max_epochs=1")
    line = [*data, "folds=3", "folds_group='(\\d)\\.png'", "resume=auto"]
    with pytest.raises(SystemExit):
        train(*line)
    train(*line)
    assert executed == [1, 2, 2, 3]
    (series,) = {path.parent for path in tmp_path.rglob("folds.json")}
    rows = table_of(series)
    parts = [json.loads((series / f"fold-{k}" / "data.json").read_text()) for k in (1, 2, 3)]
    assert parts[0]["mean"] != parts[1]["mean"]  # statistics are those of each fold's own training images
    assert [int(row["sample"]) for row in rows] == list(range(len(rows)))
    assert len({row["file"] for row in rows}) == len(rows)
    folds_of: dict[str, set[str]] = {}
    for row in rows:
        assert row["label"] == row["file"].split("/")[0]
        folds_of.setdefault(row["file"][-5], set()).add(row["fold"])
    assert all(len(folds) == 1 for folds in folds_of.values())
    for k in (1, 2, 3):
        own = [row for row in rows if row["fold"] == str(k)]
        right = sum(row["label"] == row["class"] for row in own) / len(own)
        assert right == pytest.approx(metrics(series / f"fold-{k}")["best"]["val/accuracy"], abs=1e-6)
    figure = json.loads((series / "folds.json").read_text())["figures"]["val/accuracy"]
    mean, deviation, half = interval(figure["values"], overlap=1 / 2)
    assert figure["interval"] == pytest.approx([mean - half, mean + half])
    assert half == pytest.approx(4.302653 * deviation * math.sqrt(1 / 3 + 1 / 2), rel=1e-5)
    capsys.readouterr()
    train(*line)
    assert executed == [1, 2, 2, 3]
    assert "has come to its end" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        train(f"resume={series}", "folds=4")
    shutil.rmtree(series / "fold-3")  # and a sample has gone meanwhile
    next((tmp_path / "set" / "dark").iterdir()).unlink()
    with pytest.raises(SystemExit):
        train(f"resume={series}")
    assert "the data are not those that were divided" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("folds=1",), "folds=1 must be a whole number from 2"),
        (("folds=3", "seeds=2"), "cannot be had at once"),
        (("folds=2", "folds_group=folder"), "is for files and texts, and these data have no names"),
        (
            ("folds=2", "model=n_linear", "data=weather", "data.fake=true"),
            "what comes later in a series must not be learnt from",
        ),
        (("folds=2", "model=unet_same", "data=digit_scenes"), "for data with a class for each sample"),
        (("folds=2", "callbacks.record=null"), "callbacks.record"),
        (("folds=1000",), "folds=1000 is more than the"),
    ],
)
def test_what_cannot_be_divided(
    words: tuple[str, ...], said: str, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        train(*TINY, *words)
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/*/*"))

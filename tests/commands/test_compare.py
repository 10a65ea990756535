"""`torchatlas compare`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.folders import make_run
from PIL import Image

from torchatlas.drawing.curves import sparkline

Command = Callable[..., None]


def with_epochs(folder: Path, **figures: list[float]) -> Path:
    lines = [dict(zip(figures, values, strict=True)) for values in zip(*figures.values(), strict=True)]
    named = [
        {"epoch": i + 1} | {key.replace("_", "/", 1): v for key, v in line.items()} for i, line in enumerate(lines)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in named))
    return folder


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    a = make_run(Path("runs/a"), config={"optim": {"lr": 0.1, "momentum": 0.9}, "model": {"_target_": "x.y.MLP"}})
    b = make_run(
        Path("runs/b"), config={"optim": {"lr": 0.02, "momentum": 0.9}, "model": {"_target_": "x.y.LeNet5"}},
        best={"val/accuracy": 0.9}, test={"test/accuracy": 0.25}, parameters=1000, used={"seconds_per_step": 0.01},
    )  # fmt: skip
    with_epochs(a, val_accuracy=[0.5, 0.75], val_loss=[2.0, 1.0])
    with_epochs(b, val_accuracy=[0.1, 0.9], val_loss=[3.0, 0.5])
    return [str(a), str(b)]


def lines_of(command: Command, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, list[str]]:
    """What is printed, by the first word of the line."""
    command("compare", *words)
    return {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}


def test_side_by_side(two: list[str], command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    found = lines_of(command, capsys, *two, "output=pictures/curves.png")
    assert found["optim.lr"] == ["optim.lr", "0.1", "0.02"]
    assert found["model._target_"] == ["model._target_", "MLP", "LeNet5"]
    assert "optim.momentum" not in found
    assert found["val/accuracy"] == ["val/accuracy", "0.75", "0.9", "*"]
    assert found["test/accuracy"] == ["test/accuracy", "0.5", "*", "0.25"]
    assert "time" in found
    with Image.open("pictures/curves.png") as picture:
        assert picture.size[0] > 500
    assert lines_of(command, capsys, "runs")["optim.lr"] == found["optim.lr"]  # all runs of a folder
    assert lines_of(command, capsys, two[0], "runs")["optim.lr"] == found["optim.lr"]  # each once


def test_figures_of_a_network_of_ones_own(two: list[str], command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Task and data say which figures are shares, and which of them are better, whoever wrote the network."""
    for folder in two:
        path = Path(folder) / "config.yaml"
        task, data = "torchatlas.tasks.classification.Classification", "torchatlas.data.images.digits.Digits"
        config = yaml.safe_load(path.read_text()) | {"task": {"_target_": task}, "data": {"_target_": data}}
        path.write_text(yaml.safe_dump(config))
    assert lines_of(command, capsys, *two)["test/accuracy"][1:] == ["50.00", "%", "*", "25.00", "%"]


def test_stopped_runs_series_and_other_tasks(
    two: list[str], command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a run has not is left empty, and figures of other tasks are not compared."""
    make_run(Path("runs/c"))
    Path("runs/c/metrics.json").unlink()
    loss: dict[str, Any] = {"monitor": "val/bits", "best": {"val/bits": 1.5}, "test": {}}
    with_epochs(make_run(Path("runs/d"), **loss), val_bits=[2.0, 1.5])
    series = make_run(Path("runs/e"), config={"seeds": 2, "seed": 0})
    figures = {"val/accuracy": {"mean": 0.95}}
    (series / "seeds.json").write_text(json.dumps({"seeds": [0, 1], "figures": figures}))
    for seed in (0, 1):
        with_epochs(make_run(series / f"seed-{seed}"), val_accuracy=[0.4, 0.95])
    found = lines_of(command, capsys, "runs")
    assert found["val/accuracy"] == ["val/accuracy", "0.75", "0.9", "0.95", "*"]
    assert found["val/bits"] == ["val/bits", "1.5"]


def test_a_terminal_of_80_columns(
    two: list[str], command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"data": {"root": "/a/very/long/folder" * 9}, "a" * 60: {"b" * 60: 1}}
    for i in range(5):
        with_epochs(make_run(Path(f"runs/{i}"), config=config), val_accuracy=[0.1] * 200)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    command("compare", "runs")
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("runs/a",), "at least two runs and got 1"),
        (("runs/a", "runs/a"), "at least two runs and got 1"),
        ((), "at least two runs and got 0"),
        (("runs/a", "none"), "there is no run none"),
        (("runs/a", "empty"), "empty holds no run"),
        (("runs/a", "runs/b", "outptu=x.png"), "there is no key 'outptu': did you mean output?"),
    ],
)
def test_mistakes(
    words: tuple[str, ...], said: str, two: list[str], command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    with pytest.raises(SystemExit) as exit_:
        command("compare", *words)
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


def test_sparkline() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 0, 7, 50) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 0, 7, 7], 0, 7, 2) == "▁█"
    assert sparkline([0, None, 7], 0, 7, 3, blocks=False) == "_ #"
    assert len(sparkline([1.0] * 1000, 1, 1, 50)) == 50

"""`torchatlas runs`."""

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.folders import make_run

Command = Callable[..., None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    top = tmp_path / "runs"
    make_run(top / "mlp-digits" / "one", "2026-01-02", config={"optim": {"lr": 0.1}})
    make_run(top / "mlp-digits" / "two", "2026-01-01", config={"optim": {"lr": 0.02}}, best={"val/accuracy": 0.9})
    loss = {"monitor": "val/loss", "best": {"val/loss": 1.5}, "test": {}}
    make_run(top / "lstm-pydoc" / "three", "2026-01-03", config={"name": "lstm-pydoc", "optim": {"lr": 1e-3}}, **loss)
    return top


def shown(command: Command, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    command("runs", *words)
    return [line.split()[0].rpartition("/")[2] for line in capsys.readouterr().out.splitlines()[1:]]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), ["two", "one", "three"]),
        (("reverse=true",), ["three", "one", "two"]),
        (("sort=best",), ["two", "one", "three"]),
        (("sort=optim.lr",), ["three", "two", "one"]),
        (("filter=state=finished",), ["two", "one"]),
        (("filter=state!=finished",), ["three"]),
        (("filter=optim.lr<=.02,name=mlp*",), ["two"]),
        (("filter=optim.lr=1e-1",), ["one"]),
        (("filter=best>0.8",), ["two", "three"]),
        (("filter=lstm",), ["three"]),
        (("runs/mlp-digits", "--sort", "test"), ["two", "one"]),
    ],
)
def test_order_and_choice(
    words: tuple[str, ...], names: list[str], folder: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(command, capsys, *words) == names


def test_the_table_and_its_file(folder: Path, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    command("runs", "output=tables/runs.csv")
    head, two, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "state", "epochs", "figure", "best", "test", "time", "size"]
    assert two.split()[:7] == ["mlp-digits/two", "finished", "2/2", "accuracy", "0.9", "0.5", "00:03"]
    with Path("tables/runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["mlp-digits/two", "mlp-digits/one", "lstm-pydoc/three"]
    assert rows[0]["command"] == "python train.py model=mlp"


def test_a_terminal_of_80_columns(
    folder: Path, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders that do not fit stand on lines of their own, whole, so that they can be copied."""
    long = make_run(folder / ("vision_transformer" * 5) / "2026-11-30_21-14-51", monitor="val/" + "very_long_name" * 4)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    command("runs")
    lines = capsys.readouterr().out.splitlines()
    assert str(long.relative_to(folder)) in lines
    assert max(len(line) for line in lines if "/2026" not in line) <= 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("none",), "there is no folder none"),
        (("sort=bst",), "did you mean best"),
        (("filter=optim.lrr>1",), "did you mean optim.lr?"),
        (("filter=best>high",), "compares with 'high', which is no number"),
    ],
)
def test_mistakes(
    words: tuple[str, ...], said: str, folder: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        command("runs", *words)
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


def test_an_empty_folder(tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    command("runs", str(tmp_path))
    assert "there is no such run" in capsys.readouterr().out


def test_without_torch(folder: Path) -> None:
    program = "import sys; from torchatlas import cli; cli.run(['runs']); assert 'torch' not in sys.modules"
    done: Any = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""Every logger gets every figure, once, at its step, whatever happens to the run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import REPOSITORY, Train
from helpers.runs import events
from helpers.trackers import (
    Points,
    comet_points,
    csv_points,
    expected,
    hparams,
    mlflow_points,
    of_epochs,
    wandb_points,
    wandb_rows,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what these libraries use of others
LIBRARIES = {"wandb": "wandb", "mlflow": "mlflow", "comet": "comet_ml"}
THERE = [name for name, module in LIBRARIES.items() if find_spec(module)]
TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "data.batch_size=100", "trainer.log_every_n_steps=1")


def mlflow_of(folder: Path) -> Points:
    return mlflow_points(folder / "mlflow.db", json.loads((folder / "loggers.json").read_text())["mlflow"])


READERS: dict[str, Callable[[Path], Points]] = {
    "csv": csv_points, "wandb": wandb_points, "comet": comet_points, "mlflow": mlflow_of,
}  # fmt: skip


def points(folder: Path, name: str) -> Points:
    return READERS[name](folder)


def check(folder: Path, name: str) -> None:
    """All figures of all epochs and of the test, and a point for each step."""
    found = points(folder, name)
    assert of_epochs(found) == expected(folder), name
    steps = expected(folder)["train/loss"][-1][0]
    assert [step for step, _ in found["step/loss"]] == list(range(1, steps + 1)), name
    for figure, told in found.items():
        assert len({step for step, _ in told}) == len(told), (name, figure)


def all_words() -> str:
    return ",".join(["tensorboard", "csv", *THERE])


def test_all_get_the_same(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    """A run, and the same one that goes on longer."""
    folder = train(*TINY, "duration=2ep", f"logger={all_words()}", "hydra.run.dir=runs/one")
    (folder / "mlflow.db").symlink_to(folder.parent / "mlflow.db")
    for name in ("csv", *THERE):
        check(folder, name)
    found = events(folder)
    for key, told in expected(folder).items():
        stage, _, figure = key.partition("/")
        if stage != "test":
            shown = [e.value for e in found[f"epoch/{figure}/{stage}"]]
            assert shown == pytest.approx([value for _, value in told], rel=1e-7)  # it keeps 32 bits
    out = capsys.readouterr().out
    assert "dashboard   tensorboard --logdir runs/one" in out
    for name, command in (("wandb", "wandb sync runs/one/wandb/"), ("comet", "comet upload runs/one/comet/")):
        assert (command in out) is (name in THERE)
    (folder / "mlflow.db").unlink()
    train(f"resume={folder}", "duration=3ep")
    (folder / "mlflow.db").symlink_to(folder.parent / "mlflow.db")
    for name in ("csv", *THERE):
        if name != "mlflow":  # which cannot forget: its test figures are of both ends
            check(folder, name)
    if "mlflow" in THERE:
        assert {k: v for k, v in of_epochs(mlflow_of(folder)).items() if "test/" not in k} == {
            k: v for k, v in expected(folder).items() if "test/" not in k
        }
    assert len(list(folder.glob("wandb/offline-run-*"))) == (2 if "wandb" in THERE else 0)
    numbers, figures, rows = hparams(folder)
    assert numbers[:3] == ["   optim.lr", "  model", " data.batch_size"]
    assert figures[:3] == ["summary/best accuracy", "summary/best epoch", "summary/best loss"]
    assert rows["hparams"]["status"] == "STATUS_SUCCESS"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_ends_early_goes_on_without_a_hole(number: int, tmp_path: Path) -> None:
    """Killed at any moment, points after the last checkpoint come again and are told once."""
    names = ["tensorboard", "csv", *(name for name in THERE if name != "mlflow")]
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(REPOSITORY)}
    words = [*TINY, "duration=100000ep", "callbacks.checkpoint.every=20st", f"logger={','.join(names)}"]
    command = [sys.executable, "-m", "torchatlas.train"]
    run = subprocess.Popen([*command, *words, "hydra.run.dir=one"], cwd=tmp_path, env=environment)
    folder = tmp_path / "one"
    until = time.monotonic() + 300
    while (
        time.monotonic() < until
        and not len((folder / "metrics.jsonl").read_text().splitlines() if (folder / "metrics.jsonl").exists() else [])
        > 4
    ):
        time.sleep(0.2)
    time.sleep(0.5)
    run.send_signal(number)
    assert run.wait(60) == (143 if number == signal.SIGTERM else -number)
    if number == signal.SIGTERM:
        assert hparams(folder)[2]["hparams"]["status"] == "STATUS_UNKNOWN"
    assert hparams(folder)[2]["hparams"]["summary/best loss"] > 0
    ended = len((folder / "metrics.jsonl").read_text().splitlines()) + 3
    subprocess.run([*command, "resume=one", f"duration={ended}ep"], cwd=tmp_path, env=environment, check=True)
    for name in names[1:]:
        check(folder, name)
    steps = [e.step for e in events(folder)["step/loss"]]
    assert steps == list(range(1, steps[-1] + 1))


@pytest.mark.skipif("wandb" not in THERE, reason="wandb is not installed")
def test_runs_of_a_series_have_a_group(train: Train, tmp_path: Path) -> None:
    train(*TINY, "duration=1ep", "seeds=2", "logger=wandb,csv", "hydra.run.dir=runs/mlp/series")
    folders = sorted((tmp_path / "runs/mlp/series").glob("seed-*"))
    assert len(folders) == 2
    for folder in folders:
        check(folder, "csv")
        check(folder, "wandb")
        assert len(wandb_rows(folder)) > 0

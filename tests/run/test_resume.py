"""A run that goes on is the run that never stopped."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import REPOSITORY, Train, small_data, tiny_overrides
from helpers.runs import FOLDER, make_folder, metrics
from helpers.stopping import StopsInValidation, StopsWithin, equal, stopped
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchatlas.storage.checkpoints import read
from torchatlas.storage.files import read_epochs
from torchatlas.storage.run_folder import shown
from torchatlas.zoo import model_card


def test_a_resumed_run_finds_its_data_elsewhere(train: Train, tmp_path: Path) -> None:
    make_folder(tmp_path / "set")
    folder = train("model=mlp", *FOLDER, f"data.root={tmp_path / 'set'}", "trainer.max_epochs=1")
    (tmp_path / "set").rename(tmp_path / "moved")
    assert train(f"resume={folder}", f"data.root={tmp_path / 'moved'}", "trainer.max_epochs=2") == folder
    assert json.loads((folder / "metrics.json").read_text())["epochs"] == 2


TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")

VARIETY = {
    "mlp": ["model.dropout=0.3", "callbacks.ema.decay=0.9", "schedule=one_cycle", "optim=nesterov"],
    "lstm_lm": ["model.dropout=0.3", "optim=muon", "trainer.gradient_clip_val=0.5", "schedule=plateau"],
    "resnet18": [  # it stops while the backbone is frozen
        "trainer.accumulate_grad_batches=2",
        "trainer.precision=bf16-mixed",
        "optim=adafactor",
        "task.freeze=9st",
        "task.layer_decay=0.8",
        "model.stochastic_depth=0.3",
        "augment=trivialaugment",
        "data.augment.mixup=0.5",
    ],
}


@pytest.mark.parametrize("network", VARIETY)
def test_stopped_within_an_epoch_and_resumed(network: str, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    """SIGTERM saves and says how to go on; weights, optimiser, averages, figures and curves end bit for bit."""
    data = [*small_data(model_card(network).data), "data.batch_size=8"]
    if network == "resnet18":  # made data have two batches
        data = ["data=digits", "data.image_size=16", "data.batch_size=8", "trainer.limit_val_batches=4"]
    tiny = [word for word in tiny_overrides(network) if "stochastic_depth" not in word]
    arguments = [f"model={network}", *data, *tiny, *VARIETY[network], "trainer=cpu"]
    arguments += ["trainer.limit_train_batches=10", "trainer.max_epochs=3", "callbacks=default"]
    arguments += ["trainer.log_every_n_steps=2"]
    if network != "resnet18" and model_card(network).data != "digits":
        arguments += ["data.fake=false"] if "fake" in str(data) else []
    whole = train(*arguments)
    part = stopped(train, StopsWithin, *arguments, status=128 + signal.SIGTERM)
    assert f"resume={shown(part)}" in capsys.readouterr().out
    checkpoint = read(part / "checkpoints" / "last.ckpt")
    assert checkpoint["torchatlas"]["batches"] == (5 if network != "resnet18" else 6)  # the next whole step
    assert train(f"resume={part}") == part
    assert equal(whole, part) == []
    assert len(json.loads((part / "record.json").read_text())["starts"]) == 2


def test_ctrl_c_in_validation_ends_after_it(train: Train) -> None:
    arguments = ["trainer.max_epochs=3", *TINY]
    whole = train(*arguments)
    part = stopped(train, StopsInValidation, *arguments, status=128 + signal.SIGINT)
    assert [epoch["epoch"] for epoch in read_epochs(part)] == [1, 2]
    train(f"resume={part}")
    assert equal(whole, part) == []


def test_resume_from_any_checkpoint_of_a_run(train: Train) -> None:
    """The one before the last, too; what came after it is forgotten in files and curves."""
    arguments = ["model.widths=[8]", "trainer=cpu", "callbacks=default", "trainer.max_epochs=2"]
    whole = train(*arguments, "callbacks.checkpoint.every=7st")
    copy = whole.parent / "copy"
    shutil.copytree(whole, copy)
    place = read(copy / "checkpoints" / "previous.ckpt")
    assert place["global_step"] == 35
    train(f"resume={copy / 'checkpoints' / 'previous.ckpt'}")
    assert equal(whole, copy) == []


def test_more_epochs_than_at_first(train: Train) -> None:
    """With a schedule that does not depend on the length the longer run is the one that was planned so."""
    arguments = ["schedule=constant", "model.dropout=0.3", "trainer.log_every_n_steps=4", *TINY]
    whole = train(*arguments, "trainer.max_epochs=3")
    part = train(*arguments, "trainer.max_epochs=1")
    assert train(f"resume={part}", "trainer.max_epochs=3") == part
    assert equal(whole, part) == []


def test_more_steps_than_at_first(train: Train) -> None:
    """A run that has ended within an epoch goes on there, without repeating a batch."""
    arguments = ["schedule=constant", "model.dropout=0.3", *TINY]
    whole = train(*arguments, "trainer.max_steps=50")
    part = train(*arguments, "trainer.max_steps=30")
    assert [e["step"] for e in read_epochs(part)] == [20, 30]
    assert metrics(part)["finished"]
    train("resume=auto", "trainer.max_steps=50")
    assert [e["step"] for e in read_epochs(part)] == [20, 40, 50]
    assert equal(whole, part) == []


def test_a_run_that_ended_within_an_epoch_keeps_its_figures(train: Train) -> None:
    """Killed after its last checkpoint and before the test, it is only tested."""
    arguments = ["trainer.max_steps=30", "model.widths=[8]", "trainer=cpu", "callbacks=default"]
    whole, part = train(*arguments), train(*arguments, "test=false")
    config = part / "config.yaml"
    config.write_text(config.read_text().replace("test: false", "test: true"))
    train(f"resume={part}")
    assert equal(whole, part) == []


def test_the_same_batch_again_resumes_at_its_batch(train: Train) -> None:
    arguments = ["debug=overfit", "trainer.max_epochs=3", "trainer.limit_train_batches=8", *TINY]
    whole = train(*arguments)
    part = stopped(train, StopsWithin, *arguments, status=128 + signal.SIGTERM)
    train(f"resume={part}")
    assert equal(whole, part) == []


def test_a_signal_in_the_last_epoch_is_not_lost(train: Train) -> None:
    folder = stopped(train, StopsInValidation, "trainer.max_epochs=2", *TINY, status=128 + signal.SIGINT)
    assert "test" not in str(metrics(folder)["test"])
    train(f"resume={folder}")
    assert "test/loss" in metrics(folder)["test"]


def test_validation_within_an_epoch(train: Train) -> None:
    """A stop between the validation and the epoch's end keeps its figures."""
    arguments = ["trainer.max_epochs=2", "+trainer.val_check_interval=4", "trainer.limit_train_batches=10", *TINY]
    whole = train(*arguments)
    part = stopped(train, StopsWithin, *arguments, status=128 + signal.SIGTERM)
    train(f"resume={part}")
    assert equal(whole, part) == []


# --- the file


def test_curves_are_drawn_once(train: Train) -> None:
    """A torn last event, as a kill leaves one, does not hide what came before it."""
    folder = train("trainer.max_epochs=2", "model.widths=[8]", "trainer=cpu", "callbacks=default")
    for events in folder.glob("events.out.tfevents.*"):
        events.write_bytes(events.read_bytes()[:-5])
    train(f"resume={folder}", "trainer.max_epochs=3")
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    assert [e.step for e in accumulator.Scalars("epoch/loss/val")] == [1, 2, 3]
    assert [e.step for e in accumulator.Scalars("step/loss")] == [10, 20, 30, 40, 50, 60]


# --- processes


def test_killed_and_resumed(tmp_path: Path) -> None:
    """SIGKILL at random moments; `python scripts/kill_and_resume.py` does it a hundred times on all cases."""
    command = [sys.executable, str(REPOSITORY / "scripts" / "kill_and_resume.py"), "--kills", "6", "--only"]
    done = subprocess.run(
        [*command, "mlp, EMA", "resnet"], capture_output=True, text=True, timeout=500, cwd=tmp_path
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 kills in 2 cases: all bit for bit" in done.stdout


@pytest.mark.slow
def test_killed_and_resumed_in_two_processes(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "scripts" / "kill_and_resume.py"), "--kills", "3", "--only"]
    done = subprocess.run([*command, "mlp, two"], capture_output=True, text=True, timeout=500, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_signal_reaches_all_processes(tmp_path: Path) -> None:
    """SIGTERM to the first of two processes alone: both save the same step and end."""
    command = [
        sys.executable,
        "-m",
        "torchatlas.train",
        "trainer=ddp_cpu",
        "hydra.run.dir=run",
        "trainer.max_epochs=500",
    ]
    run = subprocess.Popen([*command, *TINY[2:]], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    epochs = tmp_path / "run" / "metrics.jsonl"
    while not epochs.exists() or epochs.read_text().count("\n") < 3:
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    out, _ = run.communicate(timeout=60)
    assert run.returncode == 128 + signal.SIGTERM
    assert "nothing is lost" in out
    assert len(read(tmp_path / "run" / "checkpoints" / "last.ckpt")["torchatlas"]["processes"]) == 2


def test_resume_auto_takes_the_newest_run(train: Train) -> None:
    arguments = ["trainer=cpu", "trainer.max_epochs=1", "logger=none", "callbacks=default"]
    first, second = train(*arguments), train(*arguments, "model.widths=[8]")
    assert train("resume=auto", "trainer.max_epochs=2") == second
    assert metrics(second)["epochs"] == 2
    assert metrics(first)["epochs"] == 1

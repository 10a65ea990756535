"""A run that goes on is the run that never stopped; a damaged or hostile file is refused."""

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPOSITORY, Train, small_data, tiny_overrides
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchatlas.callbacks.progress import Progress
from torchatlas.errors import UserError
from torchatlas.storage import checkpoints
from torchatlas.storage.checkpoints import TRAILER, Damaged, read
from torchatlas.storage.files import read_epochs, write_text
from torchatlas.storage.run_folder import shown
from torchatlas.zoo import model_card

script = runpy.run_path(str(REPOSITORY / "scripts" / "kill_and_resume.py"))
TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


class StopsWithin(Progress):
    """Gets a signal in the middle of the second epoch."""

    number = signal.SIGTERM

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if (trainer.current_epoch, batch_idx) == (1, 4):
            os.kill(os.getpid(), self.number)


class StopsInValidation(StopsWithin):
    """Gets Ctrl-C in the validation of the second epoch."""

    def on_train_batch_end(self, *_: Any) -> None:
        pass

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)


def equal(one: Path, two: Path) -> list[str]:
    names: list[str] = script["differences"](script["result"](one), script["result"](two))
    return [name for name in names if not name.startswith("metrics/name")]


def stopped(train: Train, cls: type, *arguments: str, status: int) -> Path:
    """A run that a signal ends; from there on it has the ordinary progress."""
    target = f"callbacks.progress._target_=test_resume.{cls.__name__}"
    with pytest.raises(SystemExit) as exit_:
        train(*arguments, target)
    assert exit_.value.code == status
    folder = max(Path.cwd().glob("runs/*/*"), key=lambda path: path.stat().st_mtime_ns)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace(target.split("=")[1], "torchatlas.callbacks.progress.Progress"))
    return folder


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


def metrics(folder: Path) -> Any:
    return json.loads((folder / "metrics.json").read_text())


def test_checkpoints_are_as_often_as_they_are_asked_for(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    real = checkpoints.write

    def write(checkpoint: dict[str, Any], path: Path) -> None:
        steps.extend([checkpoint["global_step"]] if path.name == "last.ckpt" else [])
        real(checkpoint, path)

    monkeypatch.setattr(checkpoints, "write", write)
    for every, expected in (("7st", [7, 14, 21, 28, 35, 40]), ("2ep", [40]), ("0s", list(range(1, 41)))):
        train("trainer.max_epochs=2", f"callbacks.checkpoint.every={every}", *TINY)
        assert steps == expected, every
        steps.clear()
    train("trainer.max_epochs=30", "callbacks.checkpoint.every=10min", "callbacks.checkpoint.share=1e-9", *TINY)
    assert steps == [20, 600]  # the first, whose cost was not known, and the last


def test_what_changes_on_resume_is_listed(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("trainer.max_epochs=1", *TINY)
    capsys.readouterr()
    train(
        f"resume={folder}", "trainer.max_epochs=2", "optim.lr=0.5", "optim.weight_decay=0", "schedule=linear",
        "callbacks.checkpoint.every=1st", "trainer.precision=bf16-mixed",
    )  # fmt: skip
    out = capsys.readouterr().out
    rows = (r"optim\.lr +0\.002 +0\.5", r"trainer\.max_epochs +1 +2", r"schedule\._target_ .*cosine.*linear")
    for row in (*rows, r"optim\.weight_decay +0\.01 +0"):
        assert re.search(row, out), out
        assert re.search(row, (folder / "train.log").read_text())
    assert "trainer.accelerator" not in out
    group = read(folder / "checkpoints" / "last.ckpt")["optimizer_states"][0]["param_groups"][0]
    assert group["initial_lr"] == 0.5
    assert group["weight_decay"] == 0
    assert group["lr"] == 0  # the linear schedule's end


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("model=lenet5", "the network is that of the checkpoint"),
        ("model.widths=[9]", "the network is that of the checkpoint"),
        ("data=mnist", "the data are those of the checkpoint"),
        ("data.batch_size=7", "the data are those of the checkpoint"),
        ("optim=sgd", "change its values"),
        ("optim._target_=torch.optim.SGD", "the optimiser's state"),
        ("seed=1", "the order of the data"),
        ("optim.momentum=0.5", "the run's config has no key 'optim.momentum'"),
        ("trainer.max_epoch=3", "did you mean trainer.max_epochs"),
        ("trainer.max_epochs=1", "this run has had 4 steps, more than the 2"),
    ],
)
def test_what_cannot_change_on_resume(
    override: str, reason: str, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train("trainer.max_epochs=2", "trainer.limit_train_batches=2", *TINY)
    files = {path: path.read_bytes() for path in folder.rglob("*.*") if path.suffix != ".log"}
    with pytest.raises(SystemExit) as exit_:
        train(f"resume={folder}", override)
    assert exit_.value.code == 2
    assert reason in capsys.readouterr().err
    kept = {path: path.read_bytes() for path in files if path.name not in ("config.yaml", "record.json")}
    assert kept.items() <= files.items()


@pytest.mark.parametrize("override", ["trainer.max_epochs=1", "optim.lr=-1", "optim.lr=fast", "schedule.warmup=5"])
def test_a_refused_resume_changes_nothing(override: str, train: Train) -> None:
    """Neither the config, which a plain resume needs, nor the curves."""
    folder = train("trainer.max_epochs=2", "trainer.limit_train_batches=2", "model.widths=[8]", "trainer=cpu")
    files = {path: path.read_bytes() for path in folder.rglob("*.*") if path.suffix != ".log"}
    old_events = [path for path in files if "tfevents" in path.name]
    with pytest.raises(SystemExit) as exit_:
        train(f"resume={folder}", override)
    assert exit_.value.code == 2
    assert {path: path.read_bytes() for path in files} == files
    assert old_events
    train(f"resume={folder}", "trainer.max_epochs=3")


def test_an_older_checkpoint_becomes_the_last(train: Train) -> None:
    """A kill soon after a resume from it does not bring back what was abandoned."""
    folder = train("trainer.max_epochs=4", "schedule=constant", "callbacks.checkpoint.every=2ep", *TINY)
    previous = folder / "checkpoints" / "previous.ckpt"
    assert read(previous)["global_step"] == 40
    stopping = f"callbacks.progress._target_={__name__}.StopsAtOnce"
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(
        config.replace("torchatlas.callbacks.progress.Progress", stopping.split("=")[1])
    )
    os.environ["TORCHATLAS_TRUST"] = __name__
    try:
        with pytest.raises(RuntimeError, match="the machine is gone"):
            train(f"resume={previous}")
    finally:
        del os.environ["TORCHATLAS_TRUST"]
    (folder / "config.yaml").write_text(config)
    assert read(folder / "checkpoints" / "last.ckpt")["global_step"] == 40
    train(f"resume={folder}", "trainer.max_epochs=5")
    assert [(e["epoch"], e["step"]) for e in read_epochs(folder)] == [(n, 20 * n) for n in range(1, 6)]


class StopsAtOnce(Progress):
    def on_train_batch_end(self, *_: Any) -> None:
        raise RuntimeError("the machine is gone")


def test_a_folder_with_links_is_refused(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("debug=one_batch", *TINY)
    (tmp_path / "thesis.txt").write_text("years")
    (folder / "config.yaml.part").symlink_to(tmp_path / "thesis.txt")
    with pytest.raises(SystemExit):
        train(f"resume={folder}", "trainer.max_epochs=2")
    assert "config.yaml.part is a link" in capsys.readouterr().err
    link = tmp_path / "made" / "last.ckpt"
    link.parent.mkdir()
    link.with_name("last.ckpt.part").symlink_to(tmp_path / "thesis.txt")
    checkpoints.write({"torchatlas": {}}, link)
    write_text(tmp_path / "thesis.txt.x", "new")
    assert (tmp_path / "thesis.txt").read_text() == "years"


def test_a_saved_config_writes_nowhere_else(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("debug=one_batch", *TINY)
    config = (folder / "config.yaml").read_text()
    target = "{_target_: lightning.pytorch.profilers.SimpleProfiler, dirpath: elsewhere, filename: x}"
    (folder / "config.yaml").write_text(config.replace("profiler: null", f"profiler: {target}"))
    with pytest.raises(SystemExit):
        train(f"resume={folder}", "trainer.max_epochs=2")
    assert "would write files outside" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


def test_half_a_record_is_no_obstacle(train: Train) -> None:
    folder = train("trainer.max_epochs=1", "trainer.limit_train_batches=2", *TINY)
    (folder / "record.json").write_text("")
    (folder / "metrics.json").write_text('{"name"')
    train(f"resume={folder}", "trainer.max_epochs=2")
    assert metrics(folder)["epochs"] == 2


def test_the_best_is_not_of_an_abandoned_future(train: Train) -> None:
    folder = train("trainer.max_epochs=4", "callbacks.checkpoint.every=2ep", *TINY)
    assert read(folder / "checkpoints" / "best.ckpt")["global_step"] > 40
    train(f"resume={folder / 'checkpoints' / 'previous.ckpt'}", "optim.lr=1e-7")
    lines = {e["step"]: e["val/loss"] for e in read_epochs(folder)}
    best = read(folder / "checkpoints" / "best.ckpt")
    assert best["torchatlas"]["figure"] == lines[best["global_step"]]


def test_a_first_figure_that_is_no_number_is_not_the_best(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchatlas.tasks.classification import Classification

    real = Classification.close_epoch

    def close(self: Any, stage: str) -> None:
        real(self, stage)
        if stage == "val" and self.trainer.current_epoch == 0:
            self.figures["val/loss"] = float("nan")

    monkeypatch.setattr(Classification, "close_epoch", close)
    folder = train("trainer.max_epochs=3", "callbacks.early_stopping.patience=3", *TINY)
    assert metrics(folder)["best_epoch"] == 3
    assert read(folder / "checkpoints" / "best.ckpt")["global_step"] == 60


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


def test_a_new_run_does_not_overwrite_one(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    train("debug=one_batch", "hydra.run.dir=runs/mine/1", *TINY)
    with pytest.raises(SystemExit):
        train("debug=one_batch", "hydra.run.dir=runs/mine/1", *TINY)
    assert "runs/mine/1 holds a run: resume=" in capsys.readouterr().err


def test_validation_within_an_epoch(train: Train) -> None:
    """A stop between the validation and the epoch's end keeps its figures."""
    arguments = ["trainer.max_epochs=2", "+trainer.val_check_interval=4", "trainer.limit_train_batches=10", *TINY]
    whole = train(*arguments)
    part = stopped(train, StopsWithin, *arguments, status=128 + signal.SIGTERM)
    train(f"resume={part}")
    assert equal(whole, part) == []


# --- the file


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "last.ckpt"
    about = {"config": {}, "data": {}, "x": torch.arange(50)}
    checkpoints.write({"torchatlas": about, "state_dict": {"w": torch.randn(40, 5)}}, path)
    return path


def test_a_checkpoint_is_what_torch_loads(checkpoint: Path) -> None:
    assert torch.load(checkpoint, weights_only=True)["torchatlas"]["x"].tolist() == list(range(50))


def test_every_byte_counts(checkpoint: Path, tmp_path: Path) -> None:
    """Each region flipped or cut off is refused by name; 200 places over the file, its last line byte by byte."""
    whole = checkpoint.read_bytes()
    places = {*range(0, len(whole), max(1, len(whole) // 200)), *range(len(whole) - TRAILER, len(whole))}
    bad = tmp_path / "bad.ckpt"
    for place in sorted(places):
        for wrong in (whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :], whole[:place]):
            bad.write_bytes(wrong)
            with pytest.raises(Damaged, match=r"bad\.ckpt is damaged"):
                read(bad)
    bad.write_bytes(whole + b"more")
    with pytest.raises(Damaged):
        read(bad)
    bad.write_bytes(whole)
    read(bad)


def test_the_previous_one_is_taken(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["trainer.max_epochs=2", "callbacks.checkpoint.every=7st", *TINY]
    whole = train(*arguments)
    broken = train(*arguments)
    last = broken / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    capsys.readouterr()
    train(f"resume={broken}")
    out = capsys.readouterr().out
    assert "last.ckpt is damaged: it is cut off" in out
    assert "going on from" in out
    assert equal(whole, broken) == []
    last.write_bytes(last.read_bytes()[:-1000])
    with pytest.raises(SystemExit):
        train(f"resume={last}")  # asked for by name
    assert re.search(r"last\.ckpt is damaged.*previous\.ckpt is intact", capsys.readouterr().err)


def test_a_damaged_best_one_is_chosen_anew(train: Train, caplog: pytest.LogCaptureFixture) -> None:
    folder = train("trainer.max_epochs=1", "schedule=constant", *TINY)
    best = folder / "checkpoints" / "best.ckpt"
    best.write_bytes(b"")
    train(f"resume={folder}", "trainer.max_epochs=2")
    assert read(best)["global_step"] == 40


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "broken_in"),)

    path = tmp_path / "hostile.ckpt"
    checkpoints.write({"torchatlas": Hostile()}, path)  # with a right checksum
    with pytest.raises(UserError, match=r"hostile\.ckpt cannot be loaded safely"):
        read(path)
    assert not (tmp_path / "broken_in").exists()
    checkpoints.write({"something": "else"}, path)
    with pytest.raises(UserError, match="is no checkpoint of torchatlas"):
        read(path)


def test_weights_alone_are_no_run(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("trainer.max_epochs=1", *TINY)
    with pytest.raises(SystemExit):
        train(f"resume={folder / 'checkpoints' / 'best.ckpt'}")
    assert "best.ckpt holds weights only" in capsys.readouterr().err


def test_a_run_folder_of_somebody_else_cannot_call_anything(train: Train, tmp_path: Path, capsys: Any) -> None:
    folder = train("debug=one_batch", *TINY)
    config = (folder / "config.yaml").read_text()
    for bad in ("_target_: os.mkdir\n    path: broken_in", "_target_: torch.hub.load", "text: ${oc.env:HOME}"):
        (folder / "config.yaml").write_text(config.replace("callbacks:\n", f"callbacks:\n  bad:\n    {bad}\n"))
        with pytest.raises(SystemExit):
            train(f"resume={folder}", "trainer.max_epochs=2")
        assert "the saved config" in capsys.readouterr().err
    (folder / "config.yaml").write_text("a: [1")
    with pytest.raises(SystemExit):
        train(f"resume={folder}", "trainer.max_epochs=2")
    assert "config.yaml is damaged" in capsys.readouterr().err
    assert not (tmp_path / "broken_in").exists()


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

"""A run that goes on with the data that it had, or says which ones it has."""

import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from helpers import Train
from helpers.runs import FOLDER, make_folder, metrics
from helpers.stopping import StopsWithin, stopped

from torchatlas import cli
from torchatlas.storage.checkpoints import read, write
from torchatlas.storage.files import read_epochs

MLP = ("model=mlp", "model.widths=[8]", *FOLDER)


def add(folder: Path, number: int) -> None:
    """As many copies of images in each class, under other names."""
    for name in ("dark", "light"):
        for i in range(number):
            shutil.copy(folder / name / f"{i}.png", folder / name / f"new {i}.png")


def refused(train: Train, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        train(*words)
    assert exit_.value.code == 2
    return capsys.readouterr().err


def test_data_that_have_grown_are_refused_or_accepted(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "set"
    make_folder(root)
    folder = train(*MLP, f"data.root={root}", "duration=2ep")
    about = read(folder / "checkpoints" / "last.ckpt")["torchatlas"]
    was, before = about["steps_per_epoch"], about["contents"]
    assert sum(split["samples"] for split in before.values()) == 80
    assert read(folder / "checkpoints" / "best.ckpt")["torchatlas"]["contents"] == before
    add(root, 30)
    files = {path: path.read_bytes() for path in folder.rglob("*.*") if path.suffix != ".log"}
    said = refused(train, capsys, f"resume={folder}", "duration=5ep")
    assert re.search(r"not those of the checkpoint, train has \d+ samples where it had \d+ \(\d+ more\)", said), said
    assert "data.changed=accept" in said
    assert len(said.strip().splitlines()) == 1
    assert len(said.splitlines()) <= 3
    assert {path: path.read_bytes() for path in files} == files
    assert "must be accept or refuse" in refused(train, capsys, f"resume={folder}", "data.changed=yes")
    assert "is for a run that goes on" in refused(train, capsys, *MLP, f"data.root={root}", "data.changed=accept")

    train(f"resume={folder}", "duration=5ep", "data.changed=accept")
    about = read(folder / "checkpoints" / "last.ckpt")["torchatlas"]
    now = about["steps_per_epoch"]
    assert now > was
    assert about["contents"]["train"]["samples"] > before["train"]["samples"]
    end = 2 * was + 3 * now
    assert [epoch["step"] for epoch in read_epochs(folder)] == [was, 2 * was, *range(2 * was + now, end + 1, now)]
    assert metrics(folder)["finished"]
    log = (folder / "train.log").read_text()
    assert "the data have changed since the checkpoint: train has" in log
    assert f"from epoch 3 on an epoch has {now} steps where it had {was}, and the run ends at step {end}" in log
    assert f"plan: {end} steps of 8 samples, 5 epochs of {now} steps" in log
    assert "changed" not in (folder / "config.yaml").read_text()

    train(f"resume={folder}", "duration=6ep")  # these are its data now
    assert read_epochs(folder)[-1]["step"] == end + now
    assert metrics(folder)["epochs"] == 6
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", ["torchatlas", "evaluate", f"ckpt={folder}", f"data.root={root}"])
    cli.main()
    assert "not the data of the run" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("kept", [40, 14])
def test_accepted_within_an_epoch(kept: int, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of the epoch is as long as that of the new data; of much fewer data nothing is left."""
    root = tmp_path / "set"
    make_folder(root)
    part = stopped(train, StopsWithin, *MLP, f"data.root={root}", "duration=3ep", status=128 + signal.SIGTERM)
    about = read(part / "checkpoints" / "last.ckpt")["torchatlas"]
    batches = about["batches"]
    assert 0 < batches < about["steps_per_epoch"]
    add(root, 20)
    if kept < 40:
        for path in [path for path in root.rglob("*.png") if "new" in path.name or int(path.stem) >= kept]:
            path.unlink()
    was = about["steps_per_epoch"]
    train(f"resume={part}", "data.changed=accept")
    now = read(part / "checkpoints" / "last.ckpt")["torchatlas"]["steps_per_epoch"]
    assert (now > batches) == (kept == 40)
    second = was + max(now, batches)
    assert [epoch["step"] for epoch in read_epochs(part)] == [was, second, second + now]
    assert metrics(part)["finished"]


def test_other_files_of_the_same_number(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "set"
    make_folder(root)
    folder = train(*MLP, f"data.root={root}", "duration=1ep")
    shutil.move(root, tmp_path / "moved")
    train(f"resume={folder}", f"data.root={tmp_path / 'moved'}", "data.memory=0", "duration=2ep")  # the same elsewhere
    with (tmp_path / "moved" / "dark" / "3.png").open("ab") as file:
        file.write(b"more")
    said = refused(train, capsys, f"resume={folder}", "duration=3ep")
    assert re.search(r"(train|val|test) has \d+ samples as before, but not the same ones: put", said), said


def test_a_checkpoint_of_a_former_version_goes_on(train: Train, tmp_path: Path) -> None:
    root = tmp_path / "set"
    make_folder(root)
    folder = train(*MLP, f"data.root={root}", "duration=1ep")
    path = folder / "checkpoints" / "last.ckpt"
    checkpoint: dict[str, Any] = read(path)
    for key in ("contents", "steps_per_epoch", "shift"):
        del checkpoint["torchatlas"][key]
    write(checkpoint, path)
    add(root, 30)
    train(f"resume={folder}", "duration=2ep")
    assert metrics(folder)["epochs"] == 2


def test_a_series_goes_on_with_changed_data(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "set"
    make_folder(root)
    folder = train(*MLP, f"data.root={root}", "duration=1ep", "seeds=2").parent
    seed = folder / "seed-1"
    metrics_file = seed / "metrics.json"
    metrics_file.write_text(metrics_file.read_text().replace('"finished": true', '"finished": false'))
    add(root, 30)
    assert "data.changed=accept" in refused(train, capsys, f"resume={folder}")
    train(f"resume={folder}", "data.changed=accept")
    assert "the data have changed" in (folder / "train.log").read_text()


def test_evaluation_says_that_the_data_are_others(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "set"
    make_folder(root)
    folder = train(*MLP, f"data.root={root}", "duration=1ep")

    def evaluated() -> str:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["torchatlas", "evaluate", f"ckpt={folder}"])
        cli.main()
        return "".join(capsys.readouterr())

    assert "not the data of the run" not in evaluated()
    add(root, 30)
    said = evaluated()
    assert re.search(r"these are not the data of the run: test has \d+ samples where it had \d+ \(\d+ more\)", said)
    assert "train has" not in said


def test_the_end_of_a_plan_counts_the_epochs_behind() -> None:
    from torchatlas.training.durations import Plan
    from torchatlas.training.planning import Behind

    behind = Behind(5, 30, steps_per_epoch=6)
    plan = Plan(steps_per_epoch=10, samples_per_step=8, shift=behind.shift_to(10))
    assert plan.end("10ep") == 30 + 5 * 10
    assert plan.end("90st") == 90
    assert plan.steps("2ep") == 20  # of a schedule
    plan.total = plan.end("10ep")
    assert plan.epochs == 10
    again = Behind(7, 50, steps_per_epoch=10, shift=plan.shift)
    assert again.shift_to(10) == plan.shift
    assert Plan(4, 8, shift=again.shift_to(4)).end("10ep") == 50 + 3 * 4
    assert Behind(5, 30).shift_to(10) == 0  # of a checkpoint that does not know
    within = Behind(1, 11, steps_per_epoch=6)
    assert within.shift_to(10) == -4  # the second epoch has five more steps
    assert within.shift_to(2) == 11 - 2 * 2  # the second epoch is over

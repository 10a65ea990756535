"""Run folders: links, runs of one second, folders that hold a run."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import Train

from torchatlas.errors import UserError
from torchatlas.storage import checkpoints
from torchatlas.storage.files import write_text
from torchatlas.storage.run_folder import (
    find_checkpoint,
    new_folder,
    require_new,
    runs_inside,
    tell_others,
    time,
    trained_in,
)

TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


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


def test_a_new_run_does_not_overwrite_one(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    train("debug=one_batch", "hydra.run.dir=runs/mine/1", *TINY)
    with pytest.raises(SystemExit):
        train("debug=one_batch", "hydra.run.dir=runs/mine/1", *TINY)
    assert "runs/mine/1 holds a run: resume=" in capsys.readouterr().err


def test_a_folder_of_runs_names_its_newest(tmp_path: Path) -> None:
    (tmp_path / "runs" / "empty").mkdir(parents=True)
    with pytest.raises(UserError, match=r"a file that ends in \.ckpt$"):
        find_checkpoint(str(tmp_path / "runs"))
    for seconds, name in enumerate(("b", "a")):
        checkpoint = tmp_path / "runs" / name / "checkpoints" / "last.ckpt"
        checkpoints.write({"torchatlas": {}}, checkpoint)
        os.utime(checkpoint, (seconds, seconds))
    with pytest.raises(UserError, match=rf"as in {re.escape(str(tmp_path / 'runs' / 'a'))}$"):
        find_checkpoint(str(tmp_path / "runs"))


def written(folder: Path, *names: str, seconds: int = 0) -> None:
    for name in names:
        path = folder / "checkpoints" / f"{name}.ckpt"
        checkpoints.write({"torchatlas": {}}, path)
        os.utime(path, (seconds, seconds))


def test_only_where_runs_can_be_is_looked_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "old", "last", seconds=1)
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "seeds.json").touch()
    written(tmp_path / "series" / "seed-0", "best", "last", seconds=2)
    written(tmp_path / "projects" / "mine" / "run", "last", seconds=3)
    assert runs_inside(tmp_path) == [tmp_path / "old", tmp_path / "series" / "seed-0"]
    assert runs_inside(tmp_path / "series") == [tmp_path / "series" / "seed-0"]
    assert runs_inside(tmp_path / "nowhere") == runs_inside(tmp_path / "old") == []
    written(tmp_path / "runs" / "mlp-digits" / "1", "last")
    assert runs_inside(tmp_path / "runs") == [tmp_path / "runs" / "mlp-digits" / "1"]

    def no_search(*_: object) -> None:
        raise AssertionError("the whole disk is searched")

    monkeypatch.setattr(Path, "rglob", no_search)
    (tmp_path / "disk" / "deep" / "below").mkdir(parents=True)
    with pytest.raises(UserError, match=r"there is no checkpoint .*disk/checkpoints/best\.ckpt: name a run folder"):
        find_checkpoint(str(tmp_path / "disk"), "best")


def test_the_last_weights_serve_where_none_were_validated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(tmp_path, "last")
    assert find_checkpoint(str(tmp_path), "best").name == "last.ckpt"
    assert "has no best weights, since none were validated yet: last.ckpt is taken" in caplog.text
    written(tmp_path, "best")
    assert find_checkpoint(str(tmp_path), "best").name == "best.ckpt"
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(b"torn")
    with pytest.raises(UserError, match="damaged"):  # which nobody takes for another one
        find_checkpoint(str(tmp_path), "best")


def test_files_of_somebody_are_not_written_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    (tmp_path / "slurm.out").touch()
    require_new(tmp_path)
    tell_others(tmp_path)
    assert "is not empty: slurm.out stays there beside the run" in caplog.text
    (tmp_path / "config.yaml").write_text("port: 80")
    with pytest.raises(UserError, match=r"has a config\.yaml that is of no run and would be lost"):
        require_new(tmp_path)
    (tmp_path / "record.json").touch()  # what a run has left that came to no checkpoint
    require_new(tmp_path)


def test_runs_of_one_second_never_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda _: "2026-01-01_00-00-00")
    names = [new_folder("a") for _ in range(3)]
    assert [Path(n).name for n in names] == [f"2026-01-01_00-00-00{s}" for s in ("", "-2", "-3")]


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    with trained_in(tmp_path):
        with pytest.raises(UserError, match="being trained in by another process"), trained_in(tmp_path):
            pass
        with trained_in(tmp_path.parent):
            pass
    with trained_in(tmp_path):  # it is over
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_worker_of_a_killed_run_holds_no_folder(tmp_path: Path) -> None:
    """A worker that reads data looks for its parent every few seconds only."""
    code = (
        "import os, sys, time; from torchatlas.storage.run_folder import trained_in\n"
        "with trained_in(sys.argv[1]):\n"
        "    if os.fork() == 0: os.setsid(); print(os.getpid(), flush=True); time.sleep(60); os._exit(0)\n"
        "    time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        worker = int(program.stdout.readline())
        with pytest.raises(UserError, match="being trained in by another process"), trained_in(tmp_path):
            pass
        program.kill()
        program.wait()
        try:
            os.kill(worker, 0)  # it is there
            with trained_in(tmp_path):
                pass
        finally:
            os.kill(worker, signal.SIGKILL)


def test_a_refused_run_leaves_the_folder_in_which_it_was_typed(train: Train, tmp_path: Path) -> None:
    """An empty one, too, where the run's own was to be beside nothing else."""
    with pytest.raises(SystemExit):
        train("hydra.run.dir=one", "optim.lrr=1", *TINY)
    assert list(tmp_path.iterdir()) == []

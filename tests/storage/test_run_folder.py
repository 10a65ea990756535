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
from torchatlas.storage.run_folder import find_checkpoint, new_folder, time, trained_in

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

"""One line begins a run and, typed again, goes on with it."""

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from helpers import Train
from helpers.runs import events, metrics
from helpers.stopping import StopsWithin, equal, stopped

import torchatlas
from torchatlas.errors import UserError
from torchatlas.run.auto import begun_or_resumed
from torchatlas.run.compose import understood
from torchatlas.storage.files import read_epochs

TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


def words_for_hydra(*words: str) -> list[str] | None:
    with contextlib.ExitStack() as claims:
        return begun_or_resumed([*words, "resume=auto"], claims)


def began_with(folder: Path, *words: str, finished: bool = True) -> Path:
    """Let a run be one that was begun with these words."""
    record = json.loads((folder / "record.json").read_text())
    record["starts"] = [{**record["starts"][0], "command": " ".join(["torchatlas train", *words])}]
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "metrics.json").write_text(json.dumps(metrics(folder) | {"finished": finished}))
    return folder


def another(folder: Path, name: str, *words: str, finished: bool = True) -> Path:
    return began_with(Path(shutil.copytree(folder, folder.parent / name)), *words, finished=finished)


def resumed(folder: Path) -> list[str]:
    return [f"resume='{folder / 'checkpoints' / 'last.ckpt'}'", f"hydra.run.dir='{folder}'"]


def test_one_line_begins_goes_on_and_ends(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["trainer.max_epochs=3", "model=mlp", "optim.lr=.01", *TINY]
    whole = train(*arguments)
    shutil.move(whole, whole.parent.parent.parent / "whole")
    part = stopped(train, StopsWithin, *arguments, "resume=auto", status=128 + signal.SIGTERM)
    target = f"callbacks.progress._target_={StopsWithin.__module__}.StopsWithin"
    monkeypatch.setenv("TORCHATLAS_TRUST", "helpers")
    assert train("optim.lr=1e-2", "resume=auto", *arguments[:2], target, *TINY) == part
    assert equal(whole.parent.parent.parent / "whole", part) == []
    with monkeypatch.context() as patch:
        patch.setattr("torchatlas.train.execute", None)
        capsys.readouterr()
        train(*arguments, target, "resume=auto")
    assert "has come to its end" in capsys.readouterr().out
    assert train(*arguments[1:], "trainer.max_epochs=4", target, "resume=auto") == part
    assert len(read_epochs(part)) == 4


def test_which_run_is_meant(trained_digits: Path) -> None:
    """The newest unfinished one of the same words in any order, whatever was run with others meanwhile."""
    began_with(trained_digits, "model=mlp", "optim.lr=0.1", "trainer.max_epochs=10")
    assert words_for_hydra("optim.lr=.10", "model=mlp", "trainer.max_epochs=10") is None  # it has ended
    longer = words_for_hydra("optim.lr=.10", "model=mlp", "trainer.max_epochs=20", "trainer=auto")
    assert longer == [*resumed(trained_digits), "++trainer.max_epochs=20", "trainer=auto"]
    stopped = another(trained_digits, "stopped", "optim.lr=0.1", "model=mlp", finished=False)
    another(trained_digits, "ended", "optim.lr=0.1", "model=mlp")
    another(trained_digits, "other", "optim.lr=0.2", "model=mlp", finished=False)
    another(trained_digits, "more", "optim.lr=0.1", "model=mlp", "seed=1", finished=False)
    assert words_for_hydra("model=mlp", "optim.lr=0.1") == resumed(stopped)
    assert words_for_hydra("optim.lr=0.1") == ["optim.lr=0.1"]
    assert words_for_hydra("optim.lr=0.1", "data.changed=accept") == ["optim.lr=0.1"]
    shutil.rmtree(stopped / "checkpoints")  # killed before its first checkpoint: a new one begins beside it
    shutil.rmtree(trained_digits)
    shutil.rmtree(trained_digits.parent / "ended")
    assert words_for_hydra("model=mlp", "optim.lr=0.1") == ["model=mlp", "optim.lr=0.1"]


def test_words_in_another_form_mean_the_same_run(trained_digits: Path) -> None:
    """What leaves a part out is another word for Hydra, and a run with it began with the word as it was typed."""
    began_with(trained_digits, "model=mlp", "augment=null", "~logger", "schedule=null", "debug=true", finished=False)
    for word in ("schedule=null", "schedule=constant", "~schedule"):
        assert words_for_hydra(*understood(["model=mlp", "augment=null", "~logger", word])) == resumed(trained_digits)
    assert words_for_hydra("model=mlp", "callbacks=none") == ["model=mlp", "callbacks=none"]


def test_null_for_a_group_is_taken_or_refused_where_a_run_is_named(trained_digits: Path) -> None:
    def words(*given: str) -> list[str] | None:
        with contextlib.ExitStack() as claims:
            return begun_or_resumed(understood([f"resume={trained_digits}", *given]), claims)

    began_with(trained_digits, "model=mlp", "debug=null", finished=False)
    for word in ("augment=null", "augment=", "~augment", "augment=none", "debug=null"):  # as it is in the run
        assert words(word) == resumed(trained_digits), word
    assert words("logger=null", "schedule=null") == [*resumed(trained_digits), "logger=none", "schedule=constant"]
    for group, why in (("experiment", "is a run of its own"), ("callbacks", "as a whole"), ("model", "choose one")):
        with pytest.raises(UserError, match=f"^{group}=.*{why}"):
            words(f"{group}=null")
    path = trained_digits / "config.yaml"
    path.write_text(path.read_text().replace("rotation: 0.0", "rotation: 10.0"))
    for word in ("augment=null", "~augment"):
        with pytest.raises(UserError, match=r"^augment=none cannot change in a resumed run, since the data are those"):
            words(word)


def test_null_for_a_group_is_the_same_in_python(trained_digits: Path) -> None:
    for words in ({"experiment": None}, {"debug": None}, {"optim": None}):
        (group,) = words
        with pytest.raises(UserError, match=f"^{group}=null "):
            torchatlas.train(resume=trained_digits, **words)


def test_a_debugging_run_is_another_one(trained_digits: Path) -> None:
    began_with(trained_digits, "model=mlp", "debug=one_batch")
    assert words_for_hydra("model=mlp") == ["model=mlp"]
    assert words_for_hydra("model=mlp", "debug=one_batch") is None


def test_without_words_the_newest_run_of_all(trained_digits: Path) -> None:
    assert words_for_hydra() is None
    newer = another(trained_digits, "newer", "model=lenet5", finished=False)
    os.utime(newer / "checkpoints" / "last.ckpt", (2**32, 2**32))
    assert words_for_hydra("duration=80ep") == [*resumed(newer), "duration=80ep"]


def test_a_named_folder(trained_digits: Path, tmp_path: Path) -> None:
    began_with(trained_digits, "model=mlp", "seed=3", finished=False)
    folder = f"hydra.run.dir={trained_digits}"
    assert words_for_hydra("seed=3", folder, "model=mlp") == resumed(trained_digits)
    assert words_for_hydra("seed=3", folder, "optim.lr=0.5") == [*resumed(trained_digits), "++optim.lr=0.5"]
    with pytest.raises(UserError, match="seed=4 cannot change in a resumed run"):
        words_for_hydra("seed=4", folder)
    assert words_for_hydra("seed=4", f"hydra.run.dir={tmp_path / 'new'}")[0] == "seed=4"  # type: ignore[index]


def test_a_damaged_checkpoint(trained_digits: Path) -> None:
    began_with(trained_digits, "model=mlp", finished=False)
    last, previous = (trained_digits / "checkpoints" / f"{name}.ckpt" for name in ("last", "previous"))
    shutil.copy(last, previous)
    last.write_bytes(last.read_bytes()[:-5])
    assert words_for_hydra("model=mlp") == [f"resume='{previous}'", f"hydra.run.dir='{trained_digits}'"]
    previous.write_bytes(b"")
    with pytest.raises(UserError, match=r"last\.ckpt is damaged.*previous\.ckpt is damaged"):
        words_for_hydra("model=mlp")


def test_two_processes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as claims:
        begun_or_resumed(["model=mlp", "resume=auto", "duration=1h"], claims)
        with pytest.raises(UserError, match="another process is at the run of these words"):
            words_for_hydra("duration=2h", "model=mlp")
        assert words_for_hydra("model=lenet5") == ["model=lenet5"]
        monkeypatch.setenv("SLURM_PROCID", "1")  # another one of the same run
        assert words_for_hydra("model=mlp") == ["model=mlp"]
        monkeypatch.delenv("SLURM_PROCID")
    assert words_for_hydra("model=mlp") == ["model=mlp"]


def test_a_named_folder_without_a_checkpoint_begins_anew(train: Train) -> None:
    """Its figures and curves are those of the second start alone."""
    arguments = ["hydra.run.dir=runs/mlp/mine", "resume=auto", "trainer.max_epochs=1", *TINY[:-1]]
    folder = train(*arguments)
    shutil.rmtree(folder / "checkpoints")
    assert train(*arguments) == folder
    assert len(read_epochs(folder)) == 1
    assert [event.step for event in events(folder)["epoch/loss/val"]] == [1]


def test_series_and_multiruns(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchatlas import train as program

    real, executed = program.execute, list[int]()

    def stops_at_the_second(asked: Any, *rest: Any, **more: Any) -> Any:
        executed.append(asked.config.seed)
        if executed == [5, 6]:
            raise KeyboardInterrupt
        return real(asked, *rest, **more)

    monkeypatch.setattr(program, "execute", stops_at_the_second)
    for arguments in (["seeds=2", "seed=5"], ["-m", "seed=5,6"]):
        executed.clear()
        line = [*arguments, "trainer.max_epochs=1", "resume=auto", *TINY]
        with pytest.raises(SystemExit) as exit_:
            train(*line)
        assert exit_.value.code == 130
        train(*line)
        assert executed == [5, 6, 6]
        train(*line)
        assert executed == [5, 6, 6]
    assert len(list(tmp_path.rglob("seeds.json"))) == len(list(tmp_path.rglob("multirun.json"))) == 1
    assert len(list(tmp_path.rglob("metrics.json"))) == 4
    assert "the best" in capsys.readouterr().out

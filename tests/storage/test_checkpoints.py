"""A damaged or hostile file is refused; a full disk keeps the checkpoint before."""

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Train
from helpers.stopping import equal

from torchatlas.errors import UserError
from torchatlas.storage import checkpoints
from torchatlas.storage.checkpoints import TRAILER, Damaged, _Hashed, read, write

# --- files


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_no_space_left(train: Train, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints.os, "fsync", full)
    with pytest.raises(SystemExit) as exit_:
        train("debug=one_batch", "trainer=cpu", "hydra.run.dir=mine", "logger=none", "callbacks=default")
    assert exit_.value.code == 2
    assert "cannot be written: No space left on device" in capsys.readouterr().err


def test_no_space_left_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content: dict[str, Any] = {"torchatlas": {"config": {}, "data": {}}, "state_dict": {"x": torch.ones(3)}}
    write(content, path)
    monkeypatch.setattr(checkpoints.os, "fsync", full)
    with pytest.raises(UserError, match=r"there is no space left to write .*last\.ckpt; the checkpoint before it is"):
        write(content | {"more": 1}, path)
    assert read(path).keys() == content.keys()
    assert not list(path.parent.glob("*.part"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full, which is Linux's")
def test_no_space_in_the_middle_of_a_file() -> None:
    with open("/dev/full", "wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        _Hashed(file).write(b"x" * 100)


TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


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

"""Compiled networks and deterministic runs."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import Train
from torch import nn

from torchatlas.errors import UserError
from torchatlas.run.build import build_trainer, callbacks_of, compile_network, shutil
from torchatlas.run.compose import composed
from torchatlas.storage.checkpoints import read

TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


# --- around a step


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read(folder / "checkpoints" / f"{name}.ckpt")["state_dict"]
    return found


def test_compiled_names_stay_clean(train: Train, tmp_path: Path) -> None:
    """In a process of its own, without the checks of shapes, which cannot be compiled."""
    command = [sys.executable, "-m", "torchatlas.train", "compile=true", "hydra.run.dir=runs/compiled/1", *TINY]
    subprocess.run([*command, "debug=one_batch"], cwd=tmp_path, check=True, capture_output=True, timeout=300)
    folder = tmp_path / "runs" / "compiled" / "1"
    assert not any("_orig_mod" in key for key in weights(folder))
    train(f"resume={folder}", "compile=false", "trainer.max_epochs=2")


def test_callbacks_of_other_data_are_left_out() -> None:
    """And not imported: there is no module of that name."""
    pictures = {"_target_": "nowhere.Pictures", "_kind_": "sound", "clips": 3}
    given = {"sounds": pictures, "curves": {"_target_": "nowhere.Curves"}, "record": None}
    for name, expected in (("images.digits.Digits", ["curves"]), ("sound.fsdd.FSDD", ["sounds", "curves"])):
        found = callbacks_of({"data": {"_target_": f"torchatlas.data.{name}"}, "callbacks": given})
        assert list(found) == expected
        assert found.get("sounds", {}).keys() <= {"_target_", "clips"}
    assert "_kind_" in pictures


def test_a_strategy_that_is_null_is_the_default(tmp_path: Path) -> None:
    words = ("model=mlp", "data=digits", "trainer=cpu", "callbacks=none", "logger=none")
    trainers = [build_trainer(composed([*words, *more]).plain(), tmp_path) for more in ((), ("trainer.strategy=null",))]
    assert type(trainers[0].strategy) is type(trainers[1].strategy)
    with pytest.raises(UserError, match=r"trainer\.strategy=dpp is unknown: did you mean ddp") as error:
        build_trainer(composed([*words, "trainer.strategy=dpp"]).plain(), tmp_path)
    assert "\n" not in str(error.value)


def test_no_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="needs a C\\+\\+ compiler"):
        compile_network(nn.Identity())


def test_deterministic(train: Train) -> None:
    try:
        folder = train("deterministic=true", "trainer.max_epochs=1", *TINY)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert "deterministic: true" in (folder / "config.yaml").read_text()

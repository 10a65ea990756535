"""How often checkpoints are written, which is the best and which the last, and what they carry."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Train
from helpers.runs import metrics

from torchatlas.callbacks.checkpoint import carried_rows, carry_on
from torchatlas.storage import checkpoints
from torchatlas.storage.checkpoints import read
from torchatlas.storage.files import read_epochs
from torchatlas.tasks.language_modeling import LanguageModeling
from torchatlas.zoo import create_model

TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


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


def test_an_older_checkpoint_becomes_the_last(train: Train) -> None:
    """A kill soon after a resume from it does not bring back what was abandoned."""
    folder = train("trainer.max_epochs=4", "schedule=constant", "callbacks.checkpoint.every=2ep", *TINY)
    previous = folder / "checkpoints" / "previous.ckpt"
    assert read(previous)["global_step"] == 40
    stopping = "callbacks.progress._target_=helpers.stopping.StopsAtOnce"
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(
        config.replace("torchatlas.callbacks.progress.Progress", stopping.split("=")[1])
    )
    os.environ["TORCHATLAS_TRUST"] = "helpers"
    try:
        with pytest.raises(RuntimeError, match="the machine is gone"):
            train(f"resume={previous}")
    finally:
        del os.environ["TORCHATLAS_TRUST"]
    (folder / "config.yaml").write_text(config)
    assert read(folder / "checkpoints" / "last.ckpt")["global_step"] == 40
    train(f"resume={folder}", "trainer.max_epochs=5")
    assert [(e["epoch"], e["step"]) for e in read_epochs(folder)] == [(n, 20 * n) for n in range(1, 6)]


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


# --- the carried state


def recurrent() -> LanguageModeling:
    network = create_model("lstm_lm", vocab_size=11, dim=6, depth=2, dropout=0.0)
    return LanguageModeling(network.double(), carry=True)


def test_a_state_is_dealt_out_to_any_number_of_processes() -> None:
    """As the rows of the text are: process r of w has every w-th row from r on."""
    whole = [torch.arange(2 * 12 * 3.0).view(2, 12, 3), torch.rand(1, 12, 5)]
    kept = [[part[:, rank::3] for part in whole] for rank in range(3)]
    for world in (1, 2, 3, 4):
        for rank in range(world):
            task = recurrent()
            carry_on(task, kept, rank, world)
            assert all(map(torch.equal, carried_rows(task), [part[:, rank::world] for part in whole]))
    carry_on(task, [[part[..., :2]] for part in (whole[0], whole[0])], 0, 2)
    assert isinstance(task.states["train"], torch.Tensor)
    carry_on(task := recurrent(), [[], []], 0, 2)
    assert task.states == {}

"""Early stopping."""

from pathlib import Path

import torch
from helpers import Train

from torchatlas.storage.checkpoints import read
from torchatlas.storage.files import read_epochs, read_metrics

TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


# --- around a step


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read(folder / "checkpoints" / f"{name}.ckpt")["state_dict"]
    return found


def test_early_stopping_tests_the_best(train: Train) -> None:
    folder = train(
        "trainer.max_epochs=50", "callbacks.early_stopping.patience=2", "optim.lr=1", "schedule=constant", *TINY
    )
    epochs = read_epochs(folder)
    metrics = read_metrics(folder)
    assert len(epochs) < 50
    assert metrics["finished"]
    assert len(epochs) == metrics["best_epoch"] + 2
    assert "early stopping: val loss" in (folder / "train.log").read_text()
    assert weights(folder, "best").keys() == weights(folder).keys()
    train(f"resume={folder}")  # it has stopped, and does so again
    assert len(read_epochs(folder)) == len(epochs)

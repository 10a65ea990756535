"""Steps that are measured before they are counted."""

from pathlib import Path

import torch
from helpers import Train

from torchatlas.storage.checkpoints import read

TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


# --- around a step


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read(folder / "checkpoints" / f"{name}.ckpt")["state_dict"]
    return found


def test_a_run_by_time(train: Train) -> None:
    """The steps of two seconds are counted once, written down, and the same after a resume."""
    folder = train("duration=0.5s", "schedule.warmup=10%", *TINY)
    log = (folder / "train.log").read_text()
    assert "ms a step, measured" in log
    last = read(folder / "checkpoints" / "last.ckpt")
    steps, seconds = last["global_step"], last["torchatlas"]["seconds_per_step"]
    assert steps == round(0.5 / seconds) > 10
    train(f"resume={folder}", "duration=1s")
    assert read(folder / "checkpoints" / "last.ckpt")["global_step"] == round(1 / seconds)


def test_measuring_a_step_changes_nothing(train: Train) -> None:
    base = ["model.dropout=0.3", "schedule=constant", "trainer.max_epochs=1", *TINY]
    one, two = train(*base), train(*base, "schedule.warmup=0.0001s")
    for key, value in weights(one).items():
        assert torch.equal(value, weights(two)[key]), key

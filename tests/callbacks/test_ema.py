"""Averages of weights."""

from pathlib import Path

import torch
from helpers import Train

from torchatlas.storage.checkpoints import read

TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


# --- around a step


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read(folder / "checkpoints" / f"{name}.ckpt")["state_dict"]
    return found


def test_averaged_weights_are_validated_and_kept(train: Train) -> None:
    """`best.ckpt` has the average of the weights after each step, computed here from all of them."""
    base = ["trainer.max_steps=3", "schedule=constant", "callbacks.ema.decay=0.6", *TINY]
    steps = [weights(train(*base, f"trainer.max_steps={n}")) for n in (1, 2, 3)]
    folder = train(*base)
    state = read(folder / "checkpoints" / "last.ckpt")["callbacks"]["EMA"]
    start = weights(train(*base, "trainer.max_steps=1", "optim.lr=0", "optim.weight_decay=0"))
    average = {key: value.clone() for key, value in start.items()}
    for t, now in enumerate(steps, start=1):
        decay = min(0.6, (1 + t) / (10 + t))
        average = {key: decay * average[key] + (1 - decay) * now[key] for key in average}
    for key, value in average.items():
        assert torch.allclose(value, state["averages"][key], atol=1e-6), key
        assert torch.equal(weights(folder, "best")[key], state["averages"][key])
        assert torch.equal(weights(folder)[key], steps[-1][key])

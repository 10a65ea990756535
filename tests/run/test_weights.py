"""Training begins with weights."""

import json
from pathlib import Path

import torch
from helpers import Train

from torchatlas.storage.checkpoints import read

RESNET = ("model=resnet18", "model.width=4", "model.depths=[1,1,1,1]", "data=cifar10", "data.fake=true", "trainer=cpu")
FAST = ("data.batch_size=8", "callbacks=default", "logger=none")


def state(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return read(folder / "checkpoints" / f"{name}.ckpt")["state_dict"]  # type: ignore[no-any-return]


def test_training_begins_with_weights(train: Train) -> None:
    """Those of another run, with other classes: all but the head; the images are normalised as there."""
    first = train(*RESNET, *FAST, "trainer.max_epochs=1")
    second = train(
        *RESNET, *FAST, "data=cifar100", "trainer.max_epochs=1", f"weights={first}", "optim.lr=0.0", "task.freeze=100%"
    )
    one, two = state(first, "best"), state(second)
    for key in one:
        if not key.startswith("network.fc."):
            assert torch.equal(one[key], two[key]), key
    assert two["network.fc.weight"].shape[0] == 100
    assert json.loads((second / "data.json").read_text())["mean"] == [0.4914, 0.4822, 0.4465]  # CIFAR-10's
    assert "the head is new" in (second / "train.log").read_text()

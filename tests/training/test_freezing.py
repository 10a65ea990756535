"""A frozen backbone, and when it is freed."""

import re
from pathlib import Path

import torch
from helpers import Train

from torchatlas.storage.checkpoints import read

RESNET = ("model=resnet18", "model.width=4", "model.depths=[1,1,1,1]", "data=cifar10", "data.fake=true", "trainer=cpu")
FAST = ("data.batch_size=8", "callbacks=default", "logger=none")


def state(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return read(folder / "checkpoints" / f"{name}.ckpt")["state_dict"]  # type: ignore[no-any-return]


def test_a_frozen_backbone_stays_bit_for_bit_and_is_freed(train: Train) -> None:
    """Weights and batch statistics; the trainable share is in the log."""
    start = state(train(*RESNET, *FAST, "trainer.max_epochs=1", "optim.lr=0.0", "task.freeze=100%", "seed=3"))
    frozen = train(*RESNET, *FAST, "trainer.max_epochs=2", "task.freeze=100%", "seed=3", "callbacks.ema.decay=0.5")
    after = state(frozen)
    for key in start:
        assert torch.equal(start[key], after[key]) is not key.startswith("network.fc."), key
    log = (frozen / "train.log").read_text()
    total = sum(v.numel() for k, v in after.items() if not re.search("running|batches", k))
    head = sum(v.numel() for k, v in after.items() if k.startswith("network.fc."))
    assert f"training {head:,} of {total:,} parameters ({100 * head / total:.3g} %), the head, until step 4" in log
    freed = train(*RESNET, *FAST, "trainer.max_epochs=2", "task.freeze=1ep", "task.layer_decay=0.5", "seed=3")
    assert f"step 2: training {total:,} of {total:,} parameters (100 %)" in (freed / "train.log").read_text()
    assert not torch.equal(state(freed)["network.conv1.weight"], start["network.conv1.weight"])
    assert not torch.equal(state(freed)["network.bn1.running_mean"], start["network.bn1.running_mean"])


def test_a_longer_run_does_not_freeze_again(train: Train) -> None:
    """A share of the run is that of its first plan."""
    folder = train(*RESNET, *FAST, "trainer.max_epochs=2", "task.freeze=50%")
    train(f"resume={folder}", "trainer.max_epochs=6")
    log = (folder / "train.log").read_text()
    assert log.count("the head, until step 2") == 1
    assert log.count("(100 %)") == 1
    assert "until step 6" not in log

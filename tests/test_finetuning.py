"""Layer-wise learning rates, a frozen backbone, weights to begin with, a teacher: what transfer learning is made of."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Train, tiny_network
from torch import nn

from torchatlas import cli
from torchatlas.errors import UserError
from torchatlas.storage.checkpoints import read
from torchatlas.tasks.distillation import Distillation
from torchatlas.training.optimizers import Muon, build, layers
from torchatlas.zoo import create_model

RESNET = ("model=resnet18", "model.width=4", "model.depths=[1,1,1,1]", "data=cifar10", "data.fake=true", "trainer=cpu")
FAST = ("data.batch_size=8", "callbacks=default", "logger=none")


def test_layers_are_in_order_and_hold_each_parameter_once(tiny_name: str) -> None:
    network = tiny_network(tiny_name)
    found = [p for layer in layers(network) for p in layer]
    assert {id(p) for p in found} == {id(p) for p in network.parameters()}
    assert len(found) == len({id(p) for p in found})


def test_a_block_is_a_layer() -> None:
    network = create_model("resnet18", num_classes=10, image_size=32, width=4)
    blocks = [block for group in (network.layer1, network.layer2, network.layer3, network.layer4) for block in group]
    expected = [[*network.conv1.parameters(), *network.bn1.parameters()], *(list(b.parameters()) for b in blocks)]
    expected.append(list(network.fc.parameters()))
    assert [[id(p) for p in layer] for layer in layers(network)] == [[id(p) for p in layer] for layer in expected]


@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.AdamW, Muon])
def test_each_layer_has_its_learning_rate(cls: Any) -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 3), nn.Linear(3, 2))
    optimizer = build(partial(cls, lr=0.1, weight_decay=0.01), network, layer_decay=0.5)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for layer, rate in zip(network, (0.025, 0.025, 0.05, 0.1), strict=True):
        assert {rates[id(p)] for p in layer.parameters()} == {rate}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 8


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


def test_a_longer_run_does_not_freeze_again(train: Train) -> None:
    """A share of the run is that of its first plan."""
    folder = train(*RESNET, *FAST, "trainer.max_epochs=2", "task.freeze=50%")
    train(f"resume={folder}", "trainer.max_epochs=6")
    log = (folder / "train.log").read_text()
    assert log.count("the head, until step 2") == 1
    assert log.count("(100 %)") == 1
    assert "until step 6" not in log


def test_a_resumed_run_keeps_its_layers(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(*RESNET, *FAST, "trainer.max_epochs=1")
    with pytest.raises(SystemExit):
        train(f"resume={folder}", "trainer.max_epochs=2", "task.layer_decay=0.5")
    assert "task.layer_decay=0.5 cannot change in a resumed run" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_pure_precisions(precision: str, train: Train) -> None:
    """Teacher and calibration error follow the data's type."""
    teacher = train(*RESNET, *FAST, "trainer.max_epochs=1")
    folder = train(
        *RESNET, *FAST, "trainer.max_epochs=1", "task=distillation", f"task.teacher={teacher}",
        f"trainer.precision={precision}",
    )  # fmt: skip
    assert "test/calibration_error" in json.loads((folder / "metrics.json").read_text())["test"]


def test_a_teacher_gets_images_as_it_was_trained_with(train: Train) -> None:
    """Students of one teacher, with its normalisation and with another one, and resumed."""
    teacher = train(*RESNET, *FAST, "trainer.max_epochs=1", "+data.mean=[0.3,0.3,0.3]", "+data.std=[0.5,0.5,0.5]")
    student = [*RESNET, *FAST, "task=distillation", f"task.teacher={teacher}", "trainer.max_epochs=1"]
    folder = train(*student, f"weights={teacher}")
    assert json.loads((folder / "data.json").read_text())["mean"] == [0.3, 0.3, 0.3]
    train(f"resume={folder}", "trainer.max_epochs=2")  # with the normalisation that came with the weights
    assert json.loads((folder / "data.json").read_text())["mean"] == [0.3, 0.3, 0.3]
    other = Distillation(nn.Flatten(), temperature=1.0, weight=1.0)
    asked: list[torch.Tensor] = []
    other.teachers.append(Listener(asked))
    other.scale, other.shift = torch.tensor(0.5), torch.tensor(0.25)
    other.train().step((torch.full((2, 3), 2.0), torch.tensor([0, 1])))
    assert torch.equal(asked[0], torch.full((2, 3), 1.25))


class Listener(nn.Module):
    """Keeps what it is asked."""

    def __init__(self, asked: list[torch.Tensor]) -> None:
        super().__init__()
        self.asked = asked

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.asked.append(x)
        return x


def test_heads_are_the_last_layer() -> None:
    network = create_model("googlenet", num_classes=10, image_size=32, width=8)
    last = {id(p) for p in layers(network)[-1]}
    assert {id(p) for p in network.fc.parameters()} | {id(p) for p in network.aux1.parameters()} <= last
    assert not {id(p) for p in network.inception5b.parameters()} & last


def test_distillation_follows_the_teacher(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    """A student of the teacher alone agrees with it more than with the labels, which are noise here."""
    teacher = train("trainer.max_epochs=15", "trainer=cpu", *FAST[1:])
    student = train(
        "task=distillation", f"task.teacher={teacher}", "model.widths=[64]", "trainer.max_epochs=15", "trainer=cpu",
        "task.weight=1.0", "optim.lr=0.01", *FAST[1:],
    )  # fmt: skip
    assert json.loads((student / "metrics.json").read_text())["test"]["test/accuracy"] > 0.8
    assert not any("teacher" in key for key in state(student))
    (teacher / "checkpoints" / "best.ckpt").unlink()
    cli.evaluate([f"ckpt={student}"])  # the student needs no teacher
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["task=distillation"], "task.teacher=runs/NAME/TIME"),
        (["task=distillation", "task.teacher=nowhere"], "there is no checkpoint nowhere"),
        (["task=distillation", "task.temperature=0"], "task.temperature=0.* must be positive"),
        (["task.layer_decay=0"], "task.layer_decay=0.* must be over 0"),
        (["task.freeze=3"], "task.freeze=3 is no duration"),
        (["task.freeze=soon"], "task.freeze=soon is no duration"),
        (["weights=nowhere.pth"], "nowhere.pth"),
        (["weights=torchvision:NONE"], "IMAGENET1K"),
        (["weights=timm:nothing"], "timm"),
    ],
)  # fmt: skip
def test_mistakes(arguments: list[str], sentence: str, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        train(*RESNET, *FAST, *arguments)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error), error
    assert error.count("\n") == 1
    assert not list(Path.cwd().glob("runs/*/*"))


def test_a_teacher_of_other_data_is_refused(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = train("trainer.max_epochs=1", "trainer=cpu", *FAST[1:])
    with pytest.raises(SystemExit):
        train(*RESNET, *FAST, "task=distillation", f"task.teacher={teacher}")
    assert "was trained with other data" in capsys.readouterr().err


def test_several_passes_in_evaluate_and_predict(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("trainer.max_epochs=4", "trainer=cpu", *FAST[1:])
    capsys.readouterr()

    def accuracy(*words: str) -> str:
        cli.evaluate([f"ckpt={folder}", *words])
        return re.findall(r"accuracy +(\S+)", capsys.readouterr().out)[0]

    assert accuracy("mc_samples=3") == accuracy("mc_samples=3")  # seeded
    assert float(accuracy("mc_samples=3")) > 80
    assert accuracy("tta=flip") != accuracy()  # mirrored digits are other digits
    for words, sentence in (
        (["tta=mirror"], "tta=mirror is unknown"),
        (["mc_samples=-1"], "must not be negative"),
        (["mc_samples=x"], "whole number"),
    ):
        with pytest.raises(UserError, match=sentence):
            cli.evaluate([f"ckpt={folder}", *words])

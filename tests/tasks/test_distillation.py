"""A teacher: the loss by hand and as papers have it, precisions, images as it was trained with."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import Train
from helpers.tasks import Constant
from torch import Tensor, nn

from torchatlas import cli
from torchatlas.storage.checkpoints import read
from torchatlas.tasks.classification import Classification
from torchatlas.tasks.distillation import Distillation

RESNET = ("model=resnet18", "model.width=4", "model.depths=[1,1,1,1]", "data=cifar10", "data.fake=true", "trainer=cpu")
FAST = ("data.batch_size=8", "callbacks=default", "logger=none")


def state(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return read(folder / "checkpoints" / f"{name}.ckpt")["state_dict"]  # type: ignore[no-any-return]


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
    cli.run(["evaluate", f"ckpt={student}"])  # the student needs no teacher
    assert "accuracy" in capsys.readouterr().out


def test_a_teacher_of_other_data_is_refused(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = train("trainer.max_epochs=1", "trainer=cpu", *FAST[1:])
    with pytest.raises(SystemExit):
        train(*RESNET, *FAST, "task=distillation", f"task.teacher={teacher}")
    assert "was trained with other data" in capsys.readouterr().err


def test_distillation_worked_example() -> None:
    """(1 - w) H + w T² KL; nothing but H of the labels where the student is the teacher and w = 0; 0 where w = 1."""
    z, v, labels = torch.randn(5, 3), torch.randn(5, 3), torch.randint(3, (5,))
    task = Distillation(Constant(z), temperature=2.0, weight=0.25).train()
    task.teachers.append(Constant(v))
    p, q = (v / 2).softmax(1), (z / 2).softmax(1)
    kl = (p * (p / q).log()).sum(1).mean()
    expected = 0.75 * F.cross_entropy(z, labels) + 0.25 * 4 * kl
    torch.testing.assert_close(task.step((torch.zeros(5, 1), labels))["loss"], expected)
    task.teachers[0] = Constant(z.clone())
    task.weight_of_teacher = 1.0
    assert task.step((torch.zeros(5, 1), labels))["loss"].item() == pytest.approx(0, abs=1e-6)
    assert not any("teacher" in name for name in task.state_dict())
    with pytest.raises(ValueError, match="temperature"):
        Distillation(Constant(z), temperature=0.0)


# --- DeiT and its teacher


class Fixed(nn.Module):
    """Logits that are given, two of them in training."""

    auxiliary_weight = 0.3

    def __init__(self, *logits: Tensor, distilled: bool = False) -> None:
        super().__init__()
        self.logits, self.distilled = logits, distilled

    def forward(self, x: Tensor) -> Any:
        return self.logits if self.training and len(self.logits) > 1 else self.logits[0]


def distillation_loss(student: nn.Module, v: Tensor, y: Tensor, **options: Any) -> Tensor:
    task = Distillation(student, **options).train()
    assert torch.equal(task.step((torch.zeros(len(y), 1), y))["loss"], Classification(student).train().step(
        (torch.zeros(len(y), 1), y))["loss"])  # without a teacher  # fmt: skip
    task.teachers.append(Fixed(v).eval())
    return task.step((torch.zeros(len(y), 1), y))["loss"]


def test_distillation_into_two_heads_is_the_papers() -> None:
    """Touvron et al. 2020, equations 2 and 3; an auxiliary head that is no distillation head learns from labels."""
    z, d, v, y = torch.randn(4, 6), torch.randn(4, 6), 2 * torch.randn(4, 6), torch.tensor([0, 5, 2, 2])

    def entropy(logits: Tensor, labels: Tensor) -> Tensor:
        return -torch.stack([row[k] - row.exp().sum().log() for row, k in zip(logits, labels, strict=True)]).mean()

    close = torch.testing.assert_close
    decided = v.argmax(1)
    student = Fixed(z, d, distilled=True)
    close(distillation_loss(student, v, y, hard=True), entropy(z, y) / 2 + entropy(d, decided) / 2)
    close(distillation_loss(student, v, y, hard=True, weight=0.2), 0.8 * entropy(z, y) + 0.2 * entropy(d, decided))
    p, q = (v / 3).softmax(1), (d / 3).softmax(1)
    divergence = (p * (p / q).log()).sum(1).mean()
    close(distillation_loss(student, v, y, temperature=3.0, weight=0.1), 0.9 * entropy(z, y) + 0.1 * 9 * divergence)
    one = Fixed(z)
    close(distillation_loss(one, v, y, hard=True), entropy(z, y) / 2 + entropy(z, decided) / 2)
    two = Fixed(z, d)
    close(distillation_loss(two, v, y, hard=True), entropy(z, y) / 2 + entropy(z, decided) / 2 + 0.3 * entropy(d, y))

"""What is separable, and what a run of a perceptron says of it."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import Train

from torchatlas.data.sequences.logic import FUNCTIONS, Logic, truth_table
from torchatlas.errors import UserError
from torchatlas.models.perceptron import Perceptron
from torchatlas.pictures.separability import Separability, linearly_separable
from torchatlas.storage.files import read_metrics
from torchatlas.tasks.perceptron import PerceptronRule

QUICK = ("trainer=cpu", "logger=none")


# --- the rule


def zero(network: Perceptron) -> Perceptron:
    for p in network.parameters():
        torch.nn.init.zeros_(p)
    return network


# --- separability


@pytest.mark.parametrize("inputs", [1, 2, 3, 6])
def test_parity_alone_is_not_separable(inputs: int) -> None:
    for function in FUNCTIONS:
        expected = function != "xor" or inputs == 1
        assert linearly_separable(*truth_table(function, inputs)) is expected


def test_fourteen_of_the_sixteen_functions_of_two_inputs_are_separable() -> None:
    """Minsky and Papert 1969: all but XOR and its negation."""
    x, _ = truth_table("and", 2)
    found = [linearly_separable(x, torch.tensor(y)) for y in itertools.product([0, 1], repeat=4)]
    assert [y for y, separable in enumerate(found) if not separable] == [0b0110, 0b1001]


def test_separability_of_many_classes() -> None:
    """Labels that an affine map gave are separable, until one sample in the middle of a class has another."""
    x = torch.randn(200, 4)
    labels = (x @ torch.randn(4, 5)).argmax(1)
    assert len(labels.unique()) > 2
    assert linearly_separable(x, labels) is True
    x = torch.cat([x, x[labels == 0].mean(0, keepdim=True)])  # the class's region is convex: its mean is inside
    assert linearly_separable(x, torch.cat([labels, torch.tensor([0])])) is True
    assert linearly_separable(x, torch.cat([labels, torch.tensor([1])])) is False
    assert linearly_separable(1000 * x + 5, 4 + 2 * torch.cat([labels, torch.tensor([1])])) is False
    assert linearly_separable(x[:5], torch.zeros(5, dtype=torch.int64)) is True


# --- the program


def verdict(folder: Any) -> str:
    (line,) = [line for line in (folder / "train.log").read_text().splitlines() if "training samples" in line]
    return line


@pytest.mark.parametrize("function", ["and", "or", "nand"])
def test_a_perceptron_learns_what_is_separable_and_says_when(function: str, train: Train) -> None:
    folder = train("model=perceptron", f"data.function={function}", *QUICK)
    assert read_metrics(folder)["test"]["test/accuracy"] == 1
    assert "converged: no mistake among 16 training samples, after " in verdict(folder)
    assert "the last in epoch " in verdict(folder)


def test_a_perceptron_fails_at_xor_and_says_so(train: Train) -> None:
    folder = train("model=perceptron", "data.function=xor", *QUICK)
    found = read_metrics(folder)
    assert 0.5 <= found["test"]["test/accuracy"] <= 0.75
    assert found["final"]["val/accuracy"] <= 0.75
    assert "not linearly separable, as a linear program shows: no perceptron learns them" in verdict(folder)


def test_a_hidden_layer_and_the_differentiable_rule(train: Train) -> None:
    """An MLP learns XOR; cross-entropy brings the same perceptron to AND, and not to XOR."""
    hidden = ["model=mlp", "data=logic", "model.widths=[8]", "model.dropout=0.0", "optim.lr=0.01"]
    hidden += ["model.activation=tanh"]
    assert read_metrics(train(*hidden, "data.function=xor", *QUICK))["test"]["test/accuracy"] == 1
    for function, accuracy in (("and", 1), ("xor", 0.75)):
        folder = train("model=perceptron", "task=classification", f"data.function={function}", *QUICK)
        assert read_metrics(folder)["test"]["test/accuracy"] <= accuracy
        assert (read_metrics(folder)["test"]["test/accuracy"] == 1) is (function == "and")
        assert "training samples" not in (folder / "train.log").read_text()


def test_an_image_perceptron_and_corrections_across_a_resume(train: Train) -> None:
    """Two epochs at once, or one and one more: the same corrections; digits are separable, so more epochs are asked."""
    arguments = ["model=perceptron", "data=digits", "data.crop_padding=0", *QUICK, "callbacks.separability.limit=0"]
    whole = verdict(train(*arguments, "trainer.max_epochs=2"))
    assert "not settled" in whole
    assert "limit=0 numbers" in whole
    half = train(*arguments, "trainer.max_epochs=1")
    train(f"resume={half}", "trainer.max_epochs=2")
    lines = [line for line in (half / "train.log").read_text().splitlines() if "training samples" in line]
    assert lines[-1].split(" after ")[1] == whole.split(" after ")[1] != lines[0].split(" after ")[1]


@pytest.mark.parametrize(("augmented", "how"), [(False, "more epochs are needed"), (True, "without augmentation are")])
def test_more_epochs_are_asked_where_they_help(augmented: bool, how: str) -> None:
    x, labels = truth_table("and", 2)
    data = Logic(in_channels=2)
    data.setup()
    if augmented:
        data.splits["train"] = Moving(x, labels)
    trainer: Any = SimpleNamespace(
        datamodule=data, max_epochs=7, strategy=SimpleNamespace(batch_to_device=lambda batch, _: data.transform(batch)),
        precision_plugin=SimpleNamespace(forward_context=torch.no_grad),
    )  # fmt: skip
    sentence = Separability().verdict(trainer, PerceptronRule(zero(Perceptron())), 1, 1)
    n = 4 if augmented else 16
    assert sentence.startswith(f"{n} mistakes among {n} training samples, after 1 correction, the last in epoch 1; ")
    assert "classes are linearly separable" in sentence
    assert how in sentence
    assert sentence.endswith("trainer.max_epochs=14")


class Moving:
    """Samples that augmentation moves in training."""

    def __init__(self, x: torch.Tensor, labels: torch.Tensor) -> None:
        self.x, self.labels = x, labels

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, key: tuple[int, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[key[1]] + (key[0] >= 0), self.labels[key[1]]


def test_the_callback_refuses_other_tasks(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"limit=-1"):
        Separability(limit=-1)
    with pytest.raises(SystemExit):
        train("model=perceptron", "task=classification", "callbacks=perceptron", *QUICK)
    assert "use task=perceptron" in capsys.readouterr().err

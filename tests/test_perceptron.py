"""Rosenblatt's rule: against the rule written out, on truth tables, and what it says of them."""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Train

from torchatlas.data.sequences.logic import FUNCTIONS, Logic, truth_table
from torchatlas.errors import UserError
from torchatlas.models.perceptron import Perceptron
from torchatlas.pictures.separability import Separability, linearly_separable
from torchatlas.storage.files import read_metrics
from torchatlas.tasks.perceptron import PerceptronRule

QUICK = ("trainer=cpu", "logger=none")

# --- the rule


def gaussian(samples: int, features: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes around means of their own, which overlap."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(classes, features, generator=generator)
    labels = torch.randint(classes, (samples,), generator=generator)
    return means[labels] + torch.randn(samples, features, generator=generator), labels


def learn(network: Perceptron, x: torch.Tensor, labels: torch.Tensor, rate: float) -> int:
    """Pass once over the samples, one at a time; returns the number of mistakes."""
    task, optimizer = PerceptronRule(network), torch.optim.SGD(network.parameters(), lr=rate)
    mistakes = 0
    for sample, label in zip(x, labels, strict=True):
        optimizer.zero_grad()
        out = task.step((sample[None], label[None]))
        out["loss"].backward()
        optimizer.step()
        mistakes += int(out["mistakes"].sum())
    return mistakes


@pytest.mark.parametrize(("classes", "rate"), [(2, 1.0), (3, 0.1), (7, 0.5)])
def test_a_step_is_rosenblatts_rule(classes: int, rate: float) -> None:
    """Weight by weight with the rule in numpy: a mistaken sample is added to its class and taken from the rival."""
    x, labels = gaussian(300, 5, classes)
    network = Perceptron(in_channels=5, num_classes=classes)
    w, b = (p.detach().double().numpy().copy() for p in network.layers[1].parameters())
    corrections = 0
    for sample, y in zip(x.double().numpy(), labels.tolist(), strict=True):
        z = w @ sample + b
        rival = max((k for k in range(classes) if k != y), key=lambda k: z[k])
        if z[y] <= z[rival]:
            w[y] += rate * sample
            b[y] += rate
            w[rival] -= rate * sample
            b[rival] -= rate
            corrections += 1
    assert learn(network, x, labels, rate) == corrections > 10
    ours_w, ours_b = (p.detach().double().numpy() for p in network.layers[1].parameters())
    np.testing.assert_allclose(ours_w, w, rtol=0, atol=2e-5)
    np.testing.assert_allclose(ours_b, b, rtol=0, atol=2e-5)


def zero(network: Perceptron) -> Perceptron:
    for p in network.parameters():
        torch.nn.init.zeros_(p)
    return network


def test_two_classes_are_rosenblatts_single_unit() -> None:
    """One row of weights with targets ±1, from zero: the difference of our rows is twice that row, mistakes alike."""
    x, labels = truth_table("nand", 3)
    network = zero(Perceptron(in_channels=3))
    row, mistakes = np.zeros(4), 0
    for _ in range(10):
        for sample, y in zip(x.numpy(), (2 * labels - 1).tolist(), strict=True):
            extended = np.append(sample, 1)
            if y * (row @ extended) <= 0:
                row += y * extended
                mistakes += 1
    ours = sum(learn(network, x, labels, 1.0) for _ in range(10))
    assert ours == mistakes > 3
    affine = network.layers[1]
    difference = torch.cat([affine.weight[1] - affine.weight[0], (affine.bias[1] - affine.bias[0])[None]])
    assert difference.tolist() == (2 * row).tolist()


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_corrections_keep_to_novikoffs_bound(order: tuple[int, ...]) -> None:
    """AND from weights of zero: at most R²/γ² = 51, with |x̃|² <= 3 and the margin of (2, 2, -3), 1/√17."""
    x, labels = (part[list(order)] for part in truth_table("and", 2))
    network = zero(Perceptron())
    mistakes = [learn(network, x, labels, 1.0) for _ in range(60)]
    assert sum(mistakes) <= 51
    assert mistakes[-1] == 0


def test_criterion_worked_example() -> None:
    """Right by 1, wrong by 2, and a tie: losses 0, 2, 0, of which two are mistakes; each has one rival."""
    logits = torch.tensor([[2.0, 1.0, 0.0], [3.0, 1.0, 3.0], [1.0, 1.0, -5.0]], requires_grad=True)
    task = PerceptronRule(torch.nn.Identity())
    out = task.step((logits, torch.tensor([0, 1, 0])))
    loss = float(out["loss"].detach())
    assert loss == pytest.approx(2 / 3)
    assert float(out["metrics/accuracy"]) == pytest.approx(1 / 3)
    assert out["mistakes"].tolist() == [False, True, True]
    out["loss"].backward()
    assert logits.grad is not None
    gradient = 3 * logits.grad
    assert gradient[0].tolist() == [0, 0, 0]
    assert gradient[1].tolist() in ([1, -1, 0], [0, -1, 1])
    assert gradient[2].tolist() == [-1, 1, 0]
    shares = torch.tensor([[0.8, 0.2, 0], [0, 0.6, 0.4], [0.7, 0, 0.3]])
    assert float(task.step((logits, shares))["loss"].detach()) == loss
    with pytest.raises(ValueError, match=r"task\.monitor=f1 must be"):
        PerceptronRule(torch.nn.Identity(), monitor="f1")


def test_network_refuses_sizes_that_cannot_be() -> None:
    for sizes in ({"num_classes": 1}, {"in_channels": 0}, {"image_size": 0}):
        with pytest.raises(ValueError, match="positive sizes and two classes"):
            Perceptron(**sizes)


# --- the tables


@pytest.mark.parametrize("inputs", [1, 2, 5])
def test_truth_tables_are_pythons_operators(inputs: int) -> None:
    operators: dict[str, Callable[[Any], int]] = {
        "and": all, "or": any, "xor": lambda bits: sum(bits) % 2, "nand": lambda bits: not all(bits),
    }  # fmt: skip
    rows = list(itertools.product([0, 1], repeat=inputs))
    for function in FUNCTIONS:
        x, values = truth_table(function, inputs)
        assert x.tolist() == [list(map(float, row)) for row in rows]
        assert values.tolist() == [int(operators[function](row)) for row in rows]


def test_every_row_comes_equally_often_in_an_epoch() -> None:
    data = Logic(function="xor", inputs=3, in_channels=3, repeats=5, batch_size=1)
    data.setup()
    batches = [data.transform(batch) for batch in data.train_dataloader()]
    rows = [tuple(x[0].int().tolist()) for x, _ in batches]
    assert all(int(y) == sum(row) % 2 for row, (_, y) in zip(rows, batches, strict=True))
    assert sorted(rows) == sorted(5 * list(itertools.product([0, 1], repeat=3)))
    for loader in (data.val_dataloader(), data.test_dataloader()):
        assert torch.equal(torch.cat([x for x, _, *_ in loader]), truth_table("xor", 3)[0])


@pytest.mark.parametrize(
    ("given", "answer"),
    [({"function": "nor"}, "data.function=nor must be and, or, xor or nand"), ({"inputs": 0}, "from 1 to 16"),
     ({"inputs": 17}, "from 1 to 16"), ({"repeats": 0}, "data.repeats=0"), ({"in_channels": 3}, "change data.inputs"),
     ({"num_classes": 3}, "change data.inputs"), ({"image_size": 2}, "change data.inputs")],
)  # fmt: skip
def test_tables_that_cannot_be_are_refused(given: dict[str, Any], answer: str) -> None:
    with pytest.raises(UserError, match=answer):
        Logic(**{"in_channels": 2, **given})


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


def test_separable_means_that_the_rule_ends() -> None:
    found = []
    for seed in (0, 1, 2, 5, 8):
        x, labels = gaussian(12, 2, 3, seed)
        network = Perceptron(in_channels=2, num_classes=3)
        ended = any(learn(network, x, labels, 1.0) == 0 for _ in range(60))
        found.append(linearly_separable(x, labels))
        assert ended is found[-1]
    assert set(found) == {True, False}


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

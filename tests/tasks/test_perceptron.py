"""Rosenblatt's rule against the rule written out."""

import itertools

import numpy as np
import pytest
import torch

from torchatlas.data.sequences.logic import truth_table
from torchatlas.models.perceptron import Perceptron
from torchatlas.pictures.separability import linearly_separable
from torchatlas.tasks.perceptron import PerceptronRule

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


# --- separability


def test_separable_means_that_the_rule_ends() -> None:
    found = []
    for seed in (0, 1, 2, 5, 8):
        x, labels = gaussian(12, 2, 3, seed)
        network = Perceptron(in_channels=2, num_classes=3)
        ended = any(learn(network, x, labels, 1.0) == 0 for _ in range(60))
        found.append(linearly_separable(x, labels))
        assert ended is found[-1]
    assert set(found) == {True, False}

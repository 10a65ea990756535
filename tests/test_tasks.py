"""Tasks on stub networks, with numbers that can be worked out by hand."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchatlas.metrics.classification import BINS, calibration_gaps
from torchatlas.predict.passes import passes, views
from torchatlas.tasks.classification import Classification, log_mean
from torchatlas.tasks.distillation import Distillation
from torchatlas.tasks.language_modeling import LanguageModeling
from torchatlas.tasks.ngram import WittenBellTrigram


class Constant(nn.Module):
    """Answers with fixed logits."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits


def test_classification_worked_example() -> None:
    """Logits (1.2, 2.5, 0.8) for class 1: p = (.187279, .687184, .125537), loss .375154, gradient p - y."""
    task = Classification(Constant(torch.tensor([[1.2, 2.5, 0.8]])))
    out = task.step((torch.zeros(1, 1), torch.tensor([1])))
    assert out["loss"].item() == pytest.approx(0.375154, abs=1e-6)
    assert float(out["metrics/accuracy"]) == 1
    out["loss"].backward()
    expected = torch.tensor([[0.187279, 0.687184 - 1, 0.125537]])
    torch.testing.assert_close(task.network.logits.grad, expected, rtol=0, atol=1e-6)


def test_a_perfect_prediction_has_the_minimal_loss() -> None:
    labels = torch.tensor([2, 0])
    perfect = torch.full((2, 3), -50.0).scatter(1, labels[:, None], 50.0)
    loss = Classification(Constant(perfect)).step((torch.zeros(2, 1), labels))["loss"]
    assert loss.item() == pytest.approx(0, abs=1e-6)
    tokens = torch.tensor([[1, 2, 0, 1]])
    perfect = torch.full((1, 3, 3), -50.0).scatter(2, tokens[:, 1:, None], 50.0)
    loss = LanguageModeling(Constant(perfect)).step((tokens,))["loss"]
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_label_smoothing_is_for_training_only() -> None:
    """E of K classes gives the true class 1 - e + e/K."""
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    task = Classification(Constant(logits), label_smoothing=0.125)
    batch = (torch.zeros(1, 1), torch.tensor([4]))
    log_p = logits.log_softmax(1)[0]
    target = torch.tensor([0.025, 0.025, 0.025, 0.025, 0.9])
    assert task.train().step(batch)["loss"].item() == pytest.approx(float(-(target * log_p).sum()), rel=1e-6)
    assert task.eval().step(batch)["loss"].item() == pytest.approx(float(-log_p[4]), rel=1e-6)
    with pytest.raises(ValueError, match="monitor"):
        Classification(Constant(logits), monitor="f1")


def test_language_model_figures() -> None:
    """Uniform logits over V tokens: perplexity V, log2 V bits; a batch counts by its predicted tokens."""
    task = LanguageModeling(Constant(torch.zeros(2, 7, 32)))
    batch = (torch.randint(32, (2, 8)),)
    figures = task.derive({"loss": task.step(batch)["loss"].detach()})
    assert float(figures["perplexity"]) == pytest.approx(32, rel=1e-5)
    assert float(figures["bits_per_character"]) == pytest.approx(5, rel=1e-5)
    assert task.weight(batch) == 14


def test_generate_is_seeded_and_leaves_the_random_state_alone() -> None:
    from torchatlas.zoo import create_model

    task = LanguageModeling(create_model("lstm_lm", vocab_size=12, dim=8, depth=1, dropout=0.5))
    before = torch.get_rng_state()
    prompt = torch.tensor([1, 2, 3])
    one, two = (task.generate(prompt, 20, context=8, seed=5) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(one[:3], prompt)
    assert len(one) == 23
    assert task.network.training
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(one, task.generate(prompt, 20, context=8, seed=6))


def test_trigram_probabilities_sum_to_one() -> None:
    model = WittenBellTrigram(5)
    model.update(torch.randint(4, (3, 40)))  # token 4 never comes
    for table in model.probabilities():
        torch.testing.assert_close(table.sum(-1), torch.ones(table.shape[:-1]))
        assert (table > 0).all()


def test_trigram_worked_example() -> None:
    """Tokens 0 1 0 over V = 2: c = (2, 1), two kinds, p(0) = (2 + 2/2) / (3 + 2) = .6;
    after 1 came one token of one kind, a 0: p(0|1) = (1 + .6) / 2 = .8; after (0, 1) likewise (1 + .8) / 2 = .9.
    """
    model = WittenBellTrigram(2)
    model.update(torch.tensor([[0, 1, 0]]))
    unigram, bigram, trigram = model.probabilities()
    assert float(unigram[0]) == pytest.approx(0.6)
    assert float(bigram[1, 0]) == pytest.approx(0.8)
    assert float(trigram[0, 1, 0]) == pytest.approx(0.9)
    assert float(trigram[1, 1, 0]) == pytest.approx(0.8)  # a history never seen: the shorter one decides
    nll = model.nll(torch.tensor([[0, 1, 0]]))
    torch.testing.assert_close(nll, -torch.tensor([[float(bigram[0, 1]), 0.9]]).log())


def test_trigram_knows_a_deterministic_text_and_refuses_large_vocabularies() -> None:
    tokens = (torch.arange(400) % 7).view(4, 100)
    model = WittenBellTrigram(7)
    model.update(tokens)
    assert float(model.nll(tokens).mean()) / math.log(2) < 0.1
    with pytest.raises(ValueError, match="trigrams"):
        WittenBellTrigram(5000)


def test_calibration_error_is_torchmetrics() -> None:
    """Of an epoch in uneven batches, as the mean of the batches' gaps."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, labels = 3 * torch.randn(200, 4), torch.randint(4, (200,))
    gaps = torch.zeros(BINS)
    for part in torch.arange(200).split(37):
        gaps += calibration_gaps(logits[part], labels[part]) * len(part) / 200
    expected = multiclass_calibration_error(logits.softmax(1), labels, 4, n_bins=BINS, norm="l1")
    torch.testing.assert_close(gaps.abs().sum(), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(log_mean(torch.tensor([[[0.0, 1.0]]])).exp(), torch.tensor([[0.0, 1.0]]))
    assert log_mean(torch.tensor([[[0.0, 1.0]]])).isfinite().all()
    derived = Classification(Constant(logits)).derive({"loss": torch.tensor(1.0), "calibration_gaps": gaps})
    assert set(derived) == {"loss", "calibration_error"}


def test_mixed_labels() -> None:
    """The loss of 0.7 of one class and 0.3 of another is that mixture of their losses; the larger share counts."""
    logits = torch.tensor([[1.2, 2.5, 0.8]])
    task = Classification(Constant(logits)).train()
    out = task.step((torch.zeros(1, 1), torch.tensor([[0.3, 0.7, 0.0]])))
    log_p = logits.log_softmax(1)[0]
    assert out["loss"].item() == pytest.approx(float(-0.3 * log_p[0] - 0.7 * log_p[1]), rel=1e-6)
    assert float(out["metrics/accuracy"]) == 1


class WithAuxiliary(Constant):
    """Two outputs in training."""

    auxiliary_weight = 0.3

    def forward(self, x: torch.Tensor) -> Any:
        return (self.logits, 2 * self.logits) if self.training else self.logits


def test_auxiliary_losses_count_in_training_only() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    task = Classification(WithAuxiliary(logits))
    plain, other = F.cross_entropy(logits, labels), F.cross_entropy(2 * logits, labels)
    torch.testing.assert_close(task.train().step((torch.zeros(4, 1), labels))["loss"], plain + 0.3 * other)
    torch.testing.assert_close(task.eval().step((torch.zeros(4, 1), labels))["loss"], plain)


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


class Mean(nn.Module):
    """Logits that depend on where in the image something is; with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.dropout(x.flatten(1)))


def test_test_time_augmentation() -> None:
    """Mirrored and shifted images, with zeros from outside."""
    x = torch.arange(64.0).view(1, 1, 8, 8)
    network = Mean().eval()
    (plain,) = passes("none", 0)(network, x)
    torch.testing.assert_close(plain, network(x).softmax(1))
    both = passes("flip", 0)(network, x)
    torch.testing.assert_close(both[1], network(x.flip(3)).softmax(1))
    ten = [view(x) for view in views("ten")]
    assert len(ten) == 10
    corner = torch.zeros_like(x)
    corner[..., :7, 1:] = x[..., 1:, :7]  # up and to the right
    assert sum(torch.equal(corner, one) for one in ten) == 1


def test_monte_carlo_dropout() -> None:
    """The mean over passes tends to the expected probability, and the layers are left as they were."""
    network, x = Mean().eval(), torch.randn(4, 1, 8, 8)
    found = passes("none", 400)(network, x)
    assert found.shape == (400, 4, 3)
    assert found.std(0).min() > 0
    assert not network.dropout.training
    network.dropout.train()
    by_hand = torch.stack([network(x).softmax(1) for _ in range(400)])
    assert (found.mean(0) - by_hand.mean(0)).abs().max() < 0.1

"""Tasks on stub networks, with numbers that can be worked out by hand."""

import math

import pytest
import torch
from torch import nn

from torchatlas.tasks.classification import Classification
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
    from torchatlas import create_model

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

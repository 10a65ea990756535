"""Trigrams, dense and sparse."""

import math

import pytest
import torch

from torchatlas.tasks.ngram import WittenBellTrigram
from torchatlas.tasks.sparse_ngram import SparseWittenBellTrigram


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


# --- baselines


def test_the_sparse_trigram_is_the_dense_one() -> None:
    dense, train = WittenBellTrigram(7), [torch.randint(6, (4, 30)), torch.randint(6, (1, 50))]
    for windows in train:
        dense.update(windows)
    judged = torch.randint(7, (5, 12))
    torch.testing.assert_close(
        SparseWittenBellTrigram(7, train).nll(judged), dense.nll(judged).double(), rtol=1e-5, atol=1e-6
    )
    large = SparseWittenBellTrigram(2_000_000, [torch.tensor([[1_999_999, 5, 1_999_999, 5]])])
    assert float(large.probability(large._code(torch.tensor([[5, 1_999_999, 5]]), 3), 3)) > 0.8
    with pytest.raises(ValueError, match="at most 2097151 tokens"):
        SparseWittenBellTrigram(2**21, train)

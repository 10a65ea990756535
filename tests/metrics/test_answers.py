"""Answers as SQuAD judges them; the best span against all spans."""

import math

import pytest
import torch

from torchatlas.metrics import answers


def test_official_normalisation_by_hand() -> None:
    for said, expected in (
        ("The Eiffel Tower!", "eiffel tower"),
        ("  an apple,  a  pear ", "apple pear"),
        ("theatre", "theatre"),  # an article is a word of its own
        ("U.S.", "us"),
        ("Saint-Denis", "saintdenis"),
        ("a", ""),
        ("“quoted”", "“quoted”"),  # only ASCII has punctuation here
    ):
        assert answers.normalize(said) == expected
    assert answers.score("the Norman", ["Normans", "Norman"]) == (1.0, 1.0)
    assert answers.score("in the 10th century", ["10th and 11th centuries"]) == (0.0, pytest.approx(2 / 7))
    assert answers.word_f1("a b b c", "b b d") == pytest.approx(2 * (2 / 3) * (2 / 3) / (4 / 3))
    assert answers.score("", []) == (1.0, 1.0)
    assert answers.score("x", []) == (0.0, 0.0)
    assert answers.score("", ["x"]) == (0.0, 0.0)
    assert answers.score("the", ["a"]) == (1.0, 1.0)  # both are empty when normalised


def test_best_span_against_all_spans() -> None:
    logits, allowed = torch.randn(20, 12, 2), torch.zeros(20, 12, dtype=torch.bool)
    for i in range(20):
        allowed[i, i % 5 : 7 + i % 5] = True
    allowed[3] = False
    for longest in (0, 2, 30):
        value, start, end = answers.best_spans(logits, allowed, longest)
        for i in range(20):
            spans = [
                (float(logits[i, a, 0] + logits[i, b, 1]), a, b)
                for a in range(12) for b in range(a, min(12, a + longest + 1)) if allowed[i, a] and allowed[i, b]
            ]  # fmt: skip
            if not spans:
                assert value[i] == -math.inf
                continue
            best = max(spans)
            assert float(value[i]) == pytest.approx(best[0])
            assert (int(start[i]), int(end[i])) == best[1:]

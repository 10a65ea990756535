"""Sentences of which two neighbouring words are swapped: order is all that tells."""

import re
from collections import Counter

import pytest

from torchatlas.data.labelled import pydoc_order
from torchatlas.data.labelled.labeled_text import baselines_of


@pytest.fixture(scope="module")
def documentation() -> dict[str, list[str]]:
    return pydoc_order.read_sentences()


def test_order_is_all_that_tells(documentation: dict[str, list[str]]) -> None:
    assert len(documentation["train"]) > 5000
    assert min(len(documentation["val"]), len(documentation["test"])) > 500
    for split, part in documentation.items():
        for swaps in (1, 3):
            examples = pydoc_order.make_examples(part, swaps)
            assert examples.labels == [0, 1] * (len(examples.labels) // 2)
            for plain, swapped in zip(examples.texts[::2], examples.texts[1::2], strict=True):
                a, b = plain.split(), swapped.split()
                differ = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
                assert len(differ) == 2
                assert differ[1] == differ[0] + 1 < len(a) - 1
                assert differ[0] > 0
                assert (a[differ[0]], a[differ[1]]) == (b[differ[1]], b[differ[0]])
            if swaps == 3:
                assert max(Counter(examples.texts[1::2]).values()) == 1  # each time another place
        assert all(pydoc_order.places_to_swap(sentence) for sentence in part), split


def test_no_sentence_is_learnt_and_asked(documentation: dict[str, list[str]]) -> None:
    keys = {split: {" ".join(re.findall(r"\w+", s.lower())) for s in part} for split, part in documentation.items()}
    assert not keys["train"] & keys["test"]
    assert not keys["train"] & keys["val"]
    assert not keys["val"] & keys["test"]
    assert documentation == pydoc_order.read_sentences()


def test_a_bag_of_words_is_at_chance(documentation: dict[str, list[str]]) -> None:
    examples = {split: pydoc_order.make_examples(part[:300], 1) for split, part in documentation.items()}
    assert baselines_of(examples)["test"] == {"majority_accuracy": 0.5, "bag_of_words_accuracy": 0.5}


def test_docstrings_are_those_of_python() -> None:
    import fnmatch
    import textwrap

    found = pydoc_order.docstrings()
    flat = {" ".join(text.split()) for text in found["fnmatch"]}
    assert " ".join((fnmatch.fnmatch.__doc__ or "").split()) in flat
    assert " ".join((textwrap.TextWrapper.fill.__doc__ or "").split()) in {
        " ".join(t.split()) for t in found["textwrap"]
    }
    assert "test" not in found

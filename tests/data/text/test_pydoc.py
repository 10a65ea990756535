"""Python's documentation by character, word and subword."""

from collections.abc import Callable
from typing import Any

import pytest
from helpers.tokens import codec, load

from torchatlas.data.text.pydoc import PydocTokens, PydocWords
from torchatlas.data.text.words import split_words
from torchatlas.errors import UserError


def test_pydoc_splits_share_no_text(make_data: Callable[..., Any]) -> None:
    texts = make_data("pydoc").read_texts()
    total = sum(map(len, texts.values()))
    assert 300_000 < total < 500_000
    assert all(0.07 < len(texts[s]) / total < 0.101 for s in ("val", "test"))
    lines = {s: {line for line in text.splitlines() if len(line) > 60} for s, text in texts.items()}
    for one, two in (("test", "train"), ("test", "val"), ("val", "train")):
        assert len(lines[one] & lines[two]) < 0.01 * len(lines[one])


# --- words and characters


def test_words_of_pydoc_are_the_most_frequent_of_training() -> None:
    data = PydocWords(vocab_size=500, context=16)
    data.setup()
    train = split_words(data.read_texts()["train"], "punctuation")
    counts = dict.fromkeys(train, 0)
    for word in train:
        counts[word] += 1
    words = data.codec.words
    assert len(words) == 500
    assert words[-1] == "<unk>"
    keys = [(-counts[word], word) for word in words[:-1]]
    assert keys == sorted(keys)
    assert max(counts[word] for word in set(counts) - set(words)) <= counts[words[-2]]
    with pytest.raises(UserError, match=r"data.vocab_size=9000 is not the \d+ of this text"):
        PydocWords(vocab_size=9000, context=16).setup()


# --- data


def test_pydoc_by_bpe() -> None:
    data = PydocTokens(vocab_size=4096, context=32, batch_size=4)
    data.setup()
    texts = data.read_texts()
    for split, text in texts.items():
        tokens = data.splits[split].tokens
        assert data.codec.decode(tokens) == text
        assert data.bytes_per_token[split] == pytest.approx(len(text.encode()) / len(tokens))
        assert 3 < data.bytes_per_token[split] < 5
    assert data.unit == "token"
    with pytest.raises(UserError, match=r"data.vocab_size=4096 is not the 600 of this text: use data.vocab_size=600"):
        load(PydocTokens, vocab_size=4096, codec=codec("bpe")).setup()

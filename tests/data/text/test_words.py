"""Words as tokens."""

import pytest

from torchatlas.data.text.words import WordCodec, most_frequent, split_words


def test_words() -> None:
    text = "It's “x_1”, isn’t it?\n\nYes: 3.5 €"
    words = ["It's", "“", "x_1", "”", ",", "isn’t", "it", "?", "\n", "\n", "Yes", ":", "3", ".", "5", "€"]
    assert split_words(text, "punctuation") == words
    assert split_words(" = A = \n \n b <unk>\n", "blanks") == ["=", "A", "=", "<eos>", "<eos>", "b", "<unk>", "<eos>"]
    assert split_words("no line feed", "blanks")[-1] == "<eos>"


def test_ties_are_broken_by_the_alphabet() -> None:
    assert most_frequent(["b", "a", "c", "c", "<unk>", "<unk>", "<unk>", "d"], 3, ["<unk>"]) == ["c", "a", "b"]


@pytest.mark.parametrize("rule", ["blanks", "punctuation"])
def test_word_codec(rule: str) -> None:
    text = "the cat sat\non the mat\n"
    codec = WordCodec(sorted(set(split_words(text, rule))), rule)
    assert codec.words[-1] == "<unk>"
    assert codec.decode(codec.encode(text)) == text
    assert codec.decode(codec.encode("the dog sat\n")) == "the <unk> sat\n"
    assert (
        codec.unknown("the dog, the dog") == {"punctuation": {"dog": 2, ",": 1}, "blanks": {"dog,": 1, "dog": 1}}[rule]
    )
    marked = WordCodec(["<unk>", "a"], rule)  # of a text in which it is a word like others
    assert marked.vocab_size == 2
    assert marked.encode("b")[0] == 0

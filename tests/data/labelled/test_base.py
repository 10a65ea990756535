"""Rows of tokens, truncation, settings that cannot be."""

from pathlib import Path
from typing import Any

import pytest
from helpers.labelled import WORDS, sentences

from torchatlas.data.labelled.base import EncodedText, longest_first, read_lines
from torchatlas.data.labelled.labeled_text import Examples, LabeledText
from torchatlas.data.text.tokenizer import BERT, train_codec
from torchatlas.errors import UserError


class Given(LabeledText):
    """Data of a test."""

    def __init__(self, examples: dict[str, Examples], **common: Any) -> None:
        super().__init__(num_classes=2, **common)
        self.classes, self.examples = ("no", "yes"), examples
        self.pair = examples["train"].pairs is not None

    def read_examples(self) -> dict[str, Examples]:
        return self.examples


def given(pair: bool = False, n: int = 40) -> dict[str, Examples]:
    def part(seed: int, n: int) -> Examples:
        return Examples(sentences(n, seed), sentences(n, seed + 10) if pair else None, [i % 2 for i in range(n)])

    return {"train": part(0, n), "val": part(1, n // 2), "test": part(2, n // 2)}


# --- tokens of texts


def test_the_longer_text_is_cut_first() -> None:
    """Against the rule itself, one token at a time."""
    for a in range(8):
        for b in range(8):
            for room in range(1, 18):
                x, y = a, b
                while x + y > room:
                    x, y = (x - 1, y) if x > y else (x, y - 1)
                assert longest_first(a, b, room) == (x, y)


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    for options, message in (
        ({"by": "letter"}, "data.by=letter must be one of"),
        ({"max_length": 3}, "data.max_length=3 must be at least 4"),
        ({"vocab_size": 5}, "more than the 5 special tokens"),
    ):
        with pytest.raises(UserError, match=message):
            EncodedText(**{"vocab_size": 60, **options})
    with pytest.raises(UserError, match="must be at least 2"):
        LabeledText(vocab_size=60, num_classes=1)
    path = tmp_path / "tokenizer.json"
    train_codec(sentences(50), "word", 60, BERT).save(path)
    size = EncodedText.declare_vocab_size(str(path))
    assert size == len(WORDS) + len(BERT)
    assert EncodedText.declare_vocab_size() == EncodedText.vocabulary
    data = Given(given(), vocab_size=size, tokenizer=str(path))
    data.setup()
    assert data.codec.unit == "word"
    with pytest.raises(UserError, match=f"use data.vocab_size={size}"):
        Given(given(), vocab_size=size - 1, tokenizer=str(path)).setup()
    train_codec(sentences(50), "wordpiece", 60, BERT).save(path)
    with pytest.raises(UserError, match="the checkpoint's is"):  # the tokeniser of a run is not exchanged
        Given(given(), vocab_size=60, tokenizer=str(path)).load_state_dict(data.describe())


# --- a user's files


def test_a_torn_file_of_a_folder_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    data = Given(given(), vocab_size=60)
    data.setup()
    (tmp_path / "b.txt").write_text("fine\n")
    (tmp_path / "a.txt").write_bytes(b"\xff\xff")
    found, unread = data.texts_of(str(tmp_path))
    assert [text.text for text in found] == ["fine"]
    (torn,) = unread
    assert torn["place"] == str(tmp_path / "a.txt")
    assert "UTF-8" in torn["error"]
    lines, unread = read_lines(str(tmp_path), (".txt",))
    assert [line for _, line in lines] == ["fine"]
    assert unread == [torn]
    assert list(data.read(str(tmp_path)).unread) == [torn]
    with pytest.raises(UserError, match="UTF-8"):
        data.texts_of(str(tmp_path / "a.txt"))


@pytest.mark.parametrize("pair", [False, True])
def test_tables_of_texts(pair: bool, tmp_path: Path) -> None:
    """For data sets that have no options for columns: by names that people use, or all columns there are."""
    data = Given(given(pair), vocab_size=60)
    path = tmp_path / "my.csv"

    def read(text: str) -> list[tuple[str, str | None]]:
        path.write_text(text)
        return [(found.text, found.pair) for found in data.texts_of(str(path))[0]]

    if pair:
        for names in ("sentence1,sentence2", "question,sentence", "Text,Pair", "one,other"):
            assert read(f'{names}\n"a, b",c\nd,"e\nf"\n') == [("a, b", "c"), ("d", "e\nf")]
    else:
        for names in ("id,text", "id,Sentence", "n,review"):
            assert read(f'{names}\n1,"a, b"\n2,"e\nf"\n') == [("a, b", None), ("e\nf", None)]
        assert read('name\n"a, b"\nc\n') == [("a, b", None), ("c", None)]
    with pytest.raises(UserError, match="is a table of the columns n, m, k: call that of the texts text"):
        read("n,m,k\na,b,c\n")
    with pytest.raises(UserError, match="holds no text"):
        read("text,pair\n")

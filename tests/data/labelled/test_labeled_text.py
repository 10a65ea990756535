"""Texts with classes: inputs as BERT has them, batches, baselines."""

import re
from collections import Counter
from typing import Any

import pytest
import torch
from helpers.labelled import sentences
from tokenizers import Tokenizer, processors

from torchatlas.data.labelled.base import segments_of
from torchatlas.data.labelled.labeled_text import Examples, LabeledText, baselines_of, encode_texts
from torchatlas.data.text.tokenizer import TokenizerCodec


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


@pytest.mark.parametrize("pair", [False, True])
def test_inputs_are_those_of_bert(codec: TokenizerCodec, pair: bool) -> None:
    """Tokens, segments and truncation of the library's own BERT processor (which divides an odd room otherwise)."""
    independent = Tokenizer.from_str(codec.text)
    independent.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    one, two = sentences(60, 1, 30), sentences(60, 2, 30)
    for length in (5, 9, 17, 65):
        independent.enable_truncation(length, strategy="longest_first")
        rows, firsts, cut = encode_texts(codec, one, two if pair else None, length, 2, 3)
        expected = independent.encode_batch(list(zip(one, two, strict=True)) if pair else one)
        assert rows == [e.ids for e in expected]
        assert cut == sum(bool(e.overflowing) for e in expected)
        if firsts is not None:
            for row, first, e in zip(rows, firsts, expected, strict=True):
                assert segments_of(torch.tensor([first]), len(row))[0].tolist() == e.type_ids


@pytest.mark.parametrize("pair", [False, True])
def test_batches(pair: bool) -> None:
    data = Given(given(pair), vocab_size=60, max_length=24, batch_size=8)
    data.setup()
    again = Given(given(pair), vocab_size=60, max_length=24, batch_size=8)
    again.load_state_dict(data.describe())
    again.setup()
    assert again.codec.text == data.codec.text
    test = data.examples["test"]
    rows, firsts, _ = encode_texts(data.codec, test.texts, test.pairs, 24, 2, 3)
    seen = Counter[tuple[int, ...]]()
    for batch in data.test_dataloader():
        tokens, lengths, *segments, labels = data.transform(batch)
        assert tokens.shape == (len(labels), int(lengths.max()))
        assert len(segments) == pair
        for i, n in enumerate(lengths.tolist()):
            assert not tokens[i, n:].any()
            seen[(*tokens[i, :n].tolist(), int(labels[i]))] += 1
            if pair:
                assert tokens[i, int((segments[0][i] == 0).sum()) - 1] == 3  # the first segment ends with [SEP]
    assert seen == Counter((*row, label) for row, label in zip(rows, test.labels, strict=True))
    example = data.example_batch(4)
    assert [x.dtype for x in example] == [x.dtype for x in batch]
    assert (firsts is not None) == pair


def test_batches_are_of_similar_length(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    data = Given(given(n=400), vocab_size=60, max_length=16, batch_size=8)
    data.setup()
    said = re.search(r"([\d.]+) % of a batch is padding, and would be ([\d.]+) %", caplog.text)
    assert said is not None
    tokens = [batch[0] for batch in data.train_dataloader()]
    waste = 1 - sum(int((x > 0).sum()) for x in tokens) / sum(x.numel() for x in tokens)
    assert abs(100 * waste - float(said[1])) < 0.1
    assert float(said[1]) < float(said[2]) / 2
    cut = sum(len(ids) > 14 for ids in data.codec.encode_many(data.examples["train"].texts))
    assert f"train: {cut} of 400 inputs" in caplog.text


# --- baselines


def test_baselines_are_of_their_split() -> None:
    def part(labels: list[int]) -> Examples:
        return Examples(
            [("good film" if y else "bad film") if i % 4 else "film" for i, y in enumerate(labels)], None, labels
        )

    examples = {"train": part([1, 1, 1, 0] * 5), "val": part([0, 0, 1, 1] * 2), "test": part([1, 0, 0, 0] * 2)}
    found = baselines_of(examples)
    assert found["val"] == {"majority_accuracy": 0.5, "bag_of_words_accuracy": 0.75}  # "film" alone is said to be good
    assert found["test"] == {"majority_accuracy": 0.25, "bag_of_words_accuracy": 1.0}


def test_bag_of_words_knows_the_sides_of_a_pair() -> None:
    """Whether a word stands in the first or the second text; not what a bag of all words could tell."""
    both = [("up", "down"), ("down", "up")]
    examples = Examples([a for a, _ in both] * 10, [b for _, b in both] * 10, [0, 1] * 10)
    assert baselines_of(dict.fromkeys(("train", "val", "test"), examples))["val"]["bag_of_words_accuracy"] == 1
    assert baselines_of(dict.fromkeys(("train", "val", "test"), examples._replace(labels=[1] * 20)))["val"] == {
        "majority_accuracy": 1.0
    }

"""Pairs of sentences: batches, vocabularies, what is left out."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from torchatlas.data.pairs.base import ParallelData
from torchatlas.data.text.tokenizer import BERT, TRANSLATION, train_codec
from torchatlas.errors import UserError


class Toy(ParallelData):
    """Counted words in two languages."""

    def read_pairs(self) -> dict[str, list[tuple[str, str]]]:
        german, english = ("eins zwei drei vier fünf", "One two three four FIVE")
        pairs = list(zip(german.split(), english.split(), strict=True))
        many = [
            (" ".join(pairs[(i + k) % 5][0] for k in range(n)), " ".join(pairs[(i + k) % 5][1] for k in range(n)))
            for n in (1, 2, 3, 4)
            for i in range(5)
        ]
        return {"train": many, "val": [("vier", "four"), ("sechs", "six"), ("eins " * 9, "One")], "test": many[:1]}


def toy(**options: Any) -> Toy:
    data = Toy(**{"source_vocab_size": 9, "target_vocab_size": 9, "by": "word", "batch_size": 4, **options})
    data.setup()
    return data


def test_batches_hold_what_the_strings_say() -> None:
    data = toy()
    for split in ("train", "val", "test"):
        seen = []
        for batch in data.loader(split, shuffle=split == "train"):
            source, lengths, target, indices = data.transform(batch)
            assert {x.dtype for x in batch} == {torch.int64}
            assert source.shape == (len(indices), int(lengths.max()))
            assert torch.equal(lengths, (source != 0).sum(1))
            for row, n, answer, index in zip(source, lengths.tolist(), target, indices.tolist(), strict=True):
                text, translation = data.raw(split)[index]
                assert torch.equal(row[:n], data.source_codec.encode(text))
                assert not row[n:].any()
                end = int((answer != 0).sum())
                assert not answer[end:].any()
                assert (int(answer[0]), int(answer[end - 1])) == (1, 2)
                assert torch.equal(answer[1 : end - 1], data.target_codec.encode(translation))
                assert (answer == 2).sum() == (answer == 1).sum() == 1
                seen.append(index)
            assert (target != 0).sum(1).max() == target.shape[1]
        assert sorted(seen) == list(range(len(data.raw(split))))
    assert data.source_codec.decode(data.source_codec.encode("drei vier")) == "drei vier"
    assert set(data.source_codec.encode("sechs sieben").tolist()) == {3}  # of validation alone, so unknown
    assert data.long == 2


def test_splits_that_train_no_vocabulary() -> None:
    data = toy()
    assert data.source_codec.tokenizer.token_to_id("sechs") is None
    assert data.source_codec.tokenizer.token_to_id("sieben") is None


def test_small_letters_leave_the_strings_alone() -> None:
    data = toy(lowercase=True)
    assert ("vier fünf", "four FIVE") in data.raw("train")
    assert data.target_codec.decode(data.target_codec.encode("four FIVE")) == "four five"
    assert data.describe()["lowercase"] is True


def test_one_vocabulary_for_both_sides() -> None:
    data = toy(shared=True, source_vocab_size=14, target_vocab_size=14)
    assert data.source_codec is data.target_codec
    assert data.source_codec.decode(data.source_codec.encode("eins One")) == "eins One"
    with pytest.raises(UserError, match=r"use data\.source_vocab_size=14 data\.target_vocab_size=14"):
        toy(shared=True, source_vocab_size=20, target_vocab_size=20)
    with pytest.raises(UserError, match=r"use data\.target_vocab_size=14"):
        toy(shared=True, source_vocab_size=14, target_vocab_size=13)


def test_long_and_empty_pairs_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    class Gaps(Toy):
        def read_pairs(self) -> dict[str, list[tuple[str, str]]]:
            pairs = super().read_pairs()
            return {**pairs, "train": [("  ", "One"), *pairs["train"]], "val": [("eins", " "), *pairs["val"]]}

    caplog.set_level("INFO", "torchatlas")
    data = Gaps(source_vocab_size=9, target_vocab_size=9, by="word", max_length=3, batch_size=4)
    data.setup()
    assert len(data.raw("train")) == len(data.splits["train"]) == 15
    assert max(len(source.split()) for source, _ in data.raw("train")) == 3
    assert [source.split()[0] for source, _ in data.raw("val")] == ["vier", "sechs", "eins"]  # the long one stays
    source, lengths, _, _ = data.splits["val"][-1, torch.arange(3)]
    assert lengths.tolist() == [1, 1, 9]
    assert source[2].unique().numel() == 1
    assert "1 of 21 train pairs are left out, since a side of them has no token" in caplog.text
    assert "1 of 4 val pairs are left out, since a side of them has no token" in caplog.text
    assert "5 of 21 training pairs are left out, since a side of them has more than data.max_length=3" in caplog.text
    assert re.search(r"batches of similar length: \d+\.\d% of their tokens are padding, without them \d", caplog.text)


def test_a_checkpoint_keeps_the_numbers_of_the_tokens() -> None:
    data = toy()
    about = json.loads(json.dumps(data.state_dict()))
    assert about["kind"] == "translation"

    class Later(Toy):
        def read_pairs(self) -> dict[str, list[tuple[str, str]]]:
            return {
                split: [("neu " * 9 + a, "new " * 9 + b) for a, b in p] for split, p in super().read_pairs().items()
            }

    later = Later(source_vocab_size=9, target_vocab_size=9, by="word", batch_size=4)
    later.load_state_dict(about)
    later.setup()
    assert later.source_codec.encode("vier fünf").tolist() == data.source_codec.encode("vier fünf").tolist()
    assert later.target_codec.encode("four FIVE").tolist() == data.target_codec.encode("four FIVE").tolist()
    assert later.source_codec.encode("neu").tolist() == [3]


def test_pairs_refuse_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.source_vocab_size=11 is not the 9 of these data: use data\.source_vo"):
        toy(source_vocab_size=11)
    with pytest.raises(UserError, match=r"data\.target_vocab_size=12 is not the 9 of these data: use data\.target_vo"):
        toy(target_vocab_size=12)
    with pytest.raises(UserError, match=r"data\.source_vocab_size=30 has no room .* use at least 260"):
        toy(by="bpe", source_vocab_size=30)
    with pytest.raises(UserError, match=r"data\.by=letter must be bpe, wordpiece, word or character"):
        toy(by="letter")
    with pytest.raises(UserError, match=r"data\.source_vocab_size=4 must be more than the 4 special tokens"):
        toy(source_vocab_size=4)
    too_long = Toy(source_vocab_size=9, target_vocab_size=9, by="word", max_length=1)
    pairs = {split: [("eins zwei drei vier fünf", "a b c d e")] for split in ("train", "val", "test")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Toy, "read_pairs", lambda self: pairs)
        with pytest.raises(UserError, match=r"no train pair has 1 to data\.max_length=1 tokens"):
            too_long.setup()
    with pytest.raises(UserError, match=r"add data\.shared=true"):
        toy(tokenizer="somewhere")
    train_codec(["eins zwei"], "word", 7, BERT).save(tmp_path / "tokenizer.json")
    with pytest.raises(UserError, match="does not number its special tokens <pad>, <bos>, <eos>, <unk> from 0 on"):
        toy(tokenizer=str(tmp_path), shared=True)


def test_a_given_tokeniser_serves_both_sides(tmp_path: Path) -> None:
    train_codec(["eins zwei One two"], "word", 8, TRANSLATION).save(tmp_path / "tokenizer.json")
    data = toy(tokenizer=str(tmp_path), shared=True, source_vocab_size=8, target_vocab_size=8)
    assert data.source_codec is data.target_codec
    assert data.target_codec.decode(data.target_codec.encode("two three")) == "two"


@pytest.mark.parametrize("sizes", [(9, 9), (200, 30)])
def test_made_data_are_reversed_copies(sizes: tuple[int, int]) -> None:
    data = toy(fake=True, source_vocab_size=sizes[0], target_vocab_size=sizes[1], batch_size=8)
    assert (data.source_codec.vocab_size, data.target_codec.vocab_size) == sizes
    for source, _, target, _ in data.train_dataloader():
        for row, answer in zip(source, target, strict=True):
            words = data.source_codec.decode(row[row != 0])
            assert data.target_codec.decode(answer).split() == words.split()[::-1]
            assert 3 not in row
            assert 3 not in answer


def test_example_has_no_values_on_the_meta_device() -> None:
    data = Toy(source_vocab_size=9, target_vocab_size=9)
    with torch.device("meta"):
        batch = data.example_batch(3)
    assert {x.device.type for x in batch} == {"meta"}
    assert [tuple(x.shape) for x in batch] == [tuple(x.shape) for x in data.example_batch(3)]
    source, lengths, target, indices = data.example_batch(3)
    assert source.shape[1] == data.long == int(lengths[0])
    assert int(source.min()) >= 4
    assert target[:, [0, -1]].tolist() == [[1, 2]] * 3
    assert indices.tolist() == [0, 1, 2]

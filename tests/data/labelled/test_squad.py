"""SQuAD: windows of texts with their answers, files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.labelled import CONTEXT, question, squad_file, windows

from torchatlas.data.labelled import squad
from torchatlas.data.text.tokenizer import BERT, TokenizerCodec, train_codec
from torchatlas.errors import UserError


def test_windows_show_the_whole_text_and_its_answer(codec: TokenizerCodec) -> None:
    asked = [question(answer) for answer in ("Seven small cats", "old trees", "the lazy dog", "fox")]
    data = windows(codec, asked)
    assert data.questions.unique().tolist() == [0, 1, 2, 3]
    tokens, lengths, segments, starts, ends, places = data[-1, torch.arange(len(data))]
    assert torch.equal(places, torch.arange(len(data)))
    assert int(lengths.max()) == 24 == tokens.shape[1]
    whole = codec.encode(CONTEXT).tolist()
    for k, one in enumerate(asked):
        seen: set[int] = set()
        found = []
        for i in (data.questions == k).nonzero()[:, 0].tolist():
            n = int(lengths[i])
            head = int((segments[i, :n] == 0).sum())
            assert codec.decode(tokens[i, 1 : head - 1]) == "cats"
            begin = int(data.places[i, 1])
            assert tokens[i, head : n - 1].tolist() == whole[begin : begin + n - 1 - head]
            seen.update(range(begin, begin + n - 1 - head))
            if starts[i]:
                found.append(data.text(i, int(starts[i]), int(ends[i])))
            else:
                assert int(ends[i]) == 0
            assert data.text(i, 0, 0) == data.text(i, head - 1, head) == data.text(i, n - 1, n - 1) == ""
        assert seen == set(range(len(whole)))
        assert set(found) == {one.answers[0]}


def test_answers_that_do_not_align_are_left_out(codec: TokenizerCodec) -> None:
    good, shifted = question("old trees"), question("old trees")._replace(starts=[CONTEXT.index("old trees") + 1])
    half = question("mall cats")
    none = squad.Question("cats", CONTEXT, [], [])
    assert "small" in codec.pieces(codec.encode("small")), "the case needs a word that is one token"
    data = windows(codec, [good, shifted, half, none], unanswerable=True)
    assert data.left_out == 2
    assert data.answers == [["old trees"], []]
    kept = windows(codec, [good, shifted, half, none], exact=False, unanswerable=True)
    assert len(kept.answers) == 4
    assert kept.left_out == 0
    assert not kept.starts[kept.questions == 3].any()


def test_byte_level_tokens_leave_the_blank_out() -> None:
    codec = train_codec([CONTEXT], "bpe", 300, (*BERT,))
    data = squad.SpanWindows(
        codec, [question("old trees")], max_length=64, max_question=8, stride=8, first=2, separator=3, exact=True,
        unanswerable=False,
    )  # fmt: skip
    (start,), (end,) = data.starts.tolist(), data.ends.tolist()
    assert data.text(0, start, end) == "old trees"


def test_squad_files(tmp_path: Path) -> None:
    questions = [question("old trees", f"Text {i}. {CONTEXT}", f"title {i // 3}") for i in range(90)]
    squad_file(tmp_path / "train.json", questions)
    squad_file(tmp_path / "dev.json", questions[:4])
    assert squad.read_squad(tmp_path / "train.json") == questions
    options: dict[str, Any] = {"path": str(tmp_path), "vocab_size": 120, "max_length": 40, "batch_size": 4}
    data = squad.Squad(val_share=0.3, **options)
    found = data.read_questions()
    titles = {split: {q.title for q in part} for split, part in found.items()}
    assert not titles["train"] & titles["val"]
    assert len(found["train"]) + len(found["val"]) == 90
    data.setup()
    assert len(data.splits["test"]) >= 4
    assert [x.dtype for x in next(iter(data.train_dataloader()))] == [x.dtype for x in data.example_batch(3)]
    none = squad.Question("which", CONTEXT, [], [], "other")
    squad_file(tmp_path / "dev.json", [none])
    with pytest.raises(UserError, match=r"use data.version=2\.0"):
        squad.Squad(val_share=0.3, **options).setup()
    squad.Squad(val_share=0.3, version="2.0", **options).setup()
    (tmp_path / "dev.json").unlink()
    with pytest.raises(UserError, match=r"does not hold train\.json and test\.json"):
        squad.Squad(**options).setup()
    for text in ("{", '{"data": [{"paragraphs": [{"qas": []}]}]}', '{"data": 3}', "[]"):
        (tmp_path / "train.json").write_text(text)
        with pytest.raises(UserError, match=r"train\.json (does not have the form of SQuAD|holds no question)"):
            squad.read_squad(tmp_path / "train.json")
    with pytest.raises(UserError, match=r"data\.version=3 must be 1\.1 or 2\.0"):
        squad.Squad(version="3", **options)

"""WikiText-103 by word and by subword."""

import shutil
from pathlib import Path

import pytest
from helpers.tokens import codec, load, made_text

from torchatlas.data.text import wikitext103
from torchatlas.data.text.base import codec_of
from torchatlas.data.text.wikitext103 import WikiText103
from torchatlas.data.text.words import WordCodec, most_frequent, split_words
from torchatlas.errors import UserError


@pytest.fixture
def articles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, ending in (("wikitext-103", "tokens"), ("wikitext-103-raw", "raw")):
        (tmp_path / name).mkdir()
        for i, part in enumerate(wikitext103.SPLITS.values()):
            words = made_text(400, i).replace("\n", " ").split()
            lines = "".join(f" {' '.join(words[k : k + 7])} <unk> @-@ é \n" for k in range(0, 280, 7))
            (tmp_path / name / f"wiki.{part}.{ending}").write_text(" \n = A = \n" + lines)
    monkeypatch.setattr(wikitext103, "LINES", dict.fromkeys(wikitext103.SPLITS, 42))
    return tmp_path


def test_wikitext103_by_word(articles: Path) -> None:
    """The tokens are those that the codec of words gives."""
    train = (articles / "wikitext-103" / "wiki.train.tokens").read_text()
    types = most_frequent(split_words(train, "blanks"), 10**6, ["<unk>"])
    data = WikiText103(root=str(articles), vocab_size=len(types) + 1, context=8, batch_size=2)
    data.prepare_data()
    data.setup()
    expected = WordCodec(types, "blanks")
    for split, part in wikitext103.SPLITS.items():
        text = (articles / "wikitext-103" / f"wiki.{part}.tokens").read_text()
        tokens = data.splits[split].tokens[:]
        assert tokens.tolist() == expected.encode(text).tolist()
        assert data.codec.decode(tokens).split() == expected.decode(tokens).split()
        assert data.codec.decode(tokens).count("\n") == 42
    assert data.unit == "word"
    shutil.rmtree(articles / "wikitext-103")
    data.prepare_data()  # the tokens are enough
    again = load(WikiText103, codec_of(data.describe()), root=str(articles), vocab_size=len(types) + 1)
    again.setup()


def test_wikitext103_by_bpe(articles: Path) -> None:
    size = WikiText103.declare_vocab_size("bpe", 300, None)
    data = WikiText103(root=str(articles), by="bpe", max_tokens=300, vocab_size=size, context=8, batch_size=2)
    data.prepare_data()
    data.setup()
    tokens = data.splits["test"].tokens[:]
    assert data.codec.decode(tokens) == (articles / "wikitext-103-raw" / "wiki.test.raw").read_text()
    assert data.unit == "token"
    codec("bpe").save(articles / "tokenizer.json")
    given = str(articles / "tokenizer.json")
    size = WikiText103.declare_vocab_size("bpe", 300, given)
    other = WikiText103(root=str(articles), by="bpe", tokenizer=given, vocab_size=size, context=8, batch_size=2)
    other.prepare_data()
    other.setup()
    assert other.codec.describe() == codec("bpe").describe()
    assert WikiText103.declare_vocab_size("word", 300, None) == 267_735
    with pytest.raises(UserError, match=r"data.by=letter must be word or bpe"):
        WikiText103.declare_vocab_size("letter", 300, None)
    path = articles / "wikitext-103-raw" / "wiki.valid.raw"
    path.write_text("torn")
    with pytest.raises(UserError, match=r"wiki.valid.raw has 1 lines where 42 are right"):
        WikiText103(root=str(articles), by="bpe", max_tokens=301, vocab_size=301).prepare_data()

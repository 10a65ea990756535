"""A user's own text: splits, vocabularies, mistakes."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from helpers.tokens import SIZES, SPECIALS, TEXT, codec

from torchatlas.data.text.base import ALPHABET
from torchatlas.data.text.text_file import TextFile, read_splits
from torchatlas.data.text.tokenizer import GPT, train_codec
from torchatlas.data.text.words import split_words
from torchatlas.errors import UserError

# --- data sets


def own_text(**options: Any) -> TextFile:
    by, share, largest = options.get("by", "character"), options.get("share", 0.05), options.get("max_tokens", 10_000)
    asked = {key: options[key] for key in ("split", "encoding", "parts") if key in options}
    size = TextFile.declare_vocab_size(options["path"], by, share, largest, **asked)
    data = TextFile(**{"vocab_size": size, "context": 8, "batch_size": 2, **options})
    data.setup()
    return data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    words = [f"word{i % 37 + i % 11}" for i in range(2000)]
    found = tmp_path / "own.txt"
    found.write_text("\n".join(" ".join(words[i : i + 9]) for i in range(0, 2000, 9)) + "\nat the end ÿ stands\n")
    return found


def test_own_text_is_cut_between_words(path: Path) -> None:
    splits = read_splits(path, 0.1)
    text = path.read_text()
    assert splits["train"] + splits["val"] + splits["test"] == text
    assert [len(splits[s]) / len(text) for s in ("train", "val", "test")] == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    assert all(splits[s][-1].isspace() for s in ("train", "val"))


@pytest.mark.parametrize("by", ["character", "word"])
def test_own_text_has_its_own_vocabulary(by: str, path: Path) -> None:
    """Of the training part alone: what only the test has is unknown."""
    data = own_text(path=str(path), by=by)
    train = data.read_texts()["train"]
    types = set(train) if by == "character" else set(split_words(train, "punctuation"))
    assert data.vocab_size == len(types) + 1
    assert data.codec.encode("ÿ")[0] == data.vocab_size - 1
    assert data.unit == by
    small = own_text(path=str(path), by=by, max_tokens=5)
    assert small.vocab_size == 5
    unknown = [float((d.splits["train"].tokens == d.vocab_size - 1).float().mean()) for d in (data, small)]
    assert unknown[0] == 0 < unknown[1]


def test_a_changed_text_keeps_the_numbers_of_the_checkpoint(path: Path) -> None:
    data = own_text(path=str(path))
    path.write_text("z" + path.read_text().replace("w", "%"))
    later = TextFile(path=str(path), vocab_size=data.vocab_size, context=8)
    later.load_state_dict(data.describe())
    later.setup()
    assert later.codec.describe() == data.codec.describe()
    with pytest.raises(UserError, match=r"is not the \d+ of this text"):
        TextFile(path=str(path), vocab_size=data.vocab_size, context=8).setup()


def test_a_folder_of_texts(tmp_path: Path) -> None:
    for name, text in (("b.txt", "second"), ("a.txt", "\N{BOM}first\r\n"), ("c.md", "none")):
        (tmp_path / name).write_bytes(text.encode())
    assert "".join(read_splits(tmp_path, 0.1).values()) == "first\n\n\nsecond"


def test_what_is_left_out_of_a_folder_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, text in {"a.txt": "one two " * 200, "b.txt": "", "c.md": "three", ".x.txt": "four"}.items():
        (tmp_path / name).write_text(text)
    with caplog.at_level("INFO"):
        data = own_text(path=str(tmp_path), vocab_size=TextFile.declare_vocab_size(str(tmp_path)), context=8)
        data.setup()
    assert "left out are 1 hidden files and folders (.x.txt), 1 files of other endings (.md)" in caplog.text
    assert "the text is that of 2 files, 1 of them empty" in caplog.text
    assert caplog.text.count("left out are") == 1


def test_utf16_without_its_mark_is_no_utf8(tmp_path: Path) -> None:
    """It can be decoded as UTF-8, with a zero byte behind each letter."""
    path = tmp_path / "a.txt"
    path.write_bytes("one\ntwo ".encode("utf-16-le") * 200)
    with pytest.raises(UserError, match=r"a\.txt, line 1 holds a zero byte, .*data\.encoding=utf-16-le"):
        TextFile.declare_vocab_size(str(path))
    assert TextFile.declare_vocab_size(str(path), encoding="utf-16-le") == len(set("one\ntwo ")) + 1


def test_mistakes_in_a_text_are_named(tmp_path: Path) -> None:
    def refuses(match: str, **options: Any) -> None:
        with pytest.raises(UserError, match=match):
            own_text(**options)

    file = tmp_path / "a.txt"
    refuses("needs a text: name a file", path=None)
    refuses("there is no file or folder nowhere", path="nowhere")
    refuses("holds no file that ends in .txt", path=str(tmp_path))
    file.write_text(" \n")
    refuses("a.txt is empty", path=str(file))
    file.write_bytes("naïve".encode("latin-1"))
    refuses("a.txt is no UTF-8 text", path=str(file))
    file.write_text("a b c d " * 8)
    refuses(
        r"the train text has 58 characters, too few for data.context=40: use data.context=7",
        path=str(file),
        context=40,
    )
    file.write_text("a b c d " * 20)
    refuses(r"the val text has \d words, too few for data.context=8", path=str(file), by="word")
    refuses("data.by=letter must be character, word, bpe or wordpiece", path=str(file), by="letter")
    refuses("data.share=0.5 must be between", path=str(file), share=0.5)
    refuses("data.max_tokens=1 must be at least 2", path=str(file), max_tokens=1)
    file.write_text("word" * 50 + " " * 20)
    refuses("the val text is empty", path=str(file), share=0.04)


# --- through the command line


def test_made_data_have_the_declared_size() -> None:
    for by, size in (("character", len(ALPHABET) + 1), ("word", 1000)):
        assert TextFile.declare_vocab_size(None, by, fake=True) == size
        data = TextFile(by=by, vocab_size=size, fake=True, context=8, batch_size=4)
        data.setup()
        assert data.codec.vocab_size == size
        assert int(data.splits["train"].tokens.max()) < size


# --- data


@pytest.mark.parametrize("by", ["bpe", "wordpiece"])
def test_own_text_by_subwords(by: str, tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text(TEXT)
    for most in (SIZES[by], 100_000):
        size = TextFile.declare_vocab_size(str(path), by, 0.1, most)
        assert size == most if most == SIZES[by] else size < most
        data = TextFile(path=str(path), by=by, share=0.1, max_tokens=most, vocab_size=size, context=8, batch_size=2)
        data.setup()
        assert data.codec.vocab_size == size
        train = data.read_texts()["train"]
        assert data.codec.describe() == train_codec([train], by, most, SPECIALS[by]).describe()
    with pytest.raises(UserError, match=r"data.max_tokens=20 has no room"):
        TextFile.declare_vocab_size(str(path), by, 0.1, 20)
    assert TextFile.declare_vocab_size(None, by, 0.1, 500, fake=True) == 500
    made = TextFile(by=by, vocab_size=500, fake=True, context=8, batch_size=2)
    made.setup()
    assert made.codec.vocab_size == 500
    assert made.unit == "token"


def test_a_wrong_tokeniser_is_refused(tmp_path: Path) -> None:
    path, given = tmp_path / "own.txt", tmp_path / "tokenizer.json"
    path.write_text(TEXT)
    codec("bpe").save(given)
    options = {"path": str(path), "tokenizer": str(given), "vocab_size": 600, "context": 8, "batch_size": 2}
    assert TextFile.declare_vocab_size(str(path), max_tokens=10, tokenizer=str(given)) == 600
    data = TextFile(**options)
    data.setup()
    assert data.codec.describe() == codec("bpe").describe()
    about = data.describe()
    later = TextFile(**options)
    later.load_state_dict(about)
    later.setup()
    other = train_codec([TEXT[:3000]], "bpe", 600, GPT)
    other.save(given)
    with pytest.raises(UserError, match=f"is tokeniser {other.fingerprint}, and the checkpoint's is"):
        TextFile(**options).load_state_dict(about)
    given.unlink()  # the checkpoint has it
    later = TextFile(**options)
    later.load_state_dict(about)
    later.setup()
    assert later.codec.describe() == codec("bpe").describe()


# --- splits and words that somebody has made


LINES = " the <unk> cat , it 's here \n the $ N <unk> dog \n"


@pytest.mark.parametrize("variant", ["as it is", "Windows", "packed", "latin-1"])
def test_files_of_splits_are_the_splits(variant: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    text = LINES.replace("dog", "chien né") if variant == "latin-1" else LINES
    encoding = "latin-1" if variant == "latin-1" else "utf-8"
    for name in ("train", "valid", "test"):
        data = (text * 9 + f" {name} \n").encode(encoding)
        data = data.replace(b"\n", b"\r\n") if variant == "Windows" else data
        (tmp_path / f"ptb.{name}.txt").write_bytes(gzip.compress(data) if variant == "packed" else data)
    own = own_text(path=str(tmp_path), by="word", encoding=encoding, parts=None)
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        assert own.read_texts()[split] == text * 9 + f" {name} \n"
    per_line = 14 + (variant == "latin-1")  # the words, <unk> among them, and <eos> twice
    assert [len(own.splits[s].tokens) for s in ("train", "val", "test")] == [9 * per_line + 2] * 3  # type: ignore[attr-defined]
    assert (
        f"{tmp_path}: ptb.train.txt, ptb.valid.txt, ptb.test.txt are the splits (data.parts=files)" in caplog.messages
    )
    assert "words are what stands between blanks, and <eos> ends each line (data.split=blanks)" in caplog.messages
    numbers = " + ".join([str(9 * per_line + 2)] * 3)
    kinds = f"of {own.vocab_size} kinds"
    assert f"{numbers} words for training, validation and test, {kinds}" in caplog.messages


def test_what_a_word_is_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text(LINES * 40)
    found = {
        split: own_text(path=str(path), by="word", split=split, share=0.2) for split in (None, "blanks", "punctuation")
    }
    assert found[None].codec.describe() == found["blanks"].codec.describe()
    assert "'s" in found["blanks"].codec.words  # type: ignore[attr-defined]
    assert "unk" in found["punctuation"].codec.words  # type: ignore[attr-defined]
    path.write_text((LINES * 40).replace("<unk>", "rare"))
    assert own_text(path=str(path), by="word", share=0.2).codec.describe()["rule"] == "punctuation"  # type: ignore[typeddict-item]
    with pytest.raises(UserError, match=r"data\.split=letters must be punctuation or blanks"):
        own_text(path=str(path), by="word", split="letters")
    with pytest.raises(UserError, match=r"data\.split=blanks says what a word is: add data\.by=word"):
        own_text(path=str(path), split="blanks")


def test_a_split_without_a_file_is_cut_from_training(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("word " * 100)
    (tmp_path / "test.txt").write_text("other " * 20)
    found = read_splits(tmp_path, 0.1)
    assert found == {"train": "word " * 91, "val": "word " * 9, "test": "other " * 20}

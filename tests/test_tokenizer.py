"""Tokenisers, files of tokens and how they are written, figures per byte."""

import contextlib
import hashlib
import itertools
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Train

from torchatlas import cli
from torchatlas.commands.prepare import prepare
from torchatlas.data.text import token_writing, tokenizer, wikitext103
from torchatlas.data.text.base import Streams, Windows, codec_of
from torchatlas.data.text.pydoc import PydocTokens
from torchatlas.data.text.text_file import TextFile, count_tokens
from torchatlas.data.text.token_file import StoredTokens, TokenFile, count_stored_tokens
from torchatlas.data.text.tokenizer import (
    BERT,
    GPT,
    KINDS,
    TRANSLATION,
    TokenizerCodec,
    codec_of_text,
    cut,
    load_codec,
    made_codec,
    train_codec,
)
from torchatlas.data.text.wikitext103 import WikiText103, count_wikitext103_tokens
from torchatlas.data.text.words import WordCodec, most_frequent, split_words
from torchatlas.errors import UserError
from torchatlas.storage.checkpoints import read
from torchatlas.tasks.language_modeling import trigram_nll

SPECIALS = {"bpe": GPT, "wordpiece": BERT, "word": TRANSLATION, "character": TRANSLATION}


def made_text(words: int, seed: int = 0) -> str:
    """Words of a made language with repetitions, punctuation, empty lines and signs of several bytes."""
    draw = random.Random(seed)
    stems = ["ba", "lo", "kün", "ter", "sha", "日本", "mi", "€x", "Ru"]
    lexicon = ["".join(draw.choices(stems, k=draw.randint(1, 4))) for _ in range(300)]
    blanks = [" "] * 12 + ["\n", ", ", ". ", "  ", "\n\n", "'s ", " 12 "]
    return "".join(draw.choice(lexicon) + draw.choice(blanks) for _ in range(words))


TEXT = made_text(8000)


SIZES = {"bpe": 600, "wordpiece": 200, "word": 200, "character": 600}


def codec(by: str) -> TokenizerCodec:
    return codec_of_text(TEXT, by, SIZES[by], SPECIALS[by])


# --- training


def test_bpe_by_hand() -> None:
    """Equally frequent pairs are merged by their numbers; `Ġ` stands for the blank before a word.

    `hug Ġhug Ġhug Ġbun Ġbun Ġpun`: hu, ug and un come 3 times; h has the smallest number. Then hu-g and u-n come 3
    times; u is before hu. Then hu-g. Then Ġ-hug, Ġ-b and b-un come twice; b is before Ġ.
    """
    found = train_codec(["hug hug hug bun bun pun"], "bpe", 257 + 4, GPT)
    assert json.loads(found.text)["model"]["merges"] == [["h", "u"], ["u", "n"], ["hu", "g"], ["b", "un"]]
    assert found.pieces(found.encode("bug hug gun")) == ["b", "u", "g", " ", "hug", " ", "g", "un"]
    assert found.pieces(found.encode("huge mug!")) == ["hug", "e", " ", "m", "u", "g", "!"]


def test_bpe_is_learnt_greedily_by_count_and_then_by_number() -> None:
    """Against counting the pairs anew before each merge."""
    words = ["low", "lower", "newest", "newest", "widest", "wide", "slow", "ｗide"]
    found = train_codec(["\n".join(words)], "bpe", 257 + 12, GPT)  # a word after a line feed has no blank before it
    signs = {sign: i for i, sign in enumerate(sorted(tokenizer.pre_tokenizers.ByteLevel.alphabet()))}
    numbers = {token: i for token, i in found.tokenizer.get_vocab().items() if i}
    assert all(numbers[sign] == 1 + place for sign, place in signs.items())
    encode = tokenizer.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    split = [[numbers[sign] for sign in encode(word)[0][0]] for word in words]
    names = {i: token for token, i in numbers.items()}
    expected = []
    for new in range(257, 257 + 12):
        counts: dict[tuple[int, int], int] = {}
        for word in split:
            for pair in itertools.pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        expected.append([names[best[0]], names[best[1]]])
        names[new] = names[best[0]] + names[best[1]]
        for word in split:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [new]
                i += 1
    assert json.loads(found.text)["model"]["merges"] == expected


def test_bpe_is_that_of_gpt2() -> None:
    """Against the tokeniser of transformers with the same vocabulary and merges."""
    from transformers import GPT2Tokenizer

    ours = codec("bpe")
    model = json.loads(ours.text)["model"]
    theirs = GPT2Tokenizer(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]])
    other = made_text(500, seed=1) + "\n\n\tEnd.  It's they'll 3,14 — <|endof text|> naïve 😀 \n "
    assert ours.encode(other).tolist() == theirs(other)["input_ids"]
    assert ours.decode(ours.encode(other)) == other == theirs.decode(ours.encode(other).tolist())


@pytest.mark.parametrize("lowercase", [False, True])
def test_wordpiece_is_that_of_bert(lowercase: bool) -> None:
    """Against the tokeniser of transformers with the same vocabulary."""
    from transformers import BertTokenizer

    ours = train_codec([TEXT], "wordpiece", 200, BERT, lowercase=lowercase)
    theirs = BertTokenizer(vocab=ours.tokenizer.get_vocab(), do_lower_case=lowercase)
    other = made_text(500, seed=1) + " naïve “Q” 😀 [x] end."
    assert ours.encode(other).tolist() == theirs(other, add_special_tokens=False)["input_ids"]


def test_wordpiece_takes_the_longest_token_that_fits() -> None:
    found = codec("wordpiece")
    vocabulary = found.tokenizer.get_vocab()
    for word in ("balotershami", "kün", "Ruba", "zzz"):
        parts, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            end = next((e for e in range(len(word), start, -1) if prefix + word[start:e] in vocabulary), None)
            if end is None:
                parts = ["[UNK]"]
                break
            parts.append(prefix + word[start:end])
            start = end
        assert [found.tokenizer.id_to_token(i) for i in found.encode(word).tolist()] == parts


@pytest.mark.parametrize("by", KINDS)
def test_the_same_text_gives_the_same_tokeniser(by: str) -> None:
    """However the text comes."""
    found = codec(by)
    assert train_codec(cut(TEXT, 1000), by, SIZES[by], SPECIALS[by]).text == found.text
    assert train_codec([TEXT], by, SIZES[by], SPECIALS[by]).text == found.text
    assert found.fingerprint == hashlib.sha256(found.text.encode()).hexdigest()[:12]
    assert [found.tokenizer.token_to_id(name) for name in SPECIALS[by]] == list(range(len(SPECIALS[by])))


def test_another_process_finds_the_same_tokenisers() -> None:
    """Hash tables have another order there."""
    program = (
        "import sys; from torchatlas.data.text.tokenizer import train_codec; text = sys.stdin.buffer.read().decode()\n"
        f"for by, specials in {SPECIALS!r}.items(): print(train_codec([text], by, {SIZES!r}[by], specials).fingerprint)"
    )
    said = subprocess.run([sys.executable, "-c", program], input=TEXT.encode(), capture_output=True, check=True)
    assert said.stdout.decode().split() == [codec(by).fingerprint for by in SPECIALS]


def test_words_and_characters_are_the_most_frequent() -> None:
    text = TEXT.replace("<", "")
    words = codec("word")
    assert words.vocab_size == 200
    types = most_frequent(split_words(text, "punctuation"), 196)
    assert [words.tokenizer.id_to_token(i) for i in range(4, 200)] == types
    known = set(types)
    assert words.decode(words.encode(text)) == " ".join(w for w in split_words(text, "punctuation") if w in known)
    assert words.unknown(text).total() == sum(w not in known for w in split_words(text, "punctuation"))
    characters = codec("character")
    assert characters.vocab_size == 4 + len(set(TEXT))  # fewer than were asked for
    assert [characters.tokenizer.id_to_token(i) for i in range(4, 24)] == most_frequent(TEXT, 20)
    assert characters.decode(characters.encode(TEXT)) == TEXT


def test_what_has_no_room_is_refused() -> None:
    with pytest.raises(UserError, match=r"data.vocab_size=256 has no room .* use at least 257"):
        train_codec(["text"], "bpe", 256, GPT)
    assert train_codec(["text"], "bpe", 257, GPT).vocab_size == 257
    with pytest.raises(UserError, match=r"use at least 11"):
        train_codec(["abc cba"], "wordpiece", 6, BERT)
    assert train_codec(["abc cba"], "wordpiece", 11, BERT).vocab_size == 11
    with pytest.raises(UserError, match=r"data.by=letter must be one of bpe, wordpiece"):
        train_codec(["text"], "letter", 256, GPT)
    with pytest.raises(ValueError, match="needs one of the special tokens"):
        train_codec(["text"], "word", 256, GPT)


# --- the codec


@pytest.mark.parametrize("by", KINDS)
def test_encoding_and_decoding(by: str) -> None:
    found = codec(by)
    other = made_text(40, seed=2)
    tokens = found.encode(other)
    assert tokens.dtype == torch.int64
    assert tokens.max() < found.vocab_size
    assert found.encode_many([other, "", "ba"]) == [tokens.tolist(), [], found.encode("ba").tolist()]
    if by in ("bpe", "character"):
        assert found.decode(tokens) == other
        assert "".join(found.pieces(tokens)) == other or by == "bpe"
    assert found.encode(found.decode(tokens)).tolist() == tokens.tolist() or by in ("wordpiece", "word")
    assert len(found.pieces(tokens)) == len(tokens) == len(found.offsets(other))
    spans = found.offsets(other)
    assert all(a < b <= len(other) for a, b in spans)
    if by == "character":
        assert [other[a:b] for a, b in spans] == list(other)
    special = found.number("no such", *SPECIALS[by])
    assert found.decode([special, *tokens.tolist(), special]) == found.decode(tokens)
    with pytest.raises(UserError, match="no token <no> or <none>"):
        found.number("<no>", "<none>")
    named = SPECIALS[by][-1]
    assert special not in found.encode(f"a {named} b").tolist()  # text is only text
    assert by != "bpe" or found.decode(found.encode(named)) == named


@pytest.mark.parametrize("by", KINDS)
def test_a_long_text_has_the_tokens_of_the_whole(by: str) -> None:
    found = codec(by)
    whole = found.tokenizer.encode(TEXT * 3, add_special_tokens=False).ids
    assert len(TEXT * 3) > tokenizer.PIECE
    assert found.encode(TEXT * 3).tolist() == whole
    pieces = list(cut(TEXT, 50))
    assert "".join(pieces) == TEXT
    assert len(pieces) > 200
    assert [i for piece in pieces for i in found.encode(piece).tolist()] == found.encode(TEXT).tolist()
    assert list(cut("x" * 30, 4)) == ["x" * 30]  # no blank near


@pytest.mark.parametrize("by", KINDS)
def test_a_tokeniser_is_made_again_from_its_description(by: str) -> None:
    found = codec(by)
    about = json.loads(json.dumps(found.describe()))
    again = codec_of(about)
    assert isinstance(again, TokenizerCodec)
    assert (again.text, again.by, again.unit, again.joint) == (found.text, by, found.unit, found.joint)
    assert again.unit == {"word": "word", "character": "character"}.get(by, "token")
    assert again.encode(TEXT[:999]).tolist() == found.encode(TEXT[:999]).tolist()
    assert not any("${" in value for value in about.values())
    for broken in (about["tokenizer"][:-40], "no base64!", "e30="):
        with pytest.raises(UserError, match="tokeniser is damaged"):
            codec_of({**about, "tokenizer": broken})
    with pytest.raises(UserError, match="tokeniser is damaged"):
        codec_of({"kind": "tokenizer"})


def test_tokenisers_of_others(tmp_path: Path) -> None:
    for by in KINDS:
        codec(by).save(tmp_path / f"{by}.json")
        assert load_codec(tmp_path / f"{by}.json").by == by
        assert load_codec(str(tmp_path / f"{by}.json")).fingerprint == codec(by).fingerprint
    other = made_text(300, seed=3)
    folder = tmp_path / "gpt"
    folder.mkdir()
    ours = codec("bpe")
    model = json.loads(ours.text)["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in model["merges"]))
    found = load_codec(folder)
    assert found.encode(other).tolist() == ours.encode(other).tolist()
    assert found.number(*GPT) == 0
    assert found.decode([0]) == ""
    folder = tmp_path / "bert"
    folder.mkdir()
    cased = codec("wordpiece")
    words = sorted(cased.tokenizer.get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word, _ in words))
    assert load_codec(folder).encode("RU ba").tolist() == cased.encode("ru ba").tolist()
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert load_codec(folder).encode(other).tolist() == cased.encode(other).tolist()
    with pytest.raises(UserError, match="there is no tokeniser"):
        load_codec(tmp_path / "nowhere")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(UserError, match=r"bad.json holds no tokeniser that can be read"):
        load_codec(tmp_path / "bad.json")


def test_padding_of_others_is_switched_off() -> None:
    raw = tokenizer.Tokenizer.from_str(codec("bpe").text)
    raw.enable_padding(length=50)
    raw.enable_truncation(4)
    assert TokenizerCodec(raw).encode(TEXT[:200]).tolist() == codec("bpe").encode(TEXT[:200]).tolist()


@pytest.mark.parametrize("size", [257, 300, 70_000])
def test_made_tokenisers_have_their_size(size: int) -> None:
    found = made_codec(size)
    assert found.vocab_size == size
    assert found.dtype == ("uint16" if size <= 65_536 else "uint32")
    assert found.decode(found.encode(TEXT[:300])) == TEXT[:300]


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


def load(kind: type[Any], codec: TokenizerCodec, **options: Any) -> Any:
    data = kind(**{"context": 16, "batch_size": 2, **options})
    data.load_state_dict(codec.describe())
    return data


@pytest.mark.parametrize("by", ["bpe", "wordpiece"])
def test_own_text_by_subwords(by: str, tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text(TEXT)
    for most in (SIZES[by], 100_000):
        size = count_tokens(str(path), by, 0.1, most, False)
        assert size == most if most == SIZES[by] else size < most
        data = TextFile(path=str(path), by=by, share=0.1, max_tokens=most, vocab_size=size, context=8, batch_size=2)
        data.setup()
        assert data.codec.vocab_size == size
        train = data.read_texts()["train"]
        assert data.codec.describe() == train_codec([train], by, most, SPECIALS[by]).describe()
    with pytest.raises(UserError, match=r"data.max_tokens=20 has no room"):
        count_tokens(str(path), by, 0.1, 20, False)
    assert count_tokens(None, by, 0.1, 500, True) == 500
    made = TextFile(by=by, vocab_size=500, fake=True, context=8, batch_size=2)
    made.setup()
    assert made.codec.vocab_size == 500
    assert made.unit == "token"


def test_a_wrong_tokeniser_is_refused(tmp_path: Path) -> None:
    path, given = tmp_path / "own.txt", tmp_path / "tokenizer.json"
    path.write_text(TEXT)
    codec("bpe").save(given)
    options = {"path": str(path), "tokenizer": str(given), "vocab_size": 600, "context": 8, "batch_size": 2}
    assert count_tokens(str(path), "character", 0.05, 10, False, str(given)) == 600
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


# --- files of tokens


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_writing, "SHARD", 6000)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    (folder / "more").mkdir(parents=True)
    (folder / "a.txt").write_text(made_text(4000, 4) + "the end")
    (folder / "b.txt").write_text("\N{BOM}one<|endoftext|>two\r\n<|endoftext|>\r\n")
    (folder / "more" / "c.txt").write_text(made_text(5000, 5))
    (folder / "d.md").write_text("no text")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write(source: Any, target: Path, *more: str) -> None:
    prepare([f"input={source}", f"output={target}", "vocab_size=400", "share=0.1", *more])


def test_tokens_of_files_are_those_of_their_texts(
    small: None, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tokens"
    write(texts, folder)
    printed = capsys.readouterr().out
    assert "tokeniser: bpe, 400 tokens" in printed
    assert "train: shard 3 of" in printed
    assert sorted(contents(folder)) == ["index.json", "test.bin", "tokenizer.json", "train.bin", "val.bin"]
    index = json.loads((folder / "index.json").read_text())
    found = load_codec(folder)
    assert found.fingerprint == index["fingerprint"]
    text = "".join(
        [(texts / "a.txt").read_text(), "|", "one", "|", "two\n", "|", "\n", (texts / "more/c.txt").read_text(), "|"]
    )
    end = found.number(*GPT)
    expected = [i for part in text[:-1].split("|") for i in [*found.encode(part).tolist(), end]]
    tokens = {name: np.fromfile(folder / f"{name}.bin", dtype="uint16") for name in ("train", "val", "test")}
    joined = np.concatenate(list(tokens.values())).tolist()
    assert found.decode([i for i in joined if i != end]) == text.replace("|", "")
    assert joined.count(end) == 4
    assert joined == expected
    data = TokenFile(path=str(folder), vocab_size=400, context=16, batch_size=2)
    data.setup()
    for name, part in tokens.items():
        size = len(found.decode([i for i in part.tolist() if i != end]).encode())
        assert index["splits"][name] == {"tokens": len(part), "bytes": size}
        assert data.bytes_per_token[name] == size / len(part)
    sizes = [index["splits"][name]["bytes"] for name in ("train", "val", "test")]
    assert [size / sum(sizes) for size in sizes] == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    assert count_stored_tokens(str(folder), False) == 400


def test_a_tokeniser_without_an_end_has_empty_lines_between_documents(texts: Path, tmp_path: Path) -> None:
    write(f"{texts}/**/*.txt", tmp_path / "tokens", "by=character", "vocab_size=100")
    found = load_codec(tmp_path / "tokens")
    parts = [np.fromfile(tmp_path / "tokens" / f"{name}.bin", dtype="uint16") for name in ("train", "val", "test")]
    text = (texts / "a.txt").read_text() + "\n\none\n\ntwo\n\n\n\n" + (texts / "more/c.txt").read_text()
    assert found.decode(np.concatenate(parts).tolist()) == text


@pytest.mark.parametrize("context", [1, 7, 16])
def test_windows_of_a_file_are_those_of_memory(context: int, tmp_path: Path) -> None:
    for dtype, top in (("uint16", 60_000), ("uint32", 100_000)):
        tokens = torch.randint(top, (1000,))
        tokens.numpy().astype(dtype).tofile(tmp_path / "a.bin")
        stored = StoredTokens(tmp_path / "a.bin", dtype, top)
        assert len(stored) == 1000
        assert torch.equal(stored[:7], tokens[:7])
        for shift in (True, False):
            ours, theirs = (Windows(t, context, 3, shift=shift) for t in (stored, tokens))
            indices = torch.randperm(len(theirs))[:20]
            for epoch in (-1, 0, 5):
                assert torch.equal(ours[epoch, indices][0], theirs[epoch, indices][0])
            assert all(map(torch.equal, ours.windows(), theirs.windows()))
        ours, theirs = (Streams(t, context) for t in (stored, tokens))
        positions = torch.randint(1000, (4, context + 1))
        assert torch.equal(ours[0, positions][0], theirs[0, positions][0])
        assert all(map(torch.equal, ours.windows(), theirs.windows()))
        assert ours[0, positions][0].dtype == torch.int64
        with pytest.raises(UserError, match=r"a.bin is damaged, it has a token"):
            StoredTokens(tmp_path / "a.bin", dtype, int(tokens.max()))[:]


def test_workers_open_the_file_and_copy_nothing(tmp_path: Path) -> None:
    import pickle

    np.arange(100_000, dtype="uint32").tofile(tmp_path / "a.bin")
    packed = pickle.dumps(Windows(StoredTokens(tmp_path / "a.bin", "uint32", 10**6), 8, 0, shift=True))
    assert len(packed) < 2000
    assert torch.equal(pickle.loads(packed)[-1, torch.tensor([1])][0], torch.arange(8, 17)[None])


class Killed(BaseException):
    """As if the power had gone."""


def test_a_stop_at_any_moment_changes_nothing(
    small: None, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each file gets its name, and while it is written; each attempt gets one step further."""
    whole, folder = tmp_path / "whole", tmp_path / "stopped"
    write(texts, whole)
    replace = os.replace
    done = stop = 0
    after = False

    def counted(source: Any, target: Any) -> None:
        nonlocal done
        done += 1
        if done == stop and not after:
            Path(source).write_bytes(b"half of it")  # without its name yet
            raise Killed
        replace(source, target)
        if done == stop:
            raise Killed

    monkeypatch.setattr(os, "replace", counted)
    steps = 0
    for after in (False, True):  # noqa: B007  # `counted` reads it
        shutil.rmtree(folder, ignore_errors=True)
        done = 1
        while done and steps < 200:  # the last attempt finds all done
            done, stop = 0, 3 + steps % 2  # the second notes a shard in the index: each attempt gets on
            with contextlib.suppress(Killed):
                write(texts, folder)
            steps += 1
        assert contents(folder) == contents(whole)
    assert 15 < steps < 200


def test_sigkill(small: None, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = (
        "import sys, time\n"
        "from torchatlas.commands.prepare import prepare\nfrom torchatlas.data.text import token_writing as w\n"
        "w.SHARD = 6000; write = w._write_shard\n"
        "def slow(*a, **k):\n    time.sleep(0.05); return write(*a, **k)\n"
        "w._write_shard = slow; prepare(sys.argv[1:])"
    )
    folder = tmp_path / "killed"
    arguments = [f"input={texts}", f"output={folder}", "vocab_size=400", "share=0.1"]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.DEVNULL)
    while len(list(folder.glob("shards/*.bin"))) < 3 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (folder / "train.bin").exists()
    with pytest.raises(UserError, match="is not finished: type its torchatlas prepare again"):
        count_stored_tokens(str(folder), False)
    capsys.readouterr()
    write(texts, folder)
    printed = capsys.readouterr().out
    assert "train: shard 1 of" not in printed  # it is there
    assert "train: shard 13 of 13" in printed
    write(texts, tmp_path / "whole")
    assert contents(folder) == contents(tmp_path / "whole")


def test_another_text_or_tokeniser_is_refused(
    small: None, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tokens"
    with pytest.raises(UserError, match="has no room"):
        write(texts, folder, "vocab_size=100")
    write(texts, folder)  # a mistake that wrote nothing is no choice
    before = contents(folder)
    capsys.readouterr()
    write(texts, folder)
    assert "is complete" in capsys.readouterr().out
    codec("bpe").save(tmp_path / "tokenizer.json")
    for more in (["vocab_size=401"], ["by=word"], ["share=0.2"]):
        with pytest.raises(UserError, match=r"holds tokens (of another text|by another tokeniser or share)"):
            write(texts, folder, *more)
    with pytest.raises(UserError, match="leave them out with tokenizer"):
        write(texts, folder, f"tokenizer={tmp_path / 'tokenizer.json'}")
    with pytest.raises(UserError, match="holds tokens by another tokeniser"):
        prepare([f"input={texts}", f"output={folder}", "share=0.1", f"tokenizer={tmp_path / 'tokenizer.json'}"])
    data = bytearray((texts / "a.txt").read_bytes())
    data[5] ^= 1
    (texts / "a.txt").write_bytes(data)
    with pytest.raises(UserError, match="holds tokens of another text: name another folder"):
        write(texts, folder)
    assert contents(folder) == before
    with pytest.raises(UserError, match=r"holds other files and no index.json"):
        write(texts, texts)


def test_mistakes_in_texts_are_named(tmp_path: Path) -> None:
    target = tmp_path / "tokens"
    with pytest.raises(UserError, match="nowhere is no text"):
        write(tmp_path / "nowhere", target)
    with pytest.raises(UserError, match="is no text"):
        write(tmp_path, target)
    with pytest.raises(UserError, match=r"input=\.\.\. is missing"):
        prepare([f"output={target}"])
    path = tmp_path / "a.txt"
    path.write_text("a")
    with pytest.raises(UserError, match="text is empty"):
        write(path, target)
    path.write_bytes(b"ten bytes " * 10 + b"\xff" + TEXT.encode())
    with pytest.raises(UserError, match=r"a.txt is no UTF-8 text \(.* at byte 100\)"):
        write(path, target)
    for given, said in (("share=0.5", "share=0.5 must be between"), ("by=letter", "by=letter must be one of")):
        with pytest.raises(UserError, match=said):
            write(path, target, given)
    with pytest.raises(UserError, match="no key"):
        write(path, target, "inputs=a")


def test_a_text_without_blanks_is_cut_between_characters(small: None, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("日本語€" * 4000)
    write(tmp_path / "a.txt", tmp_path / "tokens", "by=character", "vocab_size=50")
    found = load_codec(tmp_path / "tokens")
    parts = [np.fromfile(tmp_path / "tokens" / f"{name}.bin", dtype="uint16") for name in ("train", "val", "test")]
    assert found.decode(np.concatenate(parts).tolist()) == "日本語€" * 4000


def test_damaged_folders_are_refused(texts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    write(texts, folder)
    good = contents(folder)

    def refuses(match: str) -> None:
        with pytest.raises(UserError, match=match):
            TokenFile(path=str(folder), vocab_size=400, context=16).setup()
        for name, data in good.items():
            (folder / name).write_bytes(data)

    (folder / "val.bin").write_bytes(good["val.bin"][:-2])
    refuses(r"val.bin has [\d,]+ bytes where [\d,]+ are right")
    (folder / "val.bin").unlink()
    refuses(r"val.bin has 0 bytes")
    codec("bpe").save(folder / "tokenizer.json")
    refuses(rf"tokenizer.json is tokeniser {codec('bpe').fingerprint}, and the tokens there are by")
    (folder / "tokenizer.json").unlink()
    refuses("there is no tokeniser")
    (folder / "index.json").write_text("{")
    refuses("index.json is damaged")
    index = json.loads(good["index.json"])
    for change in ({"dtype": "float32"}, {"splits": {}}, {"vocab_size": None}, {"fingerprint": "0" * 12}):
        (folder / "index.json").write_text(json.dumps({**index, **change}))
        refuses("is damaged|and the tokens there are by")
    (folder / "index.json").unlink()
    refuses("is no folder of tokens: write one with torchatlas prepare")
    with pytest.raises(UserError, match="needs a folder of tokens"):
        count_stored_tokens(None, False)
    with pytest.raises(UserError, match="is not the 400 of this text"):
        TokenFile(path=str(folder), vocab_size=401, context=16).setup()
    with pytest.raises(UserError, match=r"are by tokeniser .* and the checkpoint's is"):
        load(TokenFile, codec("bpe"), path=str(folder), vocab_size=400).setup()
    load(TokenFile, load_codec(folder), path=str(folder), vocab_size=400).setup()


# --- WikiText-103


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
    size = count_wikitext103_tokens("bpe", 300, None, False)
    data = WikiText103(root=str(articles), by="bpe", max_tokens=300, vocab_size=size, context=8, batch_size=2)
    data.prepare_data()
    data.setup()
    tokens = data.splits["test"].tokens[:]
    assert data.codec.decode(tokens) == (articles / "wikitext-103-raw" / "wiki.test.raw").read_text()
    assert data.unit == "token"
    codec("bpe").save(articles / "tokenizer.json")
    given = str(articles / "tokenizer.json")
    size = count_wikitext103_tokens("bpe", 300, given, False)
    other = WikiText103(root=str(articles), by="bpe", tokenizer=given, vocab_size=size, context=8, batch_size=2)
    other.prepare_data()
    other.setup()
    assert other.codec.describe() == codec("bpe").describe()
    assert count_wikitext103_tokens("word", 300, None, False) == 267_735
    with pytest.raises(UserError, match=r"data.by=letter must be word or bpe"):
        count_wikitext103_tokens("letter", 300, None, False)
    path = articles / "wikitext-103-raw" / "wiki.valid.raw"
    path.write_text("torn")
    with pytest.raises(UserError, match=r"wiki.valid.raw has 1 lines where 42 are right"):
        WikiText103(root=str(articles), by="bpe", max_tokens=301, vocab_size=301).prepare_data()


# --- through the command line


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["torchatlas", *arguments])
    cli.main()


TINY = (
    "model=lstm_lm", "model.dim=16", "model.depth=1", "trainer.max_epochs=1", "trainer.limit_train_batches=3",
    "trainer.limit_val_batches=2", "trainer.limit_test_batches=2", "data.context=16", "data.batch_size=8",
    "callbacks.samples.length=10",
)  # fmt: skip


def test_a_run_by_subwords(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures per token and per byte; the tokeniser is in the checkpoint."""
    path = tmp_path / "own.txt"
    path.write_text(TEXT)
    arguments = ["data=text_file", f"data.path={path}", "data.by=bpe", "data.max_tokens=500", "data.share=0.1"]
    folder = train(*TINY, *arguments)
    figures = json.loads((folder / "metrics.json").read_text())["test"]
    assert set(figures) == {
        f"test/{name}"
        for name in ("loss", "perplexity", "bits_per_byte", "trigram_perplexity", "trigram_bits_per_byte")
    }
    data = TextFile(path=str(path), by="bpe", max_tokens=500, share=0.1, vocab_size=500, context=16, batch_size=8)
    data.setup()
    text = data.read_texts()["test"]
    size = len(text.encode()) / len(data.splits["test"].tokens)
    assert figures["test/bits_per_byte"] == pytest.approx(figures["test/loss"] / size / math.log(2), rel=1e-3)
    nll = trigram_nll(data.splits["train"], data.splits["test"], 500)
    assert figures["test/trigram_bits_per_byte"] == pytest.approx(nll / size / math.log(2), rel=1e-3)
    assert "bits per byte on validation" in (folder / "train.log").read_text()

    about = read(folder / "checkpoints" / "best.ckpt")["torchatlas"]["data"]
    assert codec_of(about).describe() == data.codec.describe()
    assert load_codec(folder).fingerprint == load_codec(folder / "checkpoints" / "last.ckpt").fingerprint
    capsys.readouterr()
    run(monkeypatch, "evaluate", f"ckpt={folder}", "split=val", f"output={tmp_path / 'val.json'}")
    val = json.loads((tmp_path / "val.json").read_text())
    size = data.bytes_per_token["val"]
    assert val["val/bits_per_byte"] == pytest.approx(val["val/loss"] / size / math.log(2), rel=1e-3)
    file = tmp_path / "a.txt"
    file.write_text("balo kün ter\n")
    capsys.readouterr()
    run(monkeypatch, "predict", f"ckpt={folder}", f"input={file}", "length=5")
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["tokens"] == len(data.codec.encode("balo kün ter\n"))
    expected = math.log2(row["perplexity"]) * row["tokens"] / len("balo kün ter\n".encode())
    assert row["bits_per_byte"] == pytest.approx(expected, rel=1e-3)

    # The same tokens from a folder, by the run's tokeniser, and another run on them.
    tokens = tmp_path / "tokens"
    run(monkeypatch, "prepare", f"input={path}", f"output={tokens}", f"tokenizer={folder}", "share=0.1")
    assert load_codec(tokens).fingerprint == load_codec(folder).fingerprint
    second = train(*TINY, "data=token_file", f"data.path={tokens}", "task.carry=true")
    assert json.loads((second / "metrics.json").read_text())["test"]["test/bits_per_byte"] > 0
    shutil.rmtree(tokens)
    prepare([f"input={path}", f"output={tokens}", "share=0.1", "vocab_size=500"])
    with pytest.raises(SystemExit):
        run(monkeypatch, "evaluate", f"ckpt={second}")
    assert "are by tokeniser" in capsys.readouterr().err


def test_characters_have_figures_per_byte_too(train: Train) -> None:
    folder = train(*TINY, "data=pydoc")
    figures = json.loads((folder / "metrics.json").read_text())["test"]
    assert 0.9 < figures["test/bits_per_byte"] / figures["test/bits_per_character"] <= 1

"""Tokenisers: learnt by hand, against transformers', made again from a description."""

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.tokens import SIZES, SPECIALS, TEXT, codec, made_text

from torchatlas.data.text import tokenizer
from torchatlas.data.text.base import codec_of
from torchatlas.data.text.tokenizer import BERT, GPT, KINDS, TokenizerCodec, cut, load_codec, made_codec, train_codec
from torchatlas.data.text.words import most_frequent, split_words
from torchatlas.errors import UserError

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

"""Tokens to text, as they come."""

import re
from collections.abc import Callable

import pytest
import torch

from torchatlas.data.text.base import ALPHABET, CharacterCodec, Codec
from torchatlas.data.text.tokenizer import GPT, TokenizerCodec, train_codec
from torchatlas.data.text.words import WordCodec
from torchatlas.generate.text_stream import TextStream

TEXT = 'He said: "naïve café, 3 €"\n\nIt isn\'t 東京 🎉🎉 yet\n'


# --- tokens to text


def byte_level() -> TokenizerCodec:
    return train_codec(["He said he said it isn't"] * 3, "bpe", 270, GPT)


CODECS: dict[str, Callable[[], Codec]] = {
    "bytes": byte_level,
    "characters": lambda: CharacterCodec(ALPHABET),
    "words": lambda: WordCodec([*sorted(set(re.findall(r"\w+|[^\w\s]", TEXT))), "\n"], "punctuation"),
    "marked": lambda: WordCodec(["<eos>", "He", "said", "It"], "blanks"),
}


@pytest.mark.parametrize("cut", [0, 1, 4, 11])
@pytest.mark.parametrize("name", CODECS)
def test_a_stream_gives_the_text_of_its_tokens(name: str, cut: int) -> None:
    """Whatever the tokens are, and wherever the prompt ends: its text and the stream's are the text of all."""
    codec = CODECS[name]()
    tokens = codec.encode(TEXT)
    stream = TextStream(codec, tokens[:cut])
    pieces = [stream.push(int(token)) for token in tokens[cut:]]
    written = "".join(pieces) + stream.close()
    expected, given = codec.decode(tokens), codec.decode(tokens[:cut])
    if not given.endswith("\N{REPLACEMENT CHARACTER}"):
        assert given + written == expected
    if name == "bytes":
        assert len(tokens) > len(TEXT)  # some characters have no token of their own, and the last two have four bytes
        assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
        assert "🎉" in pieces


def test_an_unfinished_character_is_shown_at_the_end() -> None:
    codec = byte_level()
    stream = TextStream(codec, codec.encode("a"))
    assert [stream.push(int(token)) for token in codec.encode("b€")[:-1]] == ["b", "", ""]
    assert stream.close() == "\N{REPLACEMENT CHARACTER}"
    assert stream.close() == ""
    special = TextStream(codec, torch.tensor([0]))
    assert special.push(0) + "".join(map(special.push, codec.encode("it €").tolist())) + special.close() == "it €"


@pytest.mark.parametrize(("stop", "expected"), [("cd", "ab"), ("abcd", ""), ("cca", "abcdab"), ("x", "abcdabccab")])
def test_a_stream_stops(stop: str, expected: str) -> None:
    """Nothing of the stop is given away before it is known not to come."""
    codec = CharacterCodec("abcdx")
    stream = TextStream(codec, codec.encode("cc"), stop)
    shown = ""
    for token in codec.encode("abcdabccab"):
        shown += stream.push(int(token))
        assert expected.startswith(shown)
        if stream.ended:
            break
    assert stream.ended == (stop != "x")
    assert shown + stream.close() == expected

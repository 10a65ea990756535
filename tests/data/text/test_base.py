"""Codecs: characters, and each made again from its description."""

import json
from typing import Any

import pytest

from torchatlas.data.text.base import CharacterCodec, codec_of
from torchatlas.data.text.words import WordCodec
from torchatlas.errors import UserError

# --- order, random numbers, augmentation


def test_codec() -> None:
    codec = CharacterCodec()
    assert codec.vocab_size == 104
    text = "def f(x):\n    return “x” … {1}\n"
    assert codec.decode(codec.encode(text)) == text
    assert codec.decode(codec.encode("naïve")) == "na\N{REPLACEMENT CHARACTER}ve"


# --- words and characters


@pytest.mark.parametrize("codec", [CharacterCodec("${ab"), WordCodec(["a", "b", "\n"], "punctuation")])
def test_a_codec_is_made_again_from_its_description(codec: Any) -> None:
    about = codec.describe()
    again = codec_of(json.loads(json.dumps(about)))
    assert again.encode("ab${\nzz b").tolist() == codec.encode("ab${\nzz b").tolist()
    assert "${" not in [part for value in about.values() for part in ([value] if isinstance(value, str) else value)]
    with pytest.raises(UserError, match="are no text"):
        codec_of({"kind": "image"})

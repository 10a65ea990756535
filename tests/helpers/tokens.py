"""A made text, and tokenisers of it."""

import random
from typing import Any

from torchatlas.data.text.tokenizer import BERT, GPT, TRANSLATION, TokenizerCodec, codec_of_text

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


# --- data


def load(kind: type[Any], codec: TokenizerCodec, **options: Any) -> Any:
    data = kind(**{"context": 16, "batch_size": 2, **options})
    data.load_state_dict(codec.describe())
    return data

"""A user's own text."""

import re
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..reading import list_files
from .base import ALPHABET, CharacterCodec, Codec, TextData, read_text
from .same_tokens import require_same
from .tokenizer import BERT, GPT, codec_of_text, load_codec, made_codec
from .words import UNKNOWN_WORD, WordCodec, most_frequent, split_words

NEAR = 1000  # characters in which a blank is looked for
RULE = "punctuation"
UNITS = {"character": "character", "word": "word", "bpe": "token", "wordpiece": "token"}
MADE_WORDS = 1000  # types of made data by word or subword, where there may be so many


def read_splits(path: str | Path | None, share: float) -> dict[str, str]:
    """The text of each split, by position.

    The last `share` of the text is the test, the one before it validates, the rest trains. A cut is moved on to the
    next blank, if there is one near, so that no word is divided.

    Args:
        path: a text file in UTF-8, or a folder, of which all files that end in .txt are taken, sorted by name.
        share: of the characters, for validation and for test each.

    Raises:
        UserError: there is no such file, it holds no text, or it is not in UTF-8.
    """
    if path is None:
        raise UserError("data=text_file needs a text: name a file in UTF-8, or a folder of .txt files, data.path=FILE")
    source = Path(path).expanduser()
    if source.is_dir():
        files = [source / name for name in list_files(source, (".txt",))]
        if not files:
            raise UserError(f"{source} holds no file that ends in .txt: name a text with data.path=FILE")
    elif source.is_file():
        files = [source]
    else:
        raise UserError(f"there is no file or folder {source}: name a text with data.path=FILE")
    text = "\n\n".join(read_text(file) for file in files)
    if not text.strip():
        raise UserError(f"{source} is empty: name a text with data.path=FILE")
    cuts = []
    for part in (1 - 2 * share, 1 - share):
        at = int(part * len(text))
        blank = re.compile(r"\s").search(text, at, at + NEAR)
        cuts.append(blank.end() if blank else at)
    return {"train": text[: cuts[0]], "val": text[cuts[0] : cuts[1]], "test": text[cuts[1] :]}


def make_codec(train: str, by: str, max_tokens: int, tokenizer: str | None = None) -> Codec:
    """The vocabulary of a training text: its characters in their order, its words by frequency, or a tokeniser of it.

    Where there are more than `max_tokens - 1` characters or words the most frequent ones are kept; one token is for all
    others. Subwords are those of `tokenizer.train_codec`, at most `max_tokens`.

    Args:
        train: the training text.
        by: see `TextFile`.
        max_tokens: the largest vocabulary.
        tokenizer: a given one, in place of all that; see `tokenizer.load_codec`.
    """
    if tokenizer is not None:
        return load_codec(tokenizer)
    if by == "character":
        return CharacterCodec("".join(sorted(most_frequent(train, max_tokens - 1))))
    if by == "word":
        return WordCodec(most_frequent(split_words(train, RULE), max_tokens - 1, [UNKNOWN_WORD]), RULE)
    try:
        return codec_of_text(train, by, max_tokens, GPT if by == "bpe" else BERT)
    except UserError as error:
        raise UserError(str(error).replace("data.vocab_size", "data.max_tokens")) from error


def require_vocabulary(by: str, share: float, max_tokens: int) -> None:
    """Refuse what no vocabulary can be made of.

    Raises:
        UserError: it names the setting.
    """
    if by not in UNITS:
        raise UserError(f"data.by={by} must be character, word, bpe or wordpiece")
    if not 0 < share < 0.5:
        raise UserError(f"data.share={share} must be between 0 and 0.5, as in data.share=0.05")
    if max_tokens < 2:
        raise UserError(f"data.max_tokens={max_tokens} must be at least 2, as in data.max_tokens=10000")


class TextFile(TextData):
    """A user's own text, by character, word or subword, with the vocabulary of its training part.

    The splits are cut by position, see `read_splits`; words are those of the rule "punctuation", see `split_words`. The
    vocabulary travels in the checkpoint: a run that goes on, and `evaluate`, number the tokens as the training did.

    Args:
        path: see `read_splits`.
        by: "character", "word", "bpe" or "wordpiece"; for the last two see `tokenizer.train_codec`.
        tokenizer: a given one, whatever `by` says: see `tokenizer.load_codec`.
        share: of the characters, for validation and for test each.
        max_tokens: the vocabulary's largest size; see `make_codec`.
        arguments: see `TextData`.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        by: str = "character",
        tokenizer: str | None = None,
        share: float = 0.05,
        max_tokens: int = 10_000,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        require_vocabulary(by, share, max_tokens)
        self.path, self.by, self.share, self.max_tokens, self.tokenizer = path, by, share, max_tokens, tokenizer
        self.unit = UNITS[by]

    @classmethod
    def declare_vocab_size(
        cls, path: str | None = None, by: str = "character", share: float = 0.05, max_tokens: int = 10_000,
        tokenizer: str | None = None, fake: bool = False,
    ) -> int:  # fmt: skip
        """The tokens of the given tokeniser, or of the vocabulary of the training part.

        Raises:
            UserError: see `read_splits`, `require_vocabulary` and `make_codec`.
        """
        require_vocabulary(by, share, max_tokens)
        if fake:
            return len(ALPHABET) + 1 if by == "character" else min(max_tokens, MADE_WORDS)
        if tokenizer is not None:
            return load_codec(tokenizer).vocab_size
        return make_codec(read_splits(path, share)["train"], by, max_tokens).vocab_size

    def read_texts(self) -> dict[str, str]:
        return read_splits(self.path, self.share)

    def make_codec(self, train: str) -> Codec:
        return make_codec(train, self.by, self.max_tokens, self.tokenizer)

    def fake_codec(self) -> Codec:
        if self.by == "character":
            return CharacterCodec()
        if self.by == "word":
            return WordCodec([f"word{i}" for i in range(self.vocab_size - 1)], RULE)
        return made_codec(self.vocab_size)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        require_same(self.known_codec, self.tokenizer)

"""A user's own text."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..decoding import read_text
from ..reading import LeftOut, list_files
from .base import ALPHABET, CharacterCodec, Codec, TextData
from .same_tokens import require_same
from .split_files import own_splits, tell_splits
from .tokenizer import BERT, GPT, codec_of_text, load_codec, made_codec
from .words import LINE_ENDS, UNKNOWN_WORD, WordCodec, most_frequent, split_words

log = logging.getLogger(__name__)
NEAR = 1000  # characters in which a blank is looked for
RULES = tuple(LINE_ENDS)
RESERVED = re.compile(rf"(?<!\S){UNKNOWN_WORD}(?!\S)")  # a word of texts in which blanks divide words
UNITS = {"character": "character", "word": "word", "bpe": "token", "wordpiece": "token"}
MADE_WORDS = 1000  # types of made data by word or subword, where there may be so many


def read_splits(
    path: str | Path | None, share: float, encoding: str | None = None, parts: str | None = None, *, tell: bool = False
) -> dict[str, str]:
    """The text of each split: of a folder with a file for each, see `split_files`, or else by position.

    The last `share` of the text is the test, the one before it validates, the rest trains. A cut is moved on to the
    next blank, if there is one near, so that no word is divided. A split without a file, where others have one, is cut
    from the training text likewise.

    Args:
        path: a text file, or a folder, of which all files that end in .txt are taken, sorted by name.
        share: of the characters, for validation and for test each.
        encoding: of the files, see `decoding.read_text`.
        parts: see `own_splits`.
        tell: whether the log gets what of a folder is left out.

    Raises:
        UserError: there is no such file, it holds no text, or it is not in this encoding.
    """
    if path is None:
        raise UserError("data=text_file needs a text: name a file in UTF-8, or a folder of .txt files, data.path=FILE")
    source = Path(path).expanduser()
    if own := own_splits(source, parts):
        texts = {split: read_text(file, encoding) for split, file in own.items()}
        for split in ("test", "val"):
            if split not in own:
                texts["train"], texts[split] = cut_at(texts["train"], (1 - share,))
        return {split: texts[split] for split in ("train", "val", "test")}
    if source.is_dir():
        left = LeftOut()
        files = [source / name for name in list_files(source, (".txt",), left)]
        if not files:
            raise UserError(f"{source} holds no file that ends in .txt: name a text with data.path=FILE")
        if tell:
            left.say(source)
    elif source.is_file():
        files = [source]
    else:
        raise UserError(f"there is no file or folder {source}: name a text with data.path=FILE")
    contents = [read_text(file, encoding) for file in files]
    if tell and len(files) > 1:
        empty = sum(not content.strip() for content in contents)
        log.info("%s: the text is that of %d files%s", source, len(files), f", {empty} of them empty" * (empty > 0))
    text = "\n\n".join(contents)
    if not text.strip():
        raise UserError(f"{source} is empty: name a text with data.path=FILE")
    train, val, test = cut_at(text, (1 - 2 * share, 1 - share))
    return {"train": train, "val": val, "test": test}


def cut_at(text: str, parts: Sequence[float]) -> list[str]:
    """A text, cut at the next blank behind each of these parts of it, if there is one near."""
    cuts = [0]
    for part in parts:
        at = int(part * len(text))
        blank = re.compile(r"\s").search(text, at, at + NEAR)
        cuts.append(blank.end() if blank else at)
    return [text[begin:end] for begin, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]


def rule_of(train: str, split: str | None) -> str:
    """The rule that divides a training text into words: the given one, or blanks where it has the word <unk>."""
    return split or ("blanks" if RESERVED.search(train) else "punctuation")


def make_codec(train: str, by: str, max_tokens: int, tokenizer: str | None = None, split: str | None = None) -> Codec:
    """The vocabulary of a training text: its characters in their order, its words by frequency, or a tokeniser of it.

    Where there are more than `max_tokens - 1` characters or words the most frequent ones are kept; one token is for all
    others. Subwords are those of `tokenizer.train_codec`, at most `max_tokens`.

    Args:
        train: the training text.
        by: see `TextFile`.
        max_tokens: the largest vocabulary.
        tokenizer: a given one, in place of all that; see `tokenizer.load_codec`.
        split: see `TextFile`.
    """
    if tokenizer is not None:
        return load_codec(tokenizer)
    if by == "character":
        return CharacterCodec("".join(sorted(most_frequent(train, max_tokens - 1))))
    if by == "word":
        rule = rule_of(train, split)
        return WordCodec(most_frequent(split_words(train, rule), max_tokens - 1, [UNKNOWN_WORD]), rule)
    try:
        return codec_of_text(train, by, max_tokens, GPT if by == "bpe" else BERT)
    except UserError as error:
        raise UserError(str(error).replace("data.vocab_size", "data.max_tokens")) from error


def require_vocabulary(by: str, share: float, max_tokens: int, split: str | None = None) -> None:
    """Refuse what no vocabulary can be made of.

    Raises:
        UserError: it names the setting.
    """
    if by not in UNITS:
        raise UserError(f"data.by={by} must be character, word, bpe or wordpiece")
    if split not in (None, *RULES):
        raise UserError(f"data.split={split} must be punctuation or blanks, or null for a choice")
    if split is not None and by != "word":
        raise UserError(f"data.split={split} says what a word is: add data.by=word")
    if not 0 < share < 0.5:
        raise UserError(f"data.share={share} must be between 0 and 0.5, as in data.share=0.05")
    if max_tokens < 2:
        raise UserError(f"data.max_tokens={max_tokens} must be at least 2, as in data.max_tokens=10000")


class TextFile(TextData):
    """A user's own text, by character, word or subword, with the vocabulary of its training part.

    The splits are files of a folder, or cut by position, see `read_splits`. The vocabulary travels in the
    checkpoint: a run that goes on, and `evaluate`, number the tokens as the training did.

    Args:
        path: see `read_splits`.
        by: "character", "word", "bpe" or "wordpiece"; for the last two see `tokenizer.train_codec`.
        tokenizer: a given one, whatever `by` says: see `tokenizer.load_codec`.
        split: by which rule a text is divided into words, see `split_words`: "punctuation", or "blanks", which keeps
            words such as <unk> and ends each line with <eos>; None: blanks where the training text has the word <unk>.
        encoding: of the files.
        parts: what the splits are, see `own_splits`.
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
        split: str | None = None,
        encoding: str = "utf-8",
        parts: str | None = "position",
        share: float = 0.05,
        max_tokens: int = 10_000,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        require_vocabulary(by, share, max_tokens, split)
        self.split, self.encoding, self.parts = split, encoding, parts
        self.path, self.by, self.share, self.max_tokens, self.tokenizer = path, by, share, max_tokens, tokenizer
        self.unit = UNITS[by]

    @classmethod
    def declare_vocab_size(
        cls, path: str | None = None, by: str = "character", share: float = 0.05, max_tokens: int = 10_000,
        tokenizer: str | None = None, fake: bool = False, split: str | None = None, encoding: str = "utf-8",
        parts: str | None = "position",
    ) -> int:  # fmt: skip
        """The tokens of the given tokeniser, or of the vocabulary of the training part.

        Raises:
            UserError: see `read_splits`, `require_vocabulary` and `make_codec`.
        """
        require_vocabulary(by, share, max_tokens, split)
        if fake:
            return len(ALPHABET) + 1 if by == "character" else min(max_tokens, MADE_WORDS)
        if tokenizer is not None:
            return load_codec(tokenizer).vocab_size
        return make_codec(read_splits(path, share, encoding, parts)["train"], by, max_tokens, split=split).vocab_size

    def read_texts(self) -> dict[str, str]:
        texts = read_splits(self.path, self.share, self.encoding, self.parts, tell=self.speaks)
        source = Path(str(self.path)).expanduser()
        if self.speaks and (files := own_splits(source, self.parts)):
            log.info(tell_splits(source, files))
        return texts

    def make_codec(self, train: str) -> Codec:
        if self.by == "word" and self.tokenizer is None and self.speaks:
            log.info(
                "words are what stands between %s (data.split=%s)",
                *(("blanks, and <eos> ends each line", "blanks") if rule_of(train, self.split) == "blanks"
                  else ("blanks and other signs, and each sign is one", "punctuation")),
            )  # fmt: skip
        return make_codec(train, self.by, self.max_tokens, self.tokenizer, self.split)

    def fake_codec(self) -> Codec:
        if self.by == "character":
            return CharacterCodec()
        if self.by == "word":
            return WordCodec([f"word{i}" for i in range(self.vocab_size - 1)], self.split or "punctuation")
        return made_codec(self.vocab_size)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        require_same(self.known_codec, self.tokenizer)

"""The texts from which masked language models learn."""

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..decoding import read_text
from ..reading import list_files
from ..text.pydoc import distinct, read_topics
from ..text.split_files import own_splits
from ..text.tokenizer import BERT, TokenizerCodec, load_codec, train_codec
from ..text.wikitext2 import WikiText2
from ..text.wikitext103 import WikiText103
from .base import MaskedText

EMPTY_LINES = re.compile(r"\n\s*\n")  # between paragraphs
TITLE = re.compile(r"^ = (?!= ).*(?<! =) = \n", re.MULTILINE)  # of an article; titles of sections have more signs
KINDS = ("file", "paragraph")
LEAST = 2  # documents of a split
MADE_TOKENS = 1000  # of made data, where there may be so many


class PydocMasked(MaskedText):
    """The topics of Python's built-in help, embedded in every Python; see `Pydoc` for the splits.

    Each topic is a document. About 300,000 characters of training, 90,000 tokens.

    Args:
        arguments: see `MaskedText`.
    """

    at_hand = True
    vocabulary = 4096

    def read_documents(self) -> dict[str, list[str]]:
        from pydoc_data.topics import topics

        texts = [text for text in distinct(topics).values() if text.strip()]
        # No paragraph comes twice, so each topic is found in one split.
        return {split: [text for text in texts if text in whole] for split, whole in read_topics().items()}


class TextFileMasked(MaskedText):
    """A user's own text.

    Documents are files or paragraphs, see `own_documents`. Whole documents go to one split, by position: the last ones
    that make up `share` of the characters, and two at least, are the test, those before them validate, the rest trains.

    Args:
        path: a text file, or a folder, of which all files that end in .txt are taken, sorted by name; or a folder with
            a file for each split, whose documents are paragraphs unless it is said.
        encoding: of the files.
        parts: what the splits are, see `own_splits`.
        documents: "file", "paragraph" (what stands between empty lines), or None: files of a folder, or the paragraphs
            of a file.
        share: of the characters, for validation and for test each.
        max_tokens: the vocabulary's largest size where a tokeniser is trained.
        arguments: see `MaskedText`.
    """

    advice = "give more text, or divide it into documents by empty lines and use data.documents=paragraph"

    def __init__(
        self,
        *,
        path: str | None = None,
        documents: str | None = None,
        encoding: str = "utf-8",
        parts: str | None = "position",
        share: float = 0.05,
        max_tokens: int = 8192,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        require_settings(documents, share, max_tokens)
        self.path, self.documents, self.share, self.max_tokens = path, documents, share, max_tokens
        self.encoding, self.parts = encoding, parts

    @classmethod
    def declare_vocab_size(
        cls, tokenizer: str | None = None, path: str | None = None, documents: str | None = None, share: float = 0.05,
        max_tokens: int = 8192, lowercase: bool = True, fake: bool = False, encoding: str = "utf-8",
        parts: str | None = "position",
    ) -> int:  # fmt: skip
        """The tokens of the given tokeniser, or of the one of the training part.

        Raises:
            UserError: see `own_documents` and `require_settings`.
        """
        require_settings(documents, share, max_tokens)
        if fake:
            return min(max_tokens, MADE_TOKENS)
        return own_codec(
            path, stamp(path, parts), documents, share, max_tokens, tokenizer, lowercase, encoding, parts
        ).vocab_size

    def read_documents(self) -> dict[str, list[str]]:
        return own_documents(self.path, self.documents, self.share, self.encoding, self.parts)

    def make_codec(self, documents: Sequence[str]) -> TokenizerCodec:
        return own_codec(
            self.path, stamp(self.path, self.parts), self.documents, self.share, self.max_tokens, self.tokenizer,
            self.lowercase, self.encoding, self.parts,
        )  # fmt: skip


class WikiText2Masked(MaskedText):
    """WikiText-2, see `WikiText2`: each article is a document, 600 + 60 + 60 of them.

    The word <unk>, which stands for rare words in these texts, becomes one sign, which is a token like others.

    Args:
        root: see `WikiText2`.
        arguments: see `MaskedText`.
    """

    vocabulary = 16_384

    def __init__(self, *, root: str = "data", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.source = WikiText2(root=root, vocab_size=33_278, fake=self.fake)

    def prepare_data(self) -> None:
        self.source.prepare_data()

    def read_documents(self) -> dict[str, list[str]]:
        return {split: articles(text) for split, text in self.source.read_texts().items()}


class WikiText103Masked(MaskedText):
    """WikiText-103, the raw text, see `WikiText103`: each article is a document, 28,475 + 60 + 60 of them.

    Each start cuts the whole text, half a gigabyte, into tokens: minutes, and a few gigabytes of memory. Training the
    tokeniser takes longer than that; `data.tokenizer=RUN_FOLDER` takes the one of an earlier run.

    Args:
        root: see `WikiText103`.
        arguments: see `MaskedText`.
    """

    vocabulary = 30_522

    def __init__(self, *, root: str = "data", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.source = WikiText103(root=root, by="bpe", vocab_size=16_384, fake=self.fake)

    def prepare_data(self) -> None:
        if not self.fake:
            self.source.texts()

    def read_documents(self) -> dict[str, list[str]]:
        return {split: articles(read_text(path)) for split, path in self.source.texts().items()}


def articles(text: str) -> list[str]:
    r"""The articles of a text in the form of WikiText, with their titles.

    >>> articles(" \n = A = \n \n One <unk> . \n = = Part = = \n Two . \n = B = \n Three . \n")
    ['= A = \n \n One ⁇ . \n = = Part = = \n Two .', '= B = \n Three .']
    """
    begins = [match.start() for match in TITLE.finditer(text)]
    parts = [text[a:b] for a, b in zip([0, *begins], [*begins, len(text)], strict=True)]
    return [part.strip().replace("<unk>", "⁇") for part in parts if part.strip()]


def require_settings(documents: str | None, share: float, max_tokens: int) -> None:
    """Refuse what cannot be.

    Raises:
        UserError: it names the setting.
    """
    if documents not in (None, *KINDS):
        raise UserError(f"data.documents={documents} must be file or paragraph, or null for a choice")
    if not 0 < share < 0.5:
        raise UserError(f"data.share={share} must be between 0 and 0.5, as in data.share=0.05")
    if max_tokens <= len(BERT):
        raise UserError(f"data.max_tokens={max_tokens} must be more than the {len(BERT)} special tokens")


def own_documents(
    path: str | None, kind: str | None, share: float, encoding: str = "utf-8", parts: str | None = None
) -> dict[str, list[str]]:
    """The documents of each split, see `TextFileMasked`.

    Raises:
        UserError: there is no such file, it is not in UTF-8, or it has too few documents.
    """
    if path is None:
        raise UserError(
            "data=text_file_masked needs a text: name a file in UTF-8, or a folder of .txt files, data.path=FILE"
        )
    source = Path(path).expanduser()
    if not source.exists():
        raise UserError(f"there is no file or folder {source}: name a text with data.path=FILE")
    files = files_of(source, parts)
    if not files:
        raise UserError(f"{source} holds no file that ends in .txt: name a text with data.path=FILE")
    splits: dict[str, list[str]] = {}
    if own := own_splits(source, parts):
        splits = {split: divide([read_text(file, encoding)], kind or "paragraph") for split, file in own.items()}
        found = splits.pop("train")
    else:
        texts = [read_text(file, encoding) for file in files]
        found = divide(texts, kind or ("file" if source.is_dir() else "paragraph"))
    if len(found) < 3 * LEAST:
        raise UserError(
            f"{source} has {len(found)} documents where at least {3 * LEAST} are needed: {TextFileMasked.advice}"
        )
    wanted = share * sum(map(len, found))
    for split, before in (("test", 2 * LEAST), ("val", LEAST)):
        if split in splits:
            continue
        taken = LEAST
        while len(found) - taken > before and sum(map(len, found[-taken - 1 :])) <= wanted:
            taken += 1
        found, splits[split] = found[:-taken], found[-taken:]
    return {"train": found, "val": splits["val"], "test": splits["test"]}


def divide(texts: Sequence[str], kind: str) -> list[str]:
    """The documents of files: each a file, or a paragraph."""
    parts = [part for text in texts for part in EMPTY_LINES.split(text)] if kind == "paragraph" else texts
    return [text for text in parts if text.strip()]


def files_of(source: Path, parts: str | None) -> list[Path]:
    """The files of a text: those of the splits, or all in a folder that end in .txt, or the file itself."""
    if not source.is_dir():
        return [source]
    return [*own_splits(source, parts).values()] or [source / name for name in list_files(source, (".txt",))]


def stamp(path: str | None, parts: str | None) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of change of a user's files, by which a second reading knows that they are the same."""
    source = None if path is None else Path(path).expanduser()
    if source is None or not source.exists():
        return ()
    return tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files_of(source, parts))


@functools.lru_cache(maxsize=1)
def own_codec(
    path: str | None, stamp: tuple[tuple[str, int, int], ...], documents: str | None, share: float, max_tokens: int,
    tokenizer: str | None, lowercase: bool, encoding: str, parts: str | None,
) -> TokenizerCodec:  # fmt: skip
    """The tokeniser of a user's text. It is needed twice: for the size of the network, and for the data."""
    if tokenizer is not None:
        return load_codec(tokenizer)
    train = own_documents(path, documents, share, encoding, parts)["train"]
    return train_codec(train, "wordpiece", max_tokens, BERT, lowercase=lowercase)

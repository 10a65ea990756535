"""Python's own documentation as text."""

import hashlib
import re
from collections.abc import Mapping

from .base import CharacterData, TokenData, WordData

SHARES = {"test": 0.1, "val": 0.1}  # of the characters; the rest is for training


def distinct(topics: Mapping[str, str]) -> dict[str, str]:
    """The topics without what they repeat of one another.

    A third of the characters stands in two topics or more (the one on `if` is also a part of the one on
    compound statements), which would put test text into training. A paragraph stays in the largest topic that has
    it, and a topic of which less than half is left goes.
    """
    seen: set[str] = set()
    kept = {}
    for name in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        paragraphs = re.split(r"\n\s*\n", topics[name])
        words = [" ".join(paragraph.split()) for paragraph in paragraphs]
        new = [p for p, w in zip(paragraphs, words, strict=True) if w not in seen]
        seen.update(words)
        text = "\n\n".join(new)
        if len(text) >= len(topics[name]) / 2:
            kept[name] = text
    return kept


def read_topics() -> dict[str, str]:
    """The text of each split, see `Pydoc`."""
    from pydoc_data.topics import topics

    texts = distinct(topics)
    total = sum(map(len, texts.values()))
    room = {split: share * total for split, share in SHARES.items()}
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for name in sorted(texts, key=lambda name: hashlib.sha256(name.encode()).digest()):
        split = next((split for split in room if len(texts[name]) <= room[split]), "train")
        if split in room:
            room[split] -= len(texts[name])
        splits[split].append(texts[name])
    return {split: "\n\n".join(parts) for split, parts in splits.items()}


class Pydoc(CharacterData):
    """The topics of Python's built-in help, embedded in every Python: nothing to download.

    About 370,000 characters without repetitions (`pydoc_data.topics`; Python Software Foundation). They differ a
    little between versions of Python, and so do figures; a run's record names the version. Whole topics go to one
    split, in the order of a checksum of their names, so that a new topic does not reshuffle the others: each
    goes to the test set if it still fits into a tenth of the characters, else likewise to validation, else to
    training.
    """

    at_hand = True

    def read_texts(self) -> dict[str, str]:
        return read_topics()


class PydocWords(WordData):
    """The same text and splits by word; see `WordData` for the vocabulary and `split_words` for what a word is.

    About 77,000 words of training, 12,000 each of validation and test.
    """

    at_hand = True

    def read_texts(self) -> dict[str, str]:
        return read_topics()


class PydocTokens(TokenData):
    """The same text and splits by byte-level BPE, whose merges are those of the training text."""

    at_hand = True

    def read_texts(self) -> dict[str, str]:
        return read_topics()

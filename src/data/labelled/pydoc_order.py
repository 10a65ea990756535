"""Sentences of Python's documentation in their order, or with two words swapped."""

import hashlib
import re
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..text.pydoc import SHARES, read_topics
from .labeled_text import Examples, LabeledText

CLASSES = ("original", "swapped")
SHORTEST, LONGEST = 5, 28  # words of a sentence, as in Conneau et al. 2018, section 3
END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"“(])")
CODE = re.compile(r">>>|::=|\.\.\.|[=<>{}|\\~^@]|\*\*|--|__")
PLAIN = re.compile(r"[A-Za-z]+")
# A string in three quotes that comes first in a file, or in what a line with a colon at its end begins.
DOCSTRING = re.compile(r"(?:\A(?:\s|#[^\n]*\n)*|:[ \t]*(?:#[^\n]*)?\n\s*)[rRuU]?(\"\"\"|''')(.*?)\1", re.DOTALL)
LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages", "__pycache__"}


def split_sentences(text: str) -> list[str]:
    r"""Sentences of prose: what has `SHORTEST` to `LONGEST` words, begins with a capital, ends and looks like no code.

    >>> split_sentences("Return a list. It is sorted\nby the name. See x = f(y) for more.")
    ['It is sorted by the name.']
    """
    return [
        sentence
        for paragraph in re.split(r"\n\s*\n", text)
        for sentence in END.split(" ".join(paragraph.split()))
        if SHORTEST <= len(sentence.split()) <= LONGEST
        and sentence[0].isupper()
        and sentence[-1] in ".!?"
        and not CODE.search(sentence)
    ]


def places_to_swap(sentence: str) -> list[int]:
    """Numbers of the words (by blanks) that can change places with the next one.

    Both are letters alone, and differ; the first word with its capital, and the last one with its full stop, stay where
    they are, so that nothing but the order tells.
    """
    words = sentence.split()
    return [
        i
        for i in range(1, len(words) - 2)
        if PLAIN.fullmatch(words[i]) and PLAIN.fullmatch(words[i + 1]) and words[i].lower() != words[i + 1].lower()
    ]


def swap(sentence: str, place: int) -> str:
    """The sentence with words `place` and `place + 1` in the other order."""
    words = sentence.split()
    words[place : place + 2] = words[place + 1], words[place]
    return " ".join(words)


def docstrings() -> dict[str, list[str]]:
    """The docstrings of the standard library's modules that are written in Python, by module or package."""

    def files(folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if path.name in LEFT_OUT:
                continue
            if path.is_dir():
                yield from files(path)
            elif path.suffix == ".py":
                yield path

    root = Path(sysconfig.get_path("stdlib"))
    found: dict[str, list[str]] = {}
    for path in files(root) if root.is_dir() else ():
        texts = [text for _, text in DOCSTRING.findall(path.read_text(encoding="utf-8", errors="ignore"))]
        found.setdefault(path.relative_to(root).parts[0].removesuffix(".py"), []).extend(texts)
    return found


def read_sentences() -> dict[str, list[str]]:
    """The sentences of each split, each once; see `PydocOrder`."""
    modules = {name: [s for text in texts for s in split_sentences(text)] for name, texts in docstrings().items()}
    total = sum(map(len, modules.values()))
    room = {split: share * total for split, share in SHARES.items()}
    splits = {split: split_sentences(text) for split, text in read_topics().items()}
    for name in sorted(modules, key=lambda name: hashlib.sha256(name.encode()).digest()):
        split = next((split for split in room if len(modules[name]) <= room[split]), "train")
        if split in room:
            room[split] -= len(modules[name])
        splits[split] += modules[name]
    seen: set[str] = set()
    unique: dict[str, list[str]] = {}
    for split in ("test", "val", "train"):  # what comes twice is not learnt and asked
        first = {" ".join(re.findall(r"\w+", s.lower())): s for s in reversed(splits[split]) if places_to_swap(s)}
        unique[split] = [s for key, s in first.items() if key not in seen]
        seen.update(first)
    return unique


def number_of(text: str) -> int:
    """A number that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def make_examples(sentences: Sequence[str], swaps: int) -> Examples:
    """Each sentence `swaps` times as it is, and as often with two neighbouring words swapped, each time two others.

    A sentence that has fewer places than `swaps` comes as often as it has places. Which ones are swapped depends on
    the sentence alone.
    """
    texts, labels = [], []
    for sentence in sentences:
        places = sorted(places_to_swap(sentence), key=lambda place: number_of(f"{place} {sentence}"))[:swaps]
        for place in places:
            texts += [" ".join(sentence.split()), swap(sentence, place)]
            labels += [0, 1]
    return Examples(texts, None, labels)


class PydocOrder(LabeledText):
    """Is a sentence of Python's documentation in its order, or have two neighbouring words changed places?

    The task "bigram shift" of Conneau, Kruszewski, Lample, Barrault and Baroni 2018 (arXiv:1805.01070, section 2.3),
    on text that is embedded in every Python: the topics of its built-in help, and the docstrings of the standard
    library (Python Software Foundation). About 12,000 sentences; they differ a little between versions of Python. Each
    sentence comes both ways, so that half of the examples are swapped, and a bag of words, which sees no order, is
    right exactly half of the time, as long as it never doubts.

    The splits are by document: the topics have the splits of `Pydoc`; a module of the library goes to one split as
    whole, in the order of a checksum of its name, to the test set if its sentences still fit into a tenth, else
    likewise to validation, else to training. A sentence that comes in two documents stays in the test or validation
    set alone.

    Args:
        num_classes: 2.
        swaps: how often a training sentence comes as it is, and with a swap; validation and test have one of each.
        common: see `LabeledText`.
    """

    classes = CLASSES
    vocabulary = 4_000

    indivisible = "a sentence is in several training samples, which would be in several folds"

    def __init__(self, *, num_classes: int = 2, swaps: int = 2, **common: Any) -> None:
        super().__init__(num_classes=num_classes, **common)
        if swaps < 1:
            raise UserError(f"data.swaps={swaps} must be at least 1")
        self.swaps = swaps

    def read_examples(self) -> dict[str, Examples]:
        return {
            split: make_examples(sentences, self.swaps if split == "train" else 1)
            for split, sentences in read_sentences().items()
        }

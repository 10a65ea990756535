"""Words with tags: CoNLL-2003, and files of a user's own in its form."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ...counter import uniform
from ...errors import UserError
from ...metrics.entities import count_entities, entity_figures, tag_table
from ..reading import Given
from ..text.base import read_text
from ..text.ragged import Ragged
from ..text.tokenizer import TokenizerCodec
from ..text.words import WORD
from .base import SHOWN, EncodedDescription, EncodedText, read_lines

log = logging.getLogger(__name__)
IGNORED = -100  # the label of a token that counts nowhere
FILES = {
    "train": ("train.txt", "train.conll", "eng.train"),
    "val": ("valid.txt", "val.txt", "dev.txt", "dev.conll", "eng.testa"),
    "test": ("test.txt", "test.conll", "eng.testb"),
}
# Of CoNLL-2003, as IOB2.
TAGS = ("B-LOC", "B-MISC", "B-ORG", "B-PER", "I-LOC", "I-MISC", "I-ORG", "I-PER", "O")
SYLLABLES = tuple(a + b for a in "bdfgklmnprst" for b in "aeiou")  # of made words
Sentence = tuple[list[str], list[str]]  # words and their tags


def read_conll(path: Path, column: int) -> list[Sentence]:
    """The sentences of a file: a word and its columns a line, blanks or tabs between, an empty line after a sentence.

    Lines that begin with -DOCSTART- or # are left out.

    Args:
        path: the file.
        column: of the tag, from 0; -1 is the last one. The word is in the first one.

    Raises:
        UserError: a line has no such column, or another number of them than the first; it is named by its number.
    """
    sentences: list[Sentence] = []
    words: list[str] = []
    tags: list[str] = []
    columns = 0
    for number, line in enumerate(read_text(path).split("\n"), 1):
        fields = line.split("\t") if "\t" in line else line.split()
        if not fields or not line.strip():
            if words:
                sentences.append((words, tags))
                words, tags = [], []
            continue
        if fields[0] == "-DOCSTART-" or (line.startswith("# ") and not words):
            continue
        columns = columns or len(fields)
        if len(fields) != columns or not -columns < column < columns or column == 0 or columns < 2:
            raise UserError(
                f"{path}, line {number}: {len(fields)} columns, where {columns} are in the first line, and the tags "
                f"are looked for in column {column}: give a word and its columns in each line, and data.column"
            )
        words.append(fields[0])
        tags.append(fields[column])
    if words:
        sentences.append((words, tags))
    if not sentences:
        raise UserError(f"{path} holds no sentence")
    return sentences


def to_iob2(tags: Sequence[str]) -> list[str]:
    """Tags of which each entity begins with B-, from IOB1, where B- stands only between two entities of one kind.

    >>> to_iob2(["I-PER", "I-PER", "O", "I-LOC", "B-LOC", "I-ORG"])
    ['B-PER', 'I-PER', 'O', 'B-LOC', 'B-LOC', 'B-ORG']
    """
    found = []
    for i, tag in enumerate(tags):
        kind, _, name = tag.partition("-")
        begins = kind == "I" and (i == 0 or tags[i - 1] not in (f"B-{name}", f"I-{name}"))
        found.append(f"B-{name}" if begins else tag)
    return found


def find_files(root: str, path: str | None) -> dict[str, Path]:
    """The files of the splits in a folder.

    Raises:
        UserError: one is missing.
    """
    folder = Path(root).expanduser() / "conll2003" if path is None else Path(path).expanduser()
    found = {}
    for split, names in FILES.items():
        there = [folder / name for name in names if (folder / name).is_file()]
        if not there:
            raise UserError(
                f"{folder} holds no {' or '.join(names)}: put your files of words and tags there, or name their folder "
                "with data.path=FOLDER (the texts of CoNLL-2003 are Reuters' and need a licence from NIST)"
            )
        found[split] = there[0]
    return found


def tags_of(sentences: Sequence[Sentence]) -> list[str]:
    """The tags as IOB2, sorted, O among them, each entity with both its tags."""
    found = {tag for _, tags in sentences for tag in to_iob2(tags)}
    both = {f"{kind}-{tag[2:]}" for tag in found if tag[:2] in ("B-", "I-") for kind in "BI"}
    return sorted({"O"} | found | both) if both else sorted(found)


class TaggedTokens:
    """Tokens of sentences, with a label at the first token of each word."""

    def __init__(self, rows: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]) -> None:
        self.tokens, self.labels = Ragged(rows), Ragged(labels)
        self.lengths = self.tokens.lengths
        self.baselines: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        _, indices = key
        return self.tokens.padded(indices), self.lengths[indices], self.labels.padded(indices, IGNORED)


def encode_words(
    codec: TokenizerCodec, sentences: Sequence[Sequence[str]], max_length: int, first: int, separator: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Words as tokens, each word on its own, between [CLS] and [SEP].

    Args:
        codec: cuts words into tokens. One that cannot make a token of a word gives it [UNK].
        sentences: words.
        max_length: tokens of an input at most; the words that do not fit as a whole are left out.
        first, separator: numbers of [CLS] and [SEP].

    Returns:
        Tokens of each sentence, and the place of the first token of each word that is in it.
    """
    # Byte-level tokens of a word differ by whether a blank is before it: so it has one, if it is not the first.
    blank = " " if codec.by == "bpe" else ""
    words = [blank * (i > 0) + word for sentence in sentences for i, word in enumerate(sentence)]
    pieces = iter(codec.encode_many(words))
    unknown: int | None = None
    rows, places = [], []
    for sentence in sentences:
        row, starts = [first], []
        for tokens in [next(pieces) for _ in sentence]:
            if not tokens:
                unknown = codec.number("[UNK]", "<unk>") if unknown is None else unknown
                tokens = [unknown]
            if len(row) + len(tokens) > max_length - 1:
                break
            starts.append(len(row))
            row += tokens
        rows.append([*row, separator])
        places.append(starts)
    return rows, places


class TagDescription(EncodedDescription):
    """Words with tags, whose names are in the order of the labels."""

    kind: Literal["token_tags"]
    classes: list[str]


@dataclass(frozen=True)
class GivenWords(Given[TaggedTokens]):
    """A user's texts, in pieces that fit into an input: a batch is one piece, with labels where words begin.

    Attributes:
        about: of each text.
        words: of each text, where its words stand in it.
        texts: of each piece, the number of its text.
    """

    words: Sequence[Sequence[re.Match[str]]] = field(kw_only=True)
    texts: Sequence[int] = field(kw_only=True)


class Conll(EncodedText):
    """Words with tags, most of all named entities: CoNLL-2003, or files of your own in its form.

    Tjong Kim Sang and De Meulder 2003, "Introduction to the CoNLL-2003 Shared Task: Language-Independent Named Entity
    Recognition", arXiv:cs/0306050; 14,041 + 3,250 + 3,453 sentences in English, the official splits. The texts may not
    be passed on: the files have to be there, in `root/conll2003` or in `path`, as train.txt, valid.txt and test.txt (or
    eng.train, eng.testa and eng.testb). IOB1, in which they were published, becomes IOB2.

    Batches: (tokens `b t`, lengths `b`, labels `b t`), with the label of a word at its first token, and -100 elsewhere
    (Devlin et al. 2018, arXiv:1810.04805, section 5.3).

    Attributes:
        classes: the tags in the order of the labels.
        baselines: by split, accuracy, precision, recall and F1 of tagging each word as training does most often, and
            words that it does not have as it does most words that come once.

    Args:
        num_classes: see `declare_num_classes`.
        root: folder that has `conll2003`.
        path: a folder of files instead of it.
        column: of the tags, from 0; -1: the last one.
        classes: the tags in the order of the labels; None: sorted. A checkpoint gives its own.
        common: see `EncodedText`. Made data (`fake`): the letter with which a word begins tells its tag.
    """

    tasks = ("token_classification",)
    targets = "step"
    network = "bert_tiny"
    vocabulary = 12_000

    def __init__(
        self,
        *,
        num_classes: int,
        root: str = "data",
        path: str | None = None,
        column: int = -1,
        classes: Sequence[str] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.num_classes, self.root, self.path, self.column = num_classes, root, path, column
        self.classes = list(classes or ())

    @classmethod
    def declare_num_classes(
        cls, root: str = "data", path: str | None = None, column: int = -1, fake: bool = False
    ) -> int:
        """The different tags of the training file, and O."""
        return len(TAGS if fake else tags_of(read_conll(find_files(root, path)["train"], column)))

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        found: dict[str, Any] = self.splits
        return {split: found[split].baselines for split in ("val", "test") if split in found}

    def read_sentences(self) -> dict[str, list[Sentence]]:
        """The sentences of each split, with tags as IOB2."""
        files = find_files(self.root, self.path)
        found = {split: read_conll(path, self.column) for split, path in files.items()}
        self.classes = self.classes or tags_of(found["train"])
        for split, sentences in found.items():
            strange = {tag for _, tags in sentences for tag in to_iob2(tags)} - set(self.classes)
            if strange:
                raise UserError(
                    f"{files[split]} has the tag {min(strange)}, which is none of those of training: "
                    f"{', '.join(self.classes)}"
                )
        return {split: [(words, to_iob2(tags)) for words, tags in part] for split, part in found.items()}

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        if self.fake:
            self.classes = self.classes or list(TAGS[: self.num_classes])
        sentences = self.fake_sentences() if self.fake else self.read_sentences()
        if len(self.classes) != self.num_classes:
            raise UserError(
                f"there are {len(self.classes)} tags, not data.num_classes={self.num_classes}: leave it out"
            )
        self.find_codec(" ".join(words) for words, _ in sentences["train"])
        number = {tag: k for k, tag in enumerate(self.classes)}
        splits = {}
        for split, part in sentences.items():
            rows, places = encode_words(
                self.codec, [words for words, _ in part], self.max_length, self.first, self.separator
            )
            labels = [[IGNORED] * len(row) for row in rows]
            cut = 0
            for label, starts, (_, tags) in zip(labels, places, part, strict=True):
                cut += len(starts) < len(tags)
                for place, tag in zip(starts, tags, strict=False):
                    label[place] = number[tag]
            if stage != "test":
                self.tell_cut(split, cut, len(rows))
            splits[split] = TaggedTokens(rows, labels)
        self.splits = {**splits}
        for split in ("val", "test"):
            splits[split].baselines = usual_figures(sentences["train"], sentences[split], self.classes)
        if stage != "test":
            self.tell_waste()

    def fake_sentences(self) -> dict[str, list[Sentence]]:
        """Made words, one token each; the first syllable of a word tells its tag."""
        room = max(2, min(SHOWN, self.max_length) - 2)
        k = len(self.classes)

        def make(stream: int, n: int) -> list[Sentence]:
            random = (uniform(1, stream, torch.arange(n), room) * 2**16).long().tolist()
            found = []
            for i, draws in enumerate(random):
                kept = draws[: room if i % 4 else max(1, room - 2)]
                found.append(
                    ([f"{SYLLABLES[d % k]}{SYLLABLES[d // k % 4]}" for d in kept], [self.classes[d % k] for d in kept])
                )
            return found

        b = self.batch_size
        return {"train": make(0, 2 * b), "val": make(1, b), "test": make(2, b)}

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        tokens, lengths = self.example_tokens(batch)
        labels = torch.randint(self.num_classes, tokens.shape)
        return tokens, lengths, labels.index_fill(1, torch.tensor([0, -1 % tokens.shape[1]]), IGNORED)

    def read(self, given: str) -> GivenWords:
        """See `DataModule.read`: a text on each line, or a text itself."""
        lines = read_lines(given, self.endings)
        words = [list(WORD.finditer(line)) for _, line in lines]
        pieces = [
            (i, row, starts)
            for i, text in enumerate(words)
            for row, starts in self.pieces([word.group() for word in text])
        ]
        labels = [[0 if place in starts else IGNORED for place in range(len(row))] for _, row, starts in pieces]
        return GivenWords(
            [{"place": place, "text": line} for place, line in lines],
            TaggedTokens([row for _, row, _ in pieces], labels), size=1, words=words, texts=[i for i, *_ in pieces],
        )  # fmt: skip

    def pieces(self, words: Sequence[str]) -> Iterator[tuple[list[int], list[int]]]:
        """Tokens of as many inputs as the words need, and in each the place of the first token of each of its words."""
        done = 0
        while done < len(words):
            (row,), (starts,) = encode_words(self.codec, [words[done:]], self.max_length, self.first, self.separator)
            if not starts:  # one word has more tokens than the network takes: its first ones are seen
                (whole,), _ = encode_words(self.codec, [words[done : done + 1]], 10**9, self.first, self.separator)
                row, starts = [*whole[: self.max_length - 1], self.separator], [1]
            yield row, starts
            done += len(starts)

    def describe(self) -> TagDescription:
        return {"kind": "token_tags", "classes": list(self.classes), **super().describe()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Tokens and tags are numbered as in the checkpoint."""
        super().load_state_dict(state_dict)
        self.classes = list(state_dict["classes"])


def usual_figures(train: Sequence[Sentence], judged: Sequence[Sentence], classes: Sequence[str]) -> dict[str, float]:
    """Accuracy, and of entities precision, recall and F1, of the most frequent tag of each word.

    A word that training does not have gets the most frequent tag of the words that come once in training.
    """
    tags_of_word: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for words, tags in train:
        for word, tag in zip(words, tags, strict=True):
            tags_of_word[word][tag] += 1
    usual = {word: min(counts, key=lambda tag: (-counts[tag], tag)) for word, counts in tags_of_word.items()}
    rare = Counter(usual[word] for word, counts in tags_of_word.items() if counts.total() == 1) or Counter(
        usual.values()
    )
    other = min(rare, key=lambda tag: (-rare[tag], tag))
    number = {tag: k for k, tag in enumerate(classes)}
    there = torch.tensor([number[tag] for _, tags in judged for tag in tags])
    said = torch.tensor([number[usual.get(word, other)] for words, _ in judged for word in words])
    rows = torch.tensor([i for i, (words, _) in enumerate(judged) for _ in words])
    figures = {"usual_tag_accuracy": float((there == said).double().mean())}
    if (table := tag_table(classes)) is not None:
        found = entity_figures(count_entities(there, said, rows, table))
        figures |= {f"usual_tag_{name}": float(value) for name, value in found.items()}
    return figures

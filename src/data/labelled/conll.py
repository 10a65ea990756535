"""Words with tags: CoNLL-2003, and files of a user's own in its form."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ...counter import uniform
from ...errors import UserError, some
from ...metrics.entities import count_entities, entity_figures, split_tag, tag_table
from ..reading import Given, read_each
from ..text.ragged import Ragged
from ..text.tokenizer import TokenizerCodec
from ..text.words import WORD
from .base import SHOWN, EncodedDescription, EncodedText, answerable, given_files, require_texts
from .columns import NUMBERED, Sentence, Tagged, find_files, read_columns
from .schemes import (
    CLOSED,
    classes_of,
    form_of,
    kind_of,
    out_of_order,
    plain_tag,
    plain_tags,
    require_known,
    scheme_name,
    to_iob2,
)

log = logging.getLogger(__name__)
Divided = tuple[str, str, list[tuple[int, int]]]  # where a text is from, it, and the borders of each word in it
NO_TAG = "_"  # of CoNLL-U
IGNORED = -100  # the label of a token that counts nowhere
# Of CoNLL-2003, as IOB2.
TAGS = ("B-LOC", "B-MISC", "B-ORG", "B-PER", "I-LOC", "I-MISC", "I-ORG", "I-PER", "O")
SYLLABLES = tuple(a + b for a in "bdfgklmnprst" for b in "aeiou")  # of made words


def tags_of(found: Tagged, path: Path, entities: bool | None) -> tuple[list[str], re.Pattern[str] | None]:
    """The classes of a training file, see `classes_of`, and how its tags are written, see `form_of`.

    Raises:
        UserError: it has one tag alone, or one that is none.
    """
    if len(found.places) < 2:
        raise UserError(
            f"{path} has the tag {some(found.places)} alone in its column of tags: name another one with "
            "data.column=COLUMN"
        )
    if (form := form_of(found.places, entities)) is None:
        return classes_of(found.places, False), None
    return classes_of({str(plain_tag(tag, form)) for tag in found.places}, True), form


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
        words: of each text, the first character of each of its words, and the one behind the last.
        texts: of each piece, the number of its text.
    """

    words: Sequence[Sequence[tuple[int, int]]] = field(kw_only=True)
    texts: Sequence[int] = field(kw_only=True)


class Conll(EncodedText):
    """Words with tags, most of all named entities: CoNLL-2003, or files of your own in its form.

    Tjong Kim Sang and De Meulder 2003, "Introduction to the CoNLL-2003 Shared Task: Language-Independent Named Entity
    Recognition", arXiv:cs/0306050; 14,041 + 3,250 + 3,453 sentences in English, the official splits. The texts may not
    be passed on: the files have to be there, in `root/conll2003` or in `path`, as train.txt, valid.txt and test.txt (or
    eng.train, eng.testa and eng.testb). Files of one's own may be in CoNLL-U, see `read_columns`, and their tags in any
    scheme of marks, see `schemes`: IOB1, in which these were published, and all others become IOB2.

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
        column, word: of the tags and of the words, see `read_columns`.
        entities: whether the tags mark entities; None: if they look so, see `form_of`.
        encoding: of the files.
        classes: the tags in the order of the labels; None: sorted. A checkpoint gives its own.
        common: see `EncodedText`. Made data (`fake`): the letter with which a word begins tells its tag.
    """

    tasks = ("token_classification",)
    targets = "step"
    network = "bert_tiny"
    endings = (*EncodedText.endings, *NUMBERED)
    vocabulary = 12_000

    def __init__(
        self,
        *,
        num_classes: int,
        root: str = "data",
        path: str | None = None,
        column: int | str | None = None,
        word: int | str | None = None,
        entities: bool | None = None,
        encoding: str = "utf-8",
        classes: Sequence[str] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.num_classes, self.root, self.path, self.entities = num_classes, root, path, entities
        self.layout, self.encoding = (column, word, encoding), encoding
        self.classes = list(classes or ())

    @classmethod
    def declare_num_classes(
        cls, root: str = "data", path: str | None = None, column: int | str | None = None,
        word: int | str | None = None, entities: bool | None = None, encoding: str = "utf-8", fake: bool = False,
    ) -> int:  # fmt: skip
        """The different tags of the training file, and O."""
        if fake:
            return len(TAGS)
        file = find_files(root, path)["train"]
        return len(tags_of(read_columns(file, column, word, encoding), file, entities)[0])

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        found: dict[str, Any] = self.splits
        return {split: found[split].baselines for split in ("val", "test") if split in found}

    def read_sentences(self) -> dict[str, list[Sentence]]:
        """The sentences of each split, with tags as IOB2, or as the classes of an older checkpoint have them."""
        files = find_files(self.root, self.path)
        found = {split: read_columns(path, *self.layout) for split, path in files.items()}
        classes, form = tags_of(found["train"], files["train"], self.entities)
        self.classes = self.classes or classes
        plain = {split: plain_tags(part, form) for split, part in found.items()}
        if self.speaks:
            self.tell_tags(files, plain, form is not None)
        as_they_are = form is None or any(parts[0] not in "BI" for parts in map(split_tag, self.classes) if parts)
        read = {
            split: [(words, tags if as_they_are else to_iob2(tags)) for words, tags in part.sentences]
            for split, part in plain.items()
        }
        for split, sentences in read.items():
            require_known({tag for _, tags in sentences for tag in tags}, plain[split].places, self.classes)
        return read

    def tell_tags(self, files: dict[str, Path], found: dict[str, Tagged], entities: bool) -> None:
        """Say what was read as words and tags, and by which scheme."""
        names, train = ", ".join(path.name for path in files.values()), found["train"]
        tags = {split: [tags for _, tags in part.sentences] for split, part in found.items()}
        if NO_TAG in (known := found["train"].places) and found["train"].numbered:
            log.warning(
                "the tag %s, which says in CoNLL-U that there is none, is a class like the others: %s",
                NO_TAG,
                known[NO_TAG],
            )
        if not entities:
            log.info(
                "%s: words of column %d, and %d tags of column %d, which mark no entities: there is no F1",
                names, train.word, len(train.places), train.column,
            )  # fmt: skip
            return
        counts = [sum(tag[0] == "B" for part in tags[split] for tag in to_iob2(part)) for split in files]
        schemes = {split: scheme_name(part) for split, part in tags.items()}
        odd = sum(out_of_order(part) for split, part in tags.items() if schemes[split] in CLOSED)
        log.info(
            "%s: words of column %d, tags of column %d by %s, read as IOB2: %s entities%s",
            names, train.word, train.column, " and ".join(dict.fromkeys(schemes.values())),
            " + ".join(map(str, counts)),
            f"; {odd} tags are out of order, and each begins an entity or ends one" if odd else "",
        )  # fmt: skip

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

    def read(self, given: Any) -> GivenWords:
        """See `DataModule.read`: a file in the form of training, a text on each line, or a text itself."""
        if isinstance(given, str):
            files = given_files(given, self.endings)
            read, unread = read_each(files, self.divided, "place")
            texts = [text for _, (found, _) in read for text in found] if files else [divide("", given)]
            unread = [*(each for _, (_, wrong) in read for each in wrong), *unread]
            require_texts(given, texts)
        else:
            held, unread = answerable(given)
            texts = [divide(each.place, each.text) for each in held]
        words = [[text[begin:end] for begin, end in spans] for _, text, spans in texts]
        pieces = [(i, row, starts) for i, text in enumerate(words) for row, starts in self.pieces(text)]
        labels = [[0 if place in starts else IGNORED for place in range(len(row))] for _, row, starts in pieces]
        return GivenWords(
            [{"place": place, "text": text} for place, text, _ in texts],
            TaggedTokens([row for _, row, _ in pieces], labels), size=1, words=[spans for *_, spans in texts],
            texts=[i for i, *_ in pieces], unread=unread,
        )  # fmt: skip

    def divided(self, file: Path) -> tuple[list[Divided], list[dict[str, str]]]:
        """The texts of a file, and `Given.unread` of those that are none."""
        found = self.tagged(file)
        if found is None:
            texts, wrong = answerable(self.given_texts(file))
            return [divide(each.place, each.text) for each in texts], wrong
        lines = zip(found.lines, found.sentences, strict=True)
        return [spaced(f"{file}:{line}", words) for line, (words, _) in lines], []

    def tagged(self, file: Path) -> Tagged | None:
        """A file in the form of training; None: it is a text."""
        try:
            found = read_columns(file, *self.layout)
        except UserError:
            if file.suffix.lower() in NUMBERED:
                raise
            return None
        kinds = {parts[1] for name in self.classes if (parts := split_tag(name))}
        known = all(tag in self.classes or kind_of(tag) in kinds for tag in found.places)
        return found if found.numbered or known else None

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


def divide(place: str, text: str) -> Divided:
    """A text in its words."""
    return place, text, [word.span() for word in WORD.finditer(text)]


def spaced(place: str, words: Sequence[str]) -> Divided:
    """Words with blanks between."""
    ends = list(accumulate(len(word) + 1 for word in words))
    return place, " ".join(words), [(end - 1 - len(word), end - 1) for word, end in zip(words, ends, strict=True)]


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

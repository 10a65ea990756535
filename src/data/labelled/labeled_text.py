"""Sentences, or pairs of them, with a class."""

import logging
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...counter import uniform
from ...errors import UserError
from ...metrics.figures import Figure, Reports
from ..reading import Given
from ..text.ragged import Ragged
from ..text.tokenizer import TokenizerCodec
from .base import SHOWN, EncodedDescription, EncodedText, longest_first, segments_of

log = logging.getLogger(__name__)
COUNTED = 50_000  # training texts from which the baseline learns
WORD = r"\w+|[^\w\s]"  # of the baseline
OWN_WORDS = 4  # of a class, in made data


class Examples(NamedTuple):
    """Labelled texts.

    Attributes:
        texts: of each example.
        pairs: the second text of each example; None: there is none.
        labels: places in the list of classes.
    """

    texts: list[str]
    pairs: list[str] | None
    labels: list[int]


class LabelledTokens:
    """Tokens of texts with labels: a batch is padded behind to its longest.

    Args:
        rows: tokens of each example, special ones included.
        firsts: of pairs, how many of them are of the first segment.
        labels: int64 `n`.

    Attributes:
        baselines: what needs no network on this split, by the name of the figure.
    """

    def __init__(self, rows: Sequence[Sequence[int]], firsts: Sequence[int] | None, labels: Sequence[int]) -> None:
        self.tokens, self.labels = Ragged(rows), torch.tensor(labels, dtype=torch.int64)
        self.firsts = None if firsts is None else torch.tensor(firsts)
        self.lengths = self.tokens.lengths
        self.baselines: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, ...]:
        _, indices = key
        tokens = self.tokens.padded(indices)
        segments = () if self.firsts is None else (segments_of(self.firsts[indices], tokens.shape[1]),)
        return tokens, self.lengths[indices], *segments, self.labels[indices]


def encode_texts(
    codec: TokenizerCodec, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int, first: int,
    separator: int,
) -> tuple[list[list[int]], list[int] | None, int]:  # fmt: skip
    """[CLS] text [SEP], or [CLS] text [SEP] second text [SEP] (Devlin et al. 2018, arXiv:1810.04805, figure 2).

    Args:
        codec: cuts texts into tokens.
        texts, pairs: see `Examples`.
        max_length: tokens of an input at most. A text that is too long loses its end, of a pair the longer one first.
        first, separator: the numbers of [CLS] and [SEP].

    Returns:
        Tokens of each input; of pairs, how many of them are of the first segment; and how many inputs were cut.
    """
    one = codec.encode_many(texts)
    if pairs is None:
        rows = [[first, *tokens[: max_length - 2], separator] for tokens in one]
        return rows, None, sum(len(tokens) > max_length - 2 for tokens in one)
    rows, firsts, cut = [], [], 0
    for a, b in zip(one, codec.encode_many(pairs), strict=True):
        keep_a, keep_b = longest_first(len(a), len(b), max_length - 3)
        rows.append([first, *a[:keep_a], separator, *b[:keep_b], separator])
        firsts.append(keep_a + 2)
        cut += len(a) + len(b) > max_length - 3
    return rows, firsts, cut


class TextClassDescription(EncodedDescription):
    """Texts, or pairs of texts, with a class each; the names are in the order of the labels."""

    kind: Literal["text_classes"]
    classes: list[str]
    pair: bool


class LabeledText(EncodedText):
    """Texts, or pairs of texts, with one class out of K. A subclass implements `read_examples`, and names the classes.

    Batches: (tokens `b t`, lengths `b`, labels `b`), and of pairs (tokens, lengths, segments `b t`, labels).

    Attributes:
        classes: names in the order of the labels.
        pair: whether an example has two texts.
        baselines: by split, the accuracy of the most frequent class of training, and of logistic regression on how
            often each word comes (of pairs, in each of the two texts), which knows nothing of the words' order.

    Args:
        num_classes: number of classes.
        common: see `EncodedText`. Made data (`fake`): each class has words of its own, one of which is in each text
            among words that say nothing.
    """

    tasks = ("classification",)
    reports: ClassVar[Reports] = {
        "bag_of_words_accuracy": Figure("higher", "%", tabled=True),
    }
    targets = "sequence"
    classes: Sequence[str] = ()

    def __init__(self, *, num_classes: int, **common: Any) -> None:
        super().__init__(**common)
        if num_classes < 2:
            raise UserError(f"data.num_classes={num_classes} must be at least 2")
        self.num_classes = num_classes
        if self.classes and len(self.classes) != num_classes:
            raise UserError(
                f"data.num_classes={num_classes} is not the {len(self.classes)} of these data: leave it out"
            )

    def read_examples(self) -> dict[str, Examples]:
        """The texts of each split."""
        raise NotImplementedError

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        found: dict[str, Any] = self.splits
        return {split: found[split].baselines for split in ("val", "test") if split in found}

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        if self.fake and not self.classes:
            self.classes = [f"class{k}" for k in range(self.num_classes)]
        examples = self.in_folds(self.fake_examples() if self.fake else self.read_examples())
        for split, part in examples.items():
            if not part.texts:
                raise UserError(f"the {split} split has no text")
        train = examples["train"]
        self.find_codec([*train.texts, *(train.pairs or ())])
        splits = {}
        for split, part in examples.items():
            rows, firsts, cut = encode_texts(
                self.codec, part.texts, part.pairs, self.max_length, self.first, self.separator
            )
            splits[split] = LabelledTokens(rows, firsts, part.labels)
            if stage != "test":
                self.tell_cut(split, cut, len(rows))
        self.splits = {**splits}
        if not self.fake and len(train.texts) > COUNTED and self.speaks:
            log.info("the bag of words learns from %d of the %d training texts", COUNTED, len(train.texts))
        for split, figures in baselines_of(examples).items():
            splits[split].baselines = figures
        if stage != "test":
            self.tell_waste()

    def fake_examples(self) -> dict[str, Examples]:
        """Words of no meaning, and somewhere among them one of the words of the class; each fourth text is shorter."""
        syllables = [a + b for a in "bdfgklmn" for b in "aeiou"]
        room = max(2, min(SHOWN, self.max_length) - (3 if self.pair else 2))

        def make(stream: int, n: int) -> Examples:
            labels = [i % self.num_classes for i in range(n)]
            random = (uniform(0, stream, torch.arange(n), room + 2) * 2**16).long().tolist()
            texts, pairs = [], []
            for i, (label, (which, place, *draws)) in enumerate(zip(labels, random, strict=True)):
                words = [syllables[draw % len(syllables)] for draw in draws[: room if i % 4 else max(2, room - 2)]]
                words[place % len(words)] = f"class{label}{syllables[which % OWN_WORDS]}"
                border = len(words) // 2 if self.pair else len(words)
                texts.append(" ".join(words[:border]))
                pairs.append(" ".join(words[border:]))
            return Examples(texts, pairs if self.pair else None, labels)

        b = self.batch_size
        return {"train": make(0, 2 * b), "val": make(1, b), "test": make(2, b)}

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        tokens, lengths = self.example_tokens(batch)
        labels = torch.randint(self.num_classes, (batch,))
        segments = (segments_of(lengths // 2, tokens.shape[1]),) if self.pair else ()
        return tokens, lengths, *segments, labels

    def read(self, given: Any) -> Given[LabelledTokens]:
        """See `DataModule.read`: a table or a text on each line, see `given_texts`, or a text itself."""
        found, unread = self.texts_of(given)
        texts, pairs = [each.text for each in found], [str(each.pair) for each in found] if self.pair else None
        rows, firsts, cut = encode_texts(self.codec, texts, pairs, self.max_length, self.first, self.separator)
        self.tell_cut("given texts", cut, len(rows))
        return Given(
            [{"place": each.place, "text": "\t".join(filter(None, each[1:3]))} for each in found],
            LabelledTokens(rows, firsts, [0] * len(rows)), unread=unread,
        )  # fmt: skip

    def describe(self) -> TextClassDescription:
        return {"kind": "text_classes", "classes": list(self.classes), "pair": self.pair, **super().describe()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Tokens and classes are numbered as in the checkpoint."""
        super().load_state_dict(state_dict)
        self.classes = list(state_dict["classes"])


def baselines_of(examples: dict[str, Examples]) -> dict[str, dict[str, float]]:
    """What needs no network, on validation and test; see `LabeledText`.

    The logistic regression is scikit-learn's, with its default penalty, on counts of words and signs in lower case. It
    learns from at most `COUNTED` training texts, evenly spaced.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    train = examples["train"]
    counts = np.bincount(train.labels)
    majority = int(counts.argmax())
    found = {
        split: {"majority_accuracy": float(np.mean(np.array(examples[split].labels) == majority))}
        for split in ("val", "test")
    }
    if (counts > 0).sum() < 2:
        return found
    vectorizer = CountVectorizer(token_pattern=WORD)
    chosen = np.linspace(0, len(train.texts) - 1, min(COUNTED, len(train.texts))).round().astype(int).tolist()

    def features(part: Examples, places: Sequence[int]) -> Any:
        from scipy.sparse import hstack

        sides = [part.texts] if part.pairs is None else [part.texts, part.pairs]
        return hstack([vectorizer.transform([side[i] for i in places]) for side in sides], format="csr")

    vectorizer.fit([side[i] for side in (train.texts, train.pairs) if side is not None for i in chosen])
    model = LogisticRegression(max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # nearly there is near enough for a baseline
        model.fit(features(train, chosen), np.array(train.labels)[chosen])
    for split, figures in found.items():
        part = examples[split]
        right = model.predict(features(part, range(len(part.texts)))) == np.array(part.labels)
        figures["bag_of_words_accuracy"] = float(right.mean())
    return found

"""Text for masked language models: pairs of pieces, some of whose tokens are hidden."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, ClassVar, Literal, TypedDict

import torch
from torch import Tensor

from ...errors import UserError
from ...metrics.figures import Figure, Reports
from ..base import DataModule
from ..loading import BucketOrder, Loader, Order
from ..text.base import codec_of
from ..text.same_tokens import require_tokens_of
from ..text.tokenizer import BERT, TokenizerCodec, TokenizerDescription, load_codec, train_codec
from .hiding import IGNORED, Masks, most_masks
from .sentence_pairs import SentencePairs, seed_in

log = logging.getLogger(__name__)
END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")  # of a sentence
DOCUMENTS = 512  # that are cut into tokens in one call


def sentences_of(document: str) -> list[str]:
    r"""Sentences of a text: what full stops, exclamation and question marks end, or an empty line.

    >>> sentences_of("The cat sat.  It\nslept!\n\nHeading\n\nThe end")
    ['The cat sat.', 'It\nslept!', 'Heading', 'The end']
    """
    return [sentence for part in END.split(document) if (sentence := part.strip())]


class MaskedDescription(TypedDict):
    """Text of which some tokens are hidden: the tokeniser, and the tokens that a network sees at once."""

    kind: Literal["masked_text"]
    tokenizer: TokenizerDescription
    context: int


class MaskedText(DataModule):
    """Text for BERT's pre-training. A subclass implements `read_documents`.

    Batches: (tokens `b t`, some of them hidden; lengths `b`; segments `b t`, 0 up to the first [SEP], then 1; places of
    the tokens to guess `b m`; these tokens `b m`, -100 where there are fewer; is_next `b`, 0 where the second piece
    comes after the first and 1 where it is of another document). Padding is 0. See `SentencePairs` and `Masks`.

    Tokens are WordPieces, by a tokeniser that is trained on the training text or given; it travels in the checkpoint.

    Args:
        vocab_size: tokens; declared for the network and checked against the tokeniser.
        context: tokens that the network sees at once, special ones included; batches are padded to it.
        tokenizer: None, or what `load_codec` reads.
        lowercase: whether a tokeniser that is trained forgets capitals and accents.
        whole_words: see `Masks`.
        buckets: batches of samples of similar length, padded to the longest of them (see `BucketOrder`).
        common: batch size, workers, seed and so on, see `DataModule`.

    Raises:
        UserError: a setting that cannot be.
    """

    tasks = ("masked_lm",)
    reports: ClassVar[Reports] = {
        "unigram_nll": Figure("lower", "nats", tabled=True),
    }
    targets = "masked"
    network = "bert_tiny"
    length_option: ClassVar[str | None] = "context"
    advice: ClassVar[str] = "give a longer text"  # where there are too few documents
    vocabulary: ClassVar[int] = 8192  # tokens of a tokeniser that is trained, unless the config says otherwise

    def __init__(
        self,
        *,
        vocab_size: int,
        context: int = 128,
        tokenizer: str | None = None,
        lowercase: bool = True,
        whole_words: bool = False,
        buckets: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if context < 8:
            raise UserError(f"data.context={context} must be at least 8, as in data.context=128")
        if vocab_size <= len(BERT):
            raise UserError(f"data.vocab_size={vocab_size} must be more than the {len(BERT)} special tokens")
        self.vocab_size, self.context, self.tokenizer = vocab_size, context, tokenizer
        self.lowercase, self.whole_words, self.buckets = lowercase, whole_words, buckets
        self.known_codec: TokenizerCodec | None = None
        self._baselines: dict[str, tuple[SentencePairs, dict[str, float]]] = {}

    @classmethod
    def declare_vocab_size(cls, tokenizer: str | None = None) -> int:
        """The tokens of a given tokeniser, or the number for which one is trained."""
        return cls.vocabulary if tokenizer is None else load_codec(tokenizer).vocab_size

    def read_documents(self) -> dict[str, list[str]]:
        """The texts of each split, one for each document."""
        raise NotImplementedError

    def make_codec(self, documents: Sequence[str]) -> TokenizerCodec:
        """The tokeniser of these data, from the training documents where it is not given."""
        if self.tokenizer is not None:
            return load_codec(self.tokenizer)
        return train_codec(documents, "wordpiece", self.vocab_size, BERT, lowercase=self.lowercase)

    @property
    def codec(self) -> TokenizerCodec:
        assert self.known_codec is not None, "the codec is known after setup"
        return self.known_codec

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        documents: Mapping[str, Iterable[Iterable[Sequence[int]]]]
        if self.fake:
            self.known_codec = self.known_codec or made_codec(self.vocab_size)
            documents = self.fake_documents()
        else:
            texts = self.read_documents()
            self.known_codec = self.known_codec or self.make_codec(texts["train"])
            documents = {split: encoded(self.codec, part) for split, part in texts.items()}
        if self.codec.vocab_size != self.vocab_size:
            raise UserError(
                f"data.vocab_size={self.vocab_size} is not the {self.codec.vocab_size} of the tokeniser: use "
                f"data.vocab_size={self.codec.vocab_size}"
            )
        first, separator = self.codec.number("[CLS]", "<s>"), self.codec.number("[SEP]", "</s>")
        self.masks = Masks(self.codec, self.context, whole_words=self.whole_words)
        splits = {}
        for split, part in documents.items():
            try:
                splits[split] = SentencePairs(
                    part, self.context, self.seed, first=first, separator=separator, buckets=self.buckets
                )
            except UserError as error:
                raise UserError(f"{split}: {error}: {self.advice}") from error
        self.splits = {**splits}
        if stage != "test" and (self.trainer is None or self.trainer.is_global_zero):
            self.tell(splits)

    def tell(self, splits: dict[str, SentencePairs]) -> None:
        """Say how much text there is, and what part of the batches is padding."""
        for split, pairs in splits.items():
            log.info(
                "%s: %d documents, %d tokens, %d samples an epoch",
                split, len(pairs.documents) - 1, len(pairs.tokens), len(pairs),
            )  # fmt: skip
        train = splits["train"]
        batch = min(self.batch_size, len(train))
        orders = {
            False: Order(len(train), batch, shuffle=True, seed=self.seed),
            True: BucketOrder(train.lengths, batch, shuffle=True, seed=self.seed),
        }
        waste = {buckets: 100 * train.waste(order, longest=buckets) for buckets, order in orders.items()}
        log.info(
            "%.1f %% of a training batch is padding, and would be %.1f %% with data.buckets=%s",
            waste[self.buckets], waste[not self.buckets], str(not self.buckets).lower(),
        )  # fmt: skip

    def fake_documents(self) -> dict[str, list[list[list[int]]]]:
        """Documents that count: a token follows from the one before it, and is followed by the one after it."""
        cycle = min(90, self.vocab_size - len(BERT))
        size, per_document = max(2, self.context // 8), 32  # tokens of a sentence, sentences of a document

        def make(samples: int, start: int) -> list[list[list[int]]]:
            number = 2 + samples * self.context // (size * per_document)
            return [
                [
                    [len(BERT) + 7 * (start + 5 * d + size * s + i) % cycle for i in range(size)]
                    for s in range(per_document)
                ]
                for d in range(number)
            ]

        b = self.batch_size
        return {"train": make(2 * b, 0), "val": make(b, 1), "test": make(b, 2)}

    def require_weights(self, weights: str) -> None:
        require_tokens_of(weights, self)

    def loader(self, split: str, *, shuffle: bool = False) -> Loader:
        """Batches of a split for this process; see `Order` and `BucketOrder`."""
        if not self.buckets:
            return super().loader(split, shuffle=shuffle)
        pairs = self.splits[split]
        assert isinstance(pairs, SentencePairs)
        order = BucketOrder(
            pairs.lengths,
            self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world=self.trainer.world_size if self.trainer else 1,
        )
        return Loader(pairs, order, self.num_workers or 0)

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """What `SentencePairs` gives, in; a batch with hidden tokens as the class describes it, out."""
        tokens, lengths, segments, is_next, indices, epoch = batch
        seen, positions, labels = self.masks.to(tokens.device)(
            tokens, lengths, seed_in(epoch, self.seed), epoch, indices
        )
        return seen, lengths, segments, positions, labels, is_next

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        """Of validation and test: what the unigram frequencies of the training text reach, in nats; computed once."""
        found = {}
        for split in ("val", "test"):
            pairs = self.splits.get(split)
            if isinstance(pairs, SentencePairs):
                if split not in self._baselines or self._baselines[split][0] is not pairs:
                    self._baselines[split] = pairs, {"unigram_nll": self.unigram_nll(pairs)}
                found[split] = self._baselines[split][1]
        return found

    def unigram_nll(self, judged: SentencePairs) -> float:
        """Mean of -ln p of the tokens to guess in evaluation, where p is (n + 1) / (N + V) of training's counts.

        A network that has learnt how often each token comes, and nothing else, reaches this.
        """
        train = self.splits["train"]
        assert isinstance(train, SentencePairs)
        masks = self.masks.to(torch.device("cpu"))
        counts = torch.bincount(train.tokens, minlength=self.vocab_size).double().where(~masks.special, 0)
        logarithms = ((counts + 1) / (counts[masks.ordinary].sum() + len(masks.ordinary))).log()
        total, number = 0.0, 0
        for indices in torch.arange(len(judged)).split(256):
            tokens, lengths, _, _, _, epoch = judged[-1, indices]
            _, _, labels = masks(tokens, lengths, seed_in(epoch, self.seed), epoch, indices)
            labels = labels[labels != IGNORED]
            total, number = total - float(logarithms[labels].sum()), number + len(labels)
        return total / number

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        t, m = self.context, most_masks(self.context)
        tokens, labels = torch.randint(self.vocab_size, (batch, t)), torch.randint(self.vocab_size, (batch, m))
        segments = (torch.arange(t) >= t // 2).long().expand(batch, t)
        positions = torch.arange(1, m + 1).expand(batch, m)
        return tokens, torch.full((batch,), t), segments, positions, labels, torch.randint(2, (batch,))

    def describe(self) -> MaskedDescription:
        return {"kind": "masked_text", "tokenizer": self.codec.describe(), "context": self.context}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The numbers of the tokens are those of the checkpoint, even where the text has changed since."""
        codec = codec_of(state_dict["tokenizer"])
        assert isinstance(codec, TokenizerCodec)
        self.known_codec = codec


def encoded(codec: TokenizerCodec, documents: Sequence[str]) -> Iterator[list[list[int]]]:
    """Documents as sentences of token numbers, those of many documents in one call of the tokeniser."""
    for start in range(0, len(documents), DOCUMENTS):
        sentences = [sentences_of(document) for document in documents[start : start + DOCUMENTS]]
        rows = iter(codec.encode_many(list(chain.from_iterable(sentences))))
        for document in sentences:
            yield list(islice(rows, len(document)))


def made_codec(vocab_size: int) -> TokenizerCodec:
    """A codec of made words, of exactly this size."""
    words = " ".join(f"word{i}" for i in range(vocab_size - len(BERT)))
    return train_codec([words], "word", vocab_size, BERT)

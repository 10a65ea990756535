"""Pairs of sentences, as for translation: two codecs, batches by length, and the raw strings of each pair."""

import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypedDict

import torch
from torch import Tensor

from ...errors import UserError
from ..base import DataModule
from ..loading import BucketOrder, Loader, Order
from ..reading import Given
from ..text.base import TEXT_FILES, lines_of
from ..text.ragged import Ragged
from ..text.same_tokens import require_tokens_of
from ..text.tokenizer import (
    KINDS,
    TRANSLATION,
    TokenizerCodec,
    TokenizerDescription,
    load_codec,
    tokenizer_of,
    train_codec,
)

log = logging.getLogger(__name__)
Pair = tuple[str, str]  # a source and its target
SIDES = ("source", "target")
BEGIN, END = 1, 2  # token numbers of <bos> and <eos>
MADE_LENGTH = 12  # tokens of the longest sources of made data


class Pairs:
    """Tokens of pairs of sentences.

    Args:
        sources, targets: token numbers of each sentence, without special tokens; a target gets <bos> and <eos> here.
    """

    def __init__(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> None:
        self.sources = Ragged(sources)
        self.targets = Ragged([(BEGIN, *target, END) for target in targets])

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def lengths(self) -> Tensor:
        """Of both sides as they are padded, int64 `n 2`."""
        return torch.stack([self.sources.lengths, self.targets.lengths], 1)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        _, indices = key
        return self.sources.padded(indices), self.sources.lengths[indices], self.targets.padded(indices), indices


def sentences_of(given: str, encoding: str | None = None) -> list[str]:
    """A user's sentences: the lines of a file, empty ones too, or what is given itself.

    Raises:
        UserError: there is none, or no such file.
    """
    if os.path.isfile(Path(given).expanduser()):  # unlike Path's, of any string
        return lines_of(given, encoding)
    if not given.strip():
        raise UserError('there is nothing to translate: give a sentence or a file, as in input="a sentence"')
    if given.endswith(TEXT_FILES) and not re.search(r"\s", given):
        raise UserError(f"there is no file {given}: name one, or give a sentence")
    return given.splitlines()


class TranslationDescription(TypedDict):
    """Pairs of sentences: the tokenisers of both sides, whether these are one, and whether they forget capitals."""

    kind: Literal["translation"]
    source: TokenizerDescription
    target: TokenizerDescription
    lowercase: bool
    shared: bool


class ParallelData(DataModule):
    """Pairs of sentences. A subclass implements `read_pairs`, and `prepare_data` where there is something to fetch.

    A batch has four tensors: source tokens `b s` without special tokens, their numbers in each row `b`, target tokens
    `b t+1` from <bos> to <eos>, and the indices of the pairs in their split `b`, int64 all. Padding is 0, behind. With
    the indices a task finds the strings that it has to be judged by: `raw(split)[index]`.

    Token numbers 0 to 3 are <pad>, <bos>, <eos> and <unk>. The vocabularies are made from the training split alone and
    travel in the checkpoint: a run that goes on, and `evaluate`, number the tokens as the training did. Pairs with a
    side that has no token are left out. Batches are of similar length, see `BucketOrder`, and what that saves is
    logged.

    Args:
        source_vocab_size, target_vocab_size: tokens of the two codecs with the special ones; declared for networks and
            checked.
        by: what a token is: "bpe" (on bytes), "wordpiece", "word" or "character".
        shared: one vocabulary for both sides, as tied embeddings need it; then the two sizes are one.
        lowercase: tokens are of the text in small letters; `raw` gives it as it was.
        max_length: training pairs with more tokens on a side are left out, and counted in the log; None: none.
            Evaluation keeps all pairs in full, since a figure of the short ones alone could not be compared.
        tokenizer: in place of training, what `load_codec` reads; it serves both sides.
        common: batch size, seed and so on, see `DataModule`. Made data (`fake`) are made-up words, whose translation is
            the same words in reverse order.

    Attributes:
        source_codec, target_codec: known after setup.
        long: the median number of tokens of the training sources; what is longer counts as a long input.

    Raises:
        UserError: a setting that cannot be, or vocabularies that have not the declared sizes.
    """

    tasks = ("seq2seq",)
    endings = TEXT_FILES
    targets = "step"
    network = "seq2seq"
    length_option: ClassVar[str | None] = "max_length"
    encoding: str | None = None  # of the files; None: UTF-8, and there is no option for it
    source_codec: TokenizerCodec
    target_codec: TokenizerCodec

    def __init__(
        self,
        *,
        source_vocab_size: int,
        target_vocab_size: int,
        by: str = "bpe",
        shared: bool = False,
        lowercase: bool = False,
        max_length: int | None = None,
        tokenizer: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        require_vocabularies(by, shared, tokenizer)
        for side, size in zip(SIDES, (source_vocab_size, target_vocab_size), strict=True):
            if size <= len(TRANSLATION):
                raise UserError(
                    f"data.{side}_vocab_size={size} must be more than the {len(TRANSLATION)} special tokens"
                )
        if shared and source_vocab_size != target_vocab_size:
            raise UserError(
                f"data.shared=true makes one vocabulary for both sides, and data.source_vocab_size={source_vocab_size} "
                f"is not data.target_vocab_size={target_vocab_size}: use data.target_vocab_size={source_vocab_size}"
            )
        if max_length is not None and max_length < 1:
            raise UserError(f"data.max_length={max_length} must be positive, or null for no limit")
        self.source_vocab_size, self.target_vocab_size = source_vocab_size, target_vocab_size
        self.by, self.shared, self.lowercase, self.tokenizer = by, shared, lowercase, tokenizer
        self.max_length = max_length
        self.long = self.made_length
        self.pairs: dict[str, list[Pair]] = {}
        self.codecs: tuple[TokenizerCodec, TokenizerCodec] | None = None

    @property
    def made_length(self) -> int:
        return MADE_LENGTH if self.max_length is None else min(MADE_LENGTH, self.max_length)

    def read_pairs(self) -> dict[str, list[Pair]]:
        """Sources and targets of each split."""
        raise NotImplementedError

    def make_codecs(self, pairs: list[Pair]) -> tuple[TokenizerCodec, TokenizerCodec]:
        """The codecs of both sides, from the training pairs."""
        return train_codecs(
            *zip(*pairs, strict=True),
            by=self.by,
            sizes=(self.source_vocab_size, self.target_vocab_size),
            shared=self.shared,
            lowercase=self.lowercase,
            tokenizer=self.tokenizer,
        )

    def made_codecs(self) -> tuple[TokenizerCodec, TokenizerCodec]:
        """Codecs of the declared sizes for made data."""
        sizes = (self.source_vocab_size, self.target_vocab_size)
        texts = [[f"word{i}" for i in range(size - len(TRANSLATION))] for size in sizes]
        return train_codecs(*texts, by="word", sizes=sizes, shared=self.shared)

    def made_pairs(self) -> dict[str, list[Pair]]:
        """The target has the words of the source in reverse order. A quarter of the sources are shorter."""
        b = self.batch_size
        words = min(self.source_vocab_size, self.target_vocab_size, 36) - len(TRANSLATION)
        random = torch.Generator().manual_seed(0)

        def pair(index: int) -> Pair:
            length = self.made_length if index % 4 else max(1, self.made_length // 2)
            chosen = [f"word{i}" for i in torch.randint(words, (length,), generator=random).tolist()]
            return " ".join(chosen), " ".join(reversed(chosen))

        return {split: [pair(i) for i in range(n * b)] for split, n in (("train", 2), ("val", 1), ("test", 1))}

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        pairs = self.made_pairs() if self.fake else self.read_pairs()
        for split, part in pairs.items():
            if not part:
                raise UserError(f"the {split} split has no pair: give more pairs")
        if self.codecs is None:
            self.codecs = self.made_codecs() if self.fake else self.make_codecs(pairs["train"])
        self.source_codec, self.target_codec = self.codecs
        for side, codec in zip(SIDES, self.codecs, strict=True):
            if codec.vocab_size != (declared := getattr(self, f"{side}_vocab_size")):
                right = " ".join(f"data.{s}_vocab_size={codec.vocab_size}" for s in (SIDES if self.shared else (side,)))
                raise UserError(
                    f"data.{side}_vocab_size={declared} is not the {codec.vocab_size} of these data: use {right}"
                )
        self.splits = {split: self.encode_pairs(split, part) for split, part in pairs.items()}
        train = self.splits["train"]
        assert isinstance(train, Pairs)
        self.long = int(train.sources.lengths.median())
        with_buckets, without = (
            BucketOrder(
                train.lengths, min(self.batch_size, len(train)), shuffle=True, seed=self.seed, pool=pool
            ).waste()
            for pool in (100, 1)
        )
        self.say(
            f"batches of similar length: {with_buckets:.1%} of their tokens are padding, without them {without:.1%}"
        )

    def encode_pairs(self, split: str, pairs: list[Pair]) -> Pairs:
        """The tokens of a split; its pairs that remain become `self.pairs[split]`."""
        sources = self.source_codec.encode_many([source for source, _ in pairs])
        targets = self.target_codec.encode_many([target for _, target in pairs])
        longest = self.max_length if split == "train" and self.max_length is not None else float("inf")
        sizes = [(len(source), len(target)) for source, target in zip(sources, targets, strict=True)]
        kept = [i for i, size in enumerate(sizes) if min(size) > 0 and max(size) <= longest]
        empty = sum(min(size) == 0 for size in sizes)
        if empty:
            self.say(f"{empty} of {len(sizes)} {split} pairs are left out, since a side of them has no token")
        if long := len(sizes) - len(kept) - empty:
            self.say(
                f"{long} of {len(sizes)} training pairs are left out, since a side of them has more than "
                f"data.max_length={self.max_length} tokens"
            )
        if not kept:
            raise UserError(
                f"no {split} pair has 1 to data.max_length={self.max_length} tokens on both sides: use a larger "
                "data.max_length"
                if long
                else f"no {split} pair has tokens on both sides"
            )
        self.pairs[split] = [pairs[i] for i in kept]
        return Pairs([sources[i] for i in kept], [targets[i] for i in kept])

    def say(self, message: str) -> None:
        if self.trainer is None or self.trainer.is_global_zero:
            log.info(message)

    def raw(self, split: str) -> list[Pair]:
        """The strings of a split, source and target, at the indices that batches carry."""
        return self.pairs[split]

    def require_weights(self, weights: str) -> None:
        require_tokens_of(weights, self)

    def loader(self, split: str, *, shuffle: bool = False) -> Loader:
        """Batches of a split for this process; see `BucketOrder`."""
        pairs = self.splits[split]
        assert isinstance(pairs, Pairs)
        share: dict[str, Any] = {
            "shuffle": shuffle,
            "seed": self.seed,
            "rank": self.trainer.global_rank if self.trainer else 0,
            "world": self.trainer.world_size if self.trainer else 1,
        }
        natural = self.same_batch and split == "train"
        order = (
            Order(len(pairs), self.batch_size, **share)
            if natural
            else BucketOrder(pairs.lengths, self.batch_size, **share)
        )
        return Loader(pairs, order, self.num_workers or 0)

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """Source `b s`, lengths `b`, target `b t+1` and indices `b`, as they are."""
        return batch

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        length, first = self.made_length, len(TRANSLATION)
        source = torch.randint(first, self.source_vocab_size, (batch, length))
        words = torch.randint(first, self.target_vocab_size, (batch, length))
        target = torch.cat([torch.full((batch, 1), BEGIN), words, torch.full((batch, 1), END)], 1)
        return source, torch.full((batch,), length), target, torch.arange(batch)

    def given_sentences(self, given: str) -> list[str]:
        """A user's sentences, see `sentences_of`."""
        return sentences_of(given, self.encoding)

    def read(self, given: str) -> Given[Pairs]:
        """See `DataModule.read`: a file with a sentence on each line, or a sentence; targets are empty."""
        sentences = self.given_sentences(given)
        sources = [self.source_codec.encode(sentence).tolist() for sentence in sentences]
        return Given([{"text": sentence} for sentence in sentences], Pairs(sources, [()] * len(sources)))

    def describe(self) -> TranslationDescription:
        return {
            "kind": "translation",
            "source": self.source_codec.describe(),
            "target": self.target_codec.describe(),
            "lowercase": self.lowercase,
            "shared": self.shared,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The numbers of the tokens are those of the checkpoint, even where the texts have changed since."""
        self.source_codec, self.target_codec = (tokenizer_of(state_dict[side]) for side in SIDES)
        self.codecs = self.source_codec, self.target_codec


def require_vocabularies(by: str, shared: bool, tokenizer: str | None) -> None:
    """Refuse what no vocabularies can be made of.

    Raises:
        UserError: it names the setting.
    """
    if by not in KINDS:
        raise UserError(f"data.by={by} must be {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    if tokenizer is not None and not shared:
        raise UserError("data.tokenizer is one vocabulary for both sides: add data.shared=true")


def train_codecs(
    sources: Iterable[str],
    targets: Iterable[str],
    *,
    by: str,
    sizes: tuple[int, int],
    shared: bool = False,
    lowercase: bool = False,
    tokenizer: str | None = None,
    settings: Sequence[str] = ("data.source_vocab_size", "data.target_vocab_size"),
) -> tuple[TokenizerCodec, TokenizerCodec]:
    """The codecs of sources and targets.

    Args:
        sources, targets: texts of the training split.
        by, shared, lowercase, tokenizer: see `ParallelData`.
        sizes: the largest vocabularies, with special tokens.
        settings: how a user says the sizes.

    Raises:
        UserError: a size without room for what has to be in a vocabulary; a foreign tokeniser has other special tokens.
    """
    if tokenizer is not None:
        codec = load_codec(tokenizer)
        for number, name in enumerate(TRANSLATION):
            if codec.tokenizer.token_to_id(name) != number:
                raise UserError(
                    f"data.tokenizer={tokenizer} does not number its special tokens {', '.join(TRANSLATION)} from 0 "
                    "on: take one that was trained for translation, or leave it out"
                )
        return codec, codec
    parts = [[*sources, *targets]] if shared else [sources, targets]
    found = []
    for texts, size, setting in zip(parts, sizes, settings, strict=False):
        try:
            found.append(train_codec(texts, by, size, TRANSLATION, lowercase=lowercase))
        except UserError as error:
            raise UserError(str(error).replace("data.vocab_size", setting)) from error
    return found[0], found[-1]

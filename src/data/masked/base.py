"""Text for masked language models: pairs of pieces, some of whose tokens are hidden."""

import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, ClassVar, Literal, TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...counter import uniform
from ...errors import UserError
from ..base import SPLIT_SEED, DataModule
from ..loading import BucketOrder, Loader, Order
from ..text.base import codec_of
from ..text.tokenizer import BERT, INSIDE, TokenizerCodec, TokenizerDescription, load_codec, train_codec

log = logging.getLogger(__name__)
END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")  # of a sentence
SELECTED = 0.15  # of the tokens; this and the next four: Devlin et al. 2018, section 3.1 and appendix A.1
HIDDEN, REPLACED = 0.8, 0.1  # of the selected ones, by [MASK] or by a random token
FOREIGN = 0.5  # of the samples, whose second piece is of another document
SHORT = 0.1  # of the samples, which are shorter than what a network sees at once
AROUND = 3  # [CLS] A [SEP] B [SEP]
PAIR_DRAWS, TOKEN_DRAWS = 6, 3  # random numbers for a pair, and for each of its tokens
IGNORED = -100  # of the labels: as in torch's cross-entropy
DOCUMENTS = 512  # that are cut into tokens in one call


def sentences_of(document: str) -> list[str]:
    r"""Sentences of a text: what full stops, exclamation and question marks end, or an empty line.

    >>> sentences_of("The cat sat.  It\nslept!\n\nHeading\n\nThe end")
    ['The cat sat.', 'It\nslept!', 'Heading', 'The end']
    """
    return [sentence for part in END.split(document) if (sentence := part.strip())]


def seed_in(epoch: int, seed: int) -> int:
    """In evaluation, epoch -1, pairs and masks are the same whatever the run's seed is."""
    return SPLIT_SEED if epoch < 0 else seed


class SentencePairs:
    """[CLS] A [SEP] B [SEP], where B is what comes after A, or is of another document.

    Each document is cut into stretches of whole sentences, as many as it takes to fill `context`; the last stretch of a
    document may be shorter. A sample is a stretch, cut in two behind one of its sentences: A and B. For half of the
    samples B is replaced by as many tokens from a sentence on that is drawn from another document (fewer where that
    document has fewer). Of what is too long the longer piece loses tokens first, A its first ones and B its last ones,
    so that a true B always begins where A ends. A tenth of the samples is cut to a random length.

    All this is drawn anew in each epoch, as a function of (seed, epoch, index); which stretches there are is fixed.

    Args:
        documents: of each its sentences, of each the token numbers.
        context: tokens that a network sees at once.
        seed: see above.
        first, separator: the numbers of [CLS] and [SEP].
        buckets: pad a batch to its longest sample, and not to `context`.

    Attributes:
        tokens: all documents in a row.
        lengths: of each sample that is not cut to a random length.

    Raises:
        UserError: fewer than two documents have two tokens.
    """

    def __init__(
        self,
        documents: Iterable[Iterable[Sequence[int]]],
        context: int,
        seed: int,
        *,
        first: int,
        separator: int,
        buckets: bool = False,
    ) -> None:
        self.context, self.seed, self.buckets = context, seed, buckets
        self.first, self.separator = first, separator
        room = context - AROUND
        values: list[np.ndarray[Any, np.dtype[np.int32]]] = []
        sizes: list[int] = []  # of sentences
        borders = [0]  # of documents, in sentences
        stretches: list[tuple[int, int, int]] = []  # the first sentence, the one after the last, and the document
        for document in documents:
            pieces = list(_pieces(document, room // 2))
            if len(pieces) < 2:
                continue
            values.append(np.fromiter(chain.from_iterable(pieces), np.int32))
            counts = [len(piece) for piece in pieces]
            stretches += [(borders[-1] + a, borders[-1] + b, len(borders) - 1) for a, b in _stretches(counts, room)]
            sizes += counts
            borders.append(len(sizes))
        if len(borders) < 3:
            raise UserError(
                f"{len(borders) - 1} documents have two tokens or more, and a sentence from another document needs at "
                "least two"
            )
        self.tokens = torch.from_numpy(np.concatenate(values))
        self.sentences = torch.tensor([0, *sizes]).cumsum(0)  # where each begins, and the end of the last
        self.documents, self.stretches = torch.tensor(borders), torch.tensor(stretches)
        begin, end = self.sentences[self.stretches[:, 0]], self.sentences[self.stretches[:, 1]]
        self.lengths = (end - begin).clamp(max=room) + AROUND

    def __len__(self) -> int:
        return len(self.stretches)

    def cut(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Where the pieces of a batch are: first token of A and its length, the same of B, and whether B is foreign."""
        epoch, indices = key
        room = self.context - AROUND
        random = uniform(seed_in(epoch, self.seed), epoch, indices, PAIR_DRAWS).double().unbind(1)

        def draw(number: int, below: Tensor | int) -> Tensor:
            return (random[number] * below).long()  # 24 bits in double precision: never `below` itself

        begin, end, document = self.stretches[indices].unbind(1)
        middle = self.sentences[begin + 1 + draw(0, end - begin - 1)]
        a, b = middle - self.sentences[begin], self.sentences[end] - middle
        most = torch.where(random[1] < SHORT, 2 + draw(2, room - 1), room)
        a = torch.minimum(a, torch.maximum(most - b, (most + 1) // 2))
        b = torch.minimum(b, most - a)
        foreign = random[3] < FOREIGN
        other = draw(4, len(self.documents) - 2)
        other = other + (other >= document)
        earliest, last = self.documents[other], self.sentences[self.documents[other + 1]]
        latest = torch.searchsorted(self.sentences, last - b, right=True) - 1  # from which b tokens are left
        begin = self.sentences[earliest + draw(5, (latest - earliest).clamp(min=0) + 1)]
        b = torch.where(foreign, torch.minimum(b, last - begin), b)
        return middle - a, a, torch.where(foreign, begin, middle), b, foreign

    def waste(self, order: Iterable[tuple[int, Tensor]], *, longest: bool) -> float:
        """The share of padding in the batches of an order, padded to the longest sample, or to `context`."""
        filled = padded = 0
        for epoch, indices in order:
            _, a, _, b, _ = self.cut((epoch, indices))
            lengths = a + b + AROUND
            filled += int(lengths.sum())
            padded += len(lengths) * (int(lengths.max()) if longest else self.context)
        return 1 - filled / max(1, padded)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Any, ...]:
        """Tokens `b t`, lengths `b`, segments `b t`, whether B is foreign, int64 `b`, indices `b` and the epoch."""
        a_first, a, b_first, b, foreign = self.cut(key)
        lengths = a + b + AROUND
        place = torch.arange(int(lengths.max()) if self.buckets else self.context)
        a, b = a[:, None], b[:, None]
        in_a, in_b = (place > 0) & (place <= a), (place > a + 1) & (place <= a + b + 1)
        source = torch.where(in_a, a_first[:, None] + place - 1, b_first[:, None] + place - a - 2)
        tokens = self.tokens[source.clamp(0, len(self.tokens) - 1)].long().where(in_a | in_b, 0)
        tokens[:, 0] = self.first
        tokens = torch.where((place == a + 1) | (place == a + b + 2), self.separator, tokens)
        segments = ((place > a + 1) & (place <= a + b + 2)).long()
        epoch, indices = key
        return tokens, lengths, segments, foreign.long(), indices, epoch


def _pieces(document: Iterable[Sequence[int]], longest: int) -> Iterator[Sequence[int]]:
    """The sentences of a document, long ones in pieces; a document of one sentence in two halves."""
    pieces = [s[i : i + longest] for s in document for i in range(0, len(s), longest)]
    if len(pieces) == 1 and len(pieces[0]) > 1:
        half = len(pieces[0]) // 2
        pieces = [pieces[0][:half], pieces[0][half:]]
    return iter(pieces)


def _stretches(counts: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Sentences in a row that together fill the room; one that would be left alone goes with those before it."""
    found, begin, filled = [], 0, 0
    for i, count in enumerate(counts):
        filled += count
        if filled >= room:
            found.append((begin, i + 1))
            begin, filled = i + 1, 0
    if begin == len(counts) - 1 and found:
        found[-1] = (found[-1][0], len(counts))
    elif begin < len(counts):
        found.append((begin, len(counts)))
    return found


class Masks:
    """Which tokens a network has to guess, and what it sees in their place.

    Devlin et al. 2018 (arXiv:1810.04805, section 3.1): 15 % of a sample's tokens, rounded, at least one and never a
    special one, are selected; of these 80 % are replaced by [MASK], 10 % by a random token, and 10 % stay. They are
    drawn anew in each epoch (Liu et al. 2019, arXiv:1907.11692, section 4.1), as a function of (seed, epoch, index).

    Args:
        codec: tells the special tokens, and which tokens go on with a word.
        context: tokens that a network sees at once.
        whole_words: of a word all tokens are selected, or none, as long as they fit into the 15 %; at least one word is
            selected (github.com/google-research/bert, "Whole Word Masking models").

    Raises:
        UserError: the codec has no [MASK], or whole words are asked for and it does not tell where they begin.
    """

    def __init__(self, codec: TokenizerCodec, context: int, *, whole_words: bool = False) -> None:
        self.context, self.most, self.whole_words = context, most_masks(context), whole_words
        self.hidden = codec.number("[MASK]", "<mask>")
        names = codec.tokenizer.get_vocab(with_added_tokens=True)
        special = torch.ones(codec.vocab_size, dtype=torch.bool)  # and numbers that stand for no token
        special[list(names.values())] = False
        special[[i for i, token in codec.tokenizer.get_added_tokens_decoder().items() if token.special]] = True
        inside = torch.zeros_like(special)
        inside[[i for name, i in names.items() if name.startswith(INSIDE)]] = True
        if whole_words and not inside.any():
            raise UserError(f"data.whole_words=true needs a tokeniser whose words go on with {INSIDE}: leave it out")
        self.special, self.inside, self.ordinary = special, inside, (~special).nonzero().flatten()

    def to(self, device: torch.device) -> "Masks":
        """The tables on a device, to which they are copied once."""
        if self.special.device != device:
            self.special, self.inside, self.ordinary = (
                table.to(device) for table in (self.special, self.inside, self.ordinary)
            )
        return self

    def __call__(
        self, tokens: Tensor, lengths: Tensor, seed: int, epoch: int, indices: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Hide tokens of a batch.

        Args:
            tokens: int64 `b t`, padded behind.
            lengths, indices: int64 `b`.
            seed, epoch: see above.

        Returns:
            What the network sees, `b t`; the places of the selected tokens in their order, `b m`, and then 0; the
            selected tokens, `b m`, and then -100.
        """
        t = tokens.shape[1]
        place = torch.arange(t, device=tokens.device)
        random = uniform(seed, epoch, indices, PAIR_DRAWS + self.context * TOKEN_DRAWS)[:, PAIR_DRAWS:]
        chance, action, other = random.view(len(tokens), self.context, TOKEN_DRAWS)[:, :t].unbind(2)
        eligible = ~self.special[tokens] & (place < lengths[:, None])
        number = eligible.sum(1, keepdim=True)
        wanted = (SELECTED * number).round().clamp(1, self.most).minimum(number)
        rank = torch.arange(t, device=tokens.device)
        if not self.whole_words:
            order = chance.where(eligible, 2.0).argsort(dim=1, stable=True)
            chosen = rank < wanted
        else:
            begins = ~self.inside[tokens] | ~eligible.roll(1, 1)
            word = place.where(begins, 0).cummax(1).values  # the place of its first token
            order = chance.where(eligible, 2.0).gather(1, word).argsort(dim=1, stable=True)
            size = torch.zeros_like(tokens).scatter_add(1, word, torch.ones_like(tokens)).gather(1, word)
            start = rank - (place - word).gather(1, order)  # the rank of the word's first token
            fits = (start + size.gather(1, order) <= wanted) | (start == 0)
            chosen = fits & (rank < number.clamp(max=self.most))
        order = order.where(chosen, t).sort(1).values[:, : self.most]
        chosen = order < t
        positions = order.where(chosen, 0)
        labels = tokens.gather(1, positions)
        action, other = action.gather(1, positions), other.gather(1, positions)
        replaced = self.ordinary[(other * len(self.ordinary)).long().clamp(max=len(self.ordinary) - 1)]
        seen = torch.where(action < HIDDEN, self.hidden, replaced.where(action < HIDDEN + REPLACED, labels))
        shown = tokens.scatter(1, positions, seen.where(chosen, tokens[:, :1]))  # nothing is selected at place 0
        missing = (0, self.most - positions.shape[1])
        return shown, F.pad(positions, missing), F.pad(labels.where(chosen, IGNORED), missing, value=IGNORED)


def most_masks(context: int) -> int:
    """m: room for the selected tokens of a sample."""
    return math.ceil(SELECTED * context)


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
    targets = "masked"
    advice: ClassVar[str] = "give a longer text"  # where there are too few documents

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

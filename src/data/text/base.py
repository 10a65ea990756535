"""Text by character, word or subword token: what language-model data modules share."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypedDict, cast

import torch
from torch import Tensor

from ...counter import uniform
from ...errors import UserError
from ..base import DataModule
from ..decoding import read_text
from ..loading import Loader, StreamOrder
from ..reading import Given, find_files, read_each
from .same_tokens import require_same, require_tokens_of
from .tokenizer import (
    BERT,
    GPT,
    TokenizerDescription,
    codec_of_text,
    load_codec,
    made_codec,
    tokenizer_of,
)
from .words import UNKNOWN_WORD, WordCodec, WordDescription, most_frequent, split_words

log = logging.getLogger(__name__)
# Printable ASCII, the line break and the commonest typographic signs. The last place is for all else.
ALPHABET = "\n" + "".join(map(chr, range(32, 127))) + "“”‘’–—…"
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
TEXT_FILES = (".txt", ".md", ".rst")
PIECE = 2**16  # tokens of a stream that the baseline looks at together


class CharacterDescription(TypedDict):
    """Text by character; the alphabet is in the order of the numbers, and what it lacks has the next one."""

    kind: Literal["characters"]
    alphabet: list[str]


CodecDescription = CharacterDescription | WordDescription | TokenizerDescription


class TextDescription(TypedDict):
    """Text for language models: the description of its codec, and `context`, the tokens that a network sees at once."""

    kind: Literal["characters", "words", "tokenizer"]
    context: int


class Tokens(Protocol):
    """The tokens of a text: an int64 tensor `t`, or a file that gives int64 tensors of the places it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: Any) -> Tensor: ...


class Codec(Protocol):
    """Text to token numbers and back.

    Attributes:
        unit: what a token is: "character", "word" or "token".
        joint: what stands between two decoded pieces of text.
    """

    unit: str
    joint: str

    @property
    def vocab_size(self) -> int: ...

    def encode(self, text: str) -> Tensor: ...

    def decode(self, tokens: Tensor) -> str: ...

    def unknown(self, text: str) -> Counter[str]: ...

    def describe(self) -> CodecDescription: ...


class CharacterCodec:
    """Characters to token numbers and back; what the alphabet lacks becomes the last token."""

    unit = "character"
    joint = ""

    def __init__(self, alphabet: str = ALPHABET) -> None:
        self.alphabet = alphabet
        self.number = {character: i for i, character in enumerate(alphabet)}

    @property
    def vocab_size(self) -> int:
        return len(self.alphabet) + 1

    def encode(self, text: str) -> Tensor:
        """int64 tokens of shape `t`."""
        return torch.tensor([self.number.get(c, len(self.alphabet)) for c in text], dtype=torch.int64)

    def decode(self, tokens: Tensor) -> str:
        return "".join((self.alphabet + UNKNOWN)[i] for i in tokens.tolist())

    def unknown(self, text: str) -> Counter[str]:
        """How often each character comes that the alphabet lacks."""
        return Counter(c for c in text if c not in self.number)

    def describe(self) -> CharacterDescription:
        """Plain values for `codec_of`; a list, since a text of `$` and `{` would look like an interpolation."""
        return {"kind": "characters", "alphabet": list(self.alphabet)}


def codec_of(about: Mapping[str, Any]) -> Codec:
    """The codec that text data have described.

    Raises:
        UserError: the data were no text, or their tokeniser is damaged.
    """
    if about["kind"] == "characters":
        return CharacterCodec("".join(about["alphabet"]))
    if about["kind"] == "words":
        return WordCodec(about["words"], about["rule"])
    if about["kind"] == "tokenizer":
        return tokenizer_of(about)
    raise UserError(f"data of kind {about['kind']} are no text: give a checkpoint of a language model")


def lines_of(given: str, encoding: str | None = None) -> list[str]:
    """The lines of a file.

    Raises:
        UserError: there is none, or it is empty or no UTF-8.
    """
    path = Path(given).expanduser()
    if not path.is_file():
        raise UserError(f"there is no file {path}: name one with input=PATH")
    lines = read_text(path, encoding).removesuffix("\n").split("\n")
    if not any(line.strip() for line in lines):
        raise UserError(f"{path} is empty: give a text")
    return lines


class Windows:
    """Windows of `context + 1` tokens; neighbours share one token, so each is predicted once (but a rest at the end).

    In training (epoch >= 0) all windows of an epoch are moved by one common number of tokens, which depends
    on (seed, epoch), so that the network does not always see the same cuts.
    """

    def __init__(self, tokens: Tokens, context: int, seed: int, *, shift: bool) -> None:
        self.tokens, self.context, self.seed = tokens, context, seed
        self.shift = context if shift else 1
        self.size = (len(tokens) - self.shift) // context

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor]:
        epoch, indices = key
        start = indices * self.context
        if epoch >= 0:
            start = start + int(uniform(self.seed, epoch, torch.tensor([-1]), 1) * self.shift)
        return (self.tokens[start[:, None] + torch.arange(self.context + 1)],)

    def windows(self) -> Iterator[Tensor]:
        """All windows as in evaluation, `n t+1` at a time: what a baseline counts and is judged on."""
        for indices in torch.arange(self.size).split(1024):
            yield self[-1, indices][0]


class Streams:
    """One text, read by the positions that a `StreamOrder` gives."""

    def __init__(self, tokens: Tokens, context: int) -> None:
        self.tokens, self.context = tokens, context

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.context

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor]:
        return (self.tokens[key[1]],)

    def windows(self) -> Iterator[Tensor]:
        """The text in long pieces, `1 t+1`: a baseline has no less history than a network that carries its state."""
        for start in range(0, len(self.tokens) - 1, PIECE):
            yield self.tokens[start : start + PIECE + 1][None]


class WholeTexts:
    """A user's texts, each as long as it is: a batch is one text.

    Args:
        texts: what the files hold.
        codec: cuts them into tokens.
    """

    def __init__(self, texts: Sequence[str], codec: Codec) -> None:
        self.texts, self.codec = texts, codec

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor]:
        (index,) = key[1].tolist()
        return (self.codec.encode(self.texts[index])[None],)


class TextData(DataModule):
    """Text for language models. A subclass implements `read_texts`, and makes or knows the codec.

    Args:
        vocab_size: tokens of the codec; declared for the network and checked against the codec.
        context: tokens that the network sees at once.
        streams: the rows of a batch are contiguous streams of text, and the next batch goes on where this one ends, so
            that a network can carry its state (see `StreamOrder`); else windows in random order.
        common: batch size, workers, seed and so on, see `DataModule`.

    Attributes:
        unit: what a token is: "character", "word" or "token".
        bytes_per_token: of each split, the bytes of its text in UTF-8 divided by its tokens.
    """

    tasks = ("language_modeling",)
    indivisible = "a text goes on from one part to the next"
    endings = TEXT_FILES
    targets = "step"
    network = "lstm_lm"
    length_option: ClassVar[str | None] = "context"
    of_texts = True
    encoding: str | None = None  # of the files; None: UTF-8, and there is no option for it
    unit: str

    def __init__(self, *, vocab_size: int, context: int = 128, streams: bool = False, **common: Any) -> None:
        super().__init__(**common)
        if context < 1:
            raise UserError(f"data.context={context} must be positive")
        if vocab_size < 2:
            raise UserError(f"data.vocab_size={vocab_size} must be at least 2")
        self.vocab_size, self.context, self.streams = vocab_size, context, streams
        self.known_codec: Codec | None = None
        self.bytes_per_token: dict[str, float] = {}

    @property
    def codec(self) -> Codec:
        assert self.known_codec is not None, "the codec is known after setup"
        return self.known_codec

    @property
    def speaks(self) -> bool:
        """Whether this process is the one that writes to the log."""
        return self.trainer is None or self.trainer.is_global_zero

    def read_texts(self) -> dict[str, str]:
        """The text of each split."""
        raise NotImplementedError

    def make_codec(self, train: str) -> Codec:
        """The codec, from the training text where the data set does not fix it."""
        raise NotImplementedError

    def fake_codec(self) -> Codec:
        """A codec of the declared size for made data."""
        raise NotImplementedError

    def fake_tokens(self) -> Mapping[str, Tensor]:
        """A counting text: the next token follows from the last one."""
        length = (2 * self.batch_size + 2) * self.context
        tokens = 1 + (7 * torch.arange(length)) % max(1, min(90, self.vocab_size - 2))
        return {"train": tokens, "val": tokens[: length // 2], "test": tokens[length // 2 :]}

    def read_tokens(self) -> Mapping[str, Tokens]:
        """The tokens of each split; the codec and `bytes_per_token` are known then."""
        if self.fake:
            self.known_codec = self.known_codec or self.fake_codec()
            made = self.fake_tokens()
            self.bytes_per_token = {k: len(self.codec.decode(v).encode()) / len(v) for k, v in made.items()}
            return made
        texts = self.read_texts()
        for name, text in texts.items():
            if not text.strip():
                raise UserError(f"the {name} text is empty: give a longer text")
        self.known_codec = self.known_codec or self.make_codec(texts["train"])
        splits = {name: self.codec.encode(text) for name, text in texts.items()}
        self.bytes_per_token = {k: len(text.encode()) / max(1, len(splits[k])) for k, text in texts.items()}
        return splits

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        splits = self.read_tokens()
        self.unit = self.codec.unit
        if self.codec.vocab_size != self.vocab_size:
            raise UserError(
                f"data.vocab_size={self.vocab_size} is not the {self.codec.vocab_size} of this text: use "
                f"data.vocab_size={self.codec.vocab_size}"
            )
        for name, tokens in splits.items():
            if len(tokens) <= 2 * self.context:
                raise UserError(
                    f"the {name} text has {len(tokens)} {self.unit}s, too few for data.context={self.context}: "
                    f"use data.context={max(1, len(tokens) // 8)}"
                )
        if self.speaks and not self.fake and stage != "test":
            counts = " + ".join(f"{len(splits[name]):,}" for name in ("train", "val", "test"))
            log.info("%s %ss for training, validation and test, of %s kinds", counts, self.unit, f"{self.vocab_size:,}")
        self.splits = {
            name: Streams(tokens, self.context)
            if self.streams
            else Windows(tokens, self.context, self.seed, shift=name == "train")
            for name, tokens in splits.items()
        }

    def require_weights(self, weights: str) -> None:
        require_tokens_of(weights, self)

    def loader(self, split: str, *, shuffle: bool = False) -> Loader:
        """Batches of a split for this process; see `Order` and `StreamOrder`."""
        if not self.streams:
            return super().loader(split, shuffle=shuffle)
        text = self.splits[split]
        assert isinstance(text, Streams)
        order = StreamOrder(
            len(text.tokens),
            self.batch_size,
            self.context,
            shuffle=shuffle,
            seed=self.seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world=self.trainer.world_size if self.trainer else 1,
        )
        return Loader(text, order, self.num_workers or 0)

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        return batch

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        return (torch.randint(self.vocab_size, (batch, self.context + 1)),)

    def read(self, given: str) -> Given[WholeTexts]:
        """See `DataModule.read`; a sample is a whole text, int64 `1 t`."""
        texts, unread = read_each(find_files(given, self.endings), lambda path: read_text(path, self.encoding))
        about = [{"file": str(path)} for path, _ in texts]
        return Given(about, WholeTexts([text for _, text in texts], self.codec), size=1, unread=unread)

    def as_given(self, values: Sequence[Any], folder: Path) -> tuple[DataModule, Any]:
        """See `DataModule.as_given`: texts."""
        for i, value in enumerate(values):
            if not isinstance(value, str):
                raise UserError(f"input {i} is a {type(value).__name__} and no text: give texts, or a file's Path")
            (folder / f"{i:08d}.txt").write_text(value, self.encoding or "utf-8", newline="")
        return self, str(folder)

    def describe(self) -> TextDescription:
        return cast(TextDescription, {**self.codec.describe(), "context": self.context})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The numbers of the tokens are those of the checkpoint, even where the text has changed since."""
        self.known_codec = codec_of(state_dict)


class CharacterData(TextData):
    """Text by character, with an alphabet that the class fixes. A subclass implements `read_texts`.

    Args:
        arguments: see `TextData`.
    """

    alphabet: ClassVar[str] = ALPHABET
    unit = "character"

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.known_codec = CharacterCodec(self.alphabet)
        if self.vocab_size != self.codec.vocab_size:
            raise UserError(
                f"data.vocab_size={self.vocab_size} is not the {self.codec.vocab_size} of the character codec: leave "
                "it out"
            )

    def make_codec(self, train: str) -> Codec:
        return CharacterCodec(self.alphabet)

    def fake_codec(self) -> Codec:
        return CharacterCodec(self.alphabet)


class WordData(TextData):
    """Text by word. A subclass implements `read_texts`.

    The vocabulary are the `vocab_size - 1` most frequent words of the training text and <unk>, the most frequent first,
    ties in alphabetical order; <unk> is the last. A perplexity can be compared only with one on the same vocabulary.

    Args:
        arguments: see `TextData`.
    """

    rule: ClassVar[str] = "punctuation"  # see `split_words`
    unit = "word"

    def make_codec(self, train: str) -> Codec:
        found = most_frequent(split_words(train, self.rule), self.vocab_size - 1, unknown=[UNKNOWN_WORD])
        return WordCodec(found, self.rule)

    def fake_codec(self) -> Codec:
        return WordCodec([f"word{i}" for i in range(self.vocab_size - 1)], self.rule)


class TokenData(TextData):
    """Text by subword tokens. A subclass implements `read_texts`.

    A tokeniser that is trained here has `vocab_size` tokens of the training text, see `tokenizer.train_codec`.

    Args:
        tokenizer: see `tokenizer.load_codec`; null: it is trained.
        arguments: see `TextData`.
    """

    by: str = "bpe"
    unit = "token"

    def __init__(self, *, tokenizer: str | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.tokenizer = tokenizer

    def make_codec(self, train: str) -> Codec:
        if self.tokenizer is not None:
            return load_codec(self.tokenizer)
        return codec_of_text(train, self.by, self.vocab_size, GPT if self.by == "bpe" else BERT)

    def fake_codec(self) -> Codec:
        return made_codec(self.vocab_size)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        require_same(self.known_codec, self.tokenizer)

"""Text by character: what language-model data modules share."""

from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from .base import DataModule
from .counter import uniform

# Printable ASCII, the line break and the commonest typographic signs. The last place is for all else.
ALPHABET = "\n" + "".join(map(chr, range(32, 127))) + "“”‘’–—…"
UNKNOWN = "\N{REPLACEMENT CHARACTER}"


class CharacterCodec:
    """Characters to token numbers and back; what the alphabet lacks becomes the last token."""

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


class Windows:
    """Windows of `context + 1` tokens; neighbours share one token, so each token is predicted once.

    In training (epoch >= 0) all windows of an epoch are moved by one common number of tokens, which depends
    on (seed, epoch), so that the network does not always see the same cuts.
    """

    def __init__(self, tokens: Tensor, context: int, seed: int, *, shift: bool) -> None:
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


class CharacterData(DataModule):
    """Text for language models by character. A subclass implements `read_texts`.

    Args:
        vocab_size: tokens of the codec; declared for the network and checked against the codec.
        context: tokens that the network sees at once.
        common: batch size, workers, seed and so on, see `DataModule`.
    """

    tasks = ("language_modeling",)

    def __init__(self, *, vocab_size: int, context: int = 128, **common: Any) -> None:
        super().__init__(**common)
        self.codec = CharacterCodec()
        if vocab_size != self.codec.vocab_size:
            raise UserError(f"data.vocab_size={vocab_size} is not the {self.codec.vocab_size} of the character codec")
        if context < 1:
            raise UserError(f"data.context={context} must be positive")
        self.vocab_size, self.context = vocab_size, context

    def read_texts(self) -> dict[str, str]:
        """The text of each split."""
        raise NotImplementedError

    def fake_texts(self) -> dict[str, str]:
        """A counting text: the next character follows from the last one."""
        length = (2 * self.batch_size + 2) * self.context
        text = "".join(ALPHABET[1 + (7 * i) % 90] for i in range(length))
        return {"train": text, "val": text[: length // 2], "test": text[length // 2 :]}

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        texts = self.fake_texts() if self.fake else self.read_texts()
        for name, text in texts.items():
            if len(text) <= 2 * self.context:
                raise UserError(
                    f"the {name} text has {len(text)} characters, too few for data.context={self.context}: "
                    f"use data.context={max(1, len(text) // 8)}"
                )
        self.splits = {
            name: Windows(self.codec.encode(text), self.context, self.seed, shift=name == "train")
            for name, text in texts.items()
        }

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        return batch

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        return (torch.randint(self.vocab_size, (batch, self.context + 1)),)

    def describe(self) -> dict[str, Any]:
        return {"kind": "characters", "alphabet": self.codec.alphabet, "context": self.context}

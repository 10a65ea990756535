"""Tiny Shakespeare."""

import string
from pathlib import Path
from typing import Any, ClassVar

from ..decoding import read_text
from ..download import fetch
from .base import CharacterData

MD5 = "6fb458f1232090904fb40fe944165e91"  # of the file at the official address; no author publishes one
SHARES = (0.9, 0.05)  # of the characters, for training and validation; the rest is for the test


class TinyShakespeare(CharacterData):
    """1,115,394 characters of Shakespeare's plays, by character: the 65 that occur, and one for all others.

    Karpathy 2015, "The Unreasonable Effectiveness of Recurrent Neural Networks" (char-rnn). There are no official
    splits. The first 90 % are for training, as in nanoGPT; of the rest, with which nanoGPT validates, the first half
    is for validation and the second for the test.

    Args:
        root: folder that has, or gets, `tinyshakespeare/input.txt`.
        arguments: see `TextData`.
    """

    alphabet = "\n !$&',-.3:;?" + string.ascii_uppercase + string.ascii_lowercase
    addresses: ClassVar[tuple[str, ...]] = (
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "https://cdn.jsdelivr.net/gh/karpathy/char-rnn@master/data/tinyshakespeare/input.txt",
        "https://storage.googleapis.com/download.tensorflow.org/data/shakespeare.txt",
    )

    def __init__(self, *, root: str = "data", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.path = Path(root).expanduser() / "tinyshakespeare" / "input.txt"

    def prepare_data(self) -> None:
        if not self.fake:
            fetch(self.addresses, self.path, MD5)

    def read_texts(self) -> dict[str, str]:
        text = read_text(self.path)
        one, two = (int(sum(SHARES[:n]) * len(text)) for n in (1, 2))
        return {"train": text[:one], "val": text[one:two], "test": text[two:]}

"""Text that `torchatlas prepare` has turned into files of tokens, read through memory maps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import UserError
from .base import Codec, TextData, Tokens
from .token_writing import INDEX, SPLITS, read_index
from .tokenizer import FILE, TokenizerCodec, load_codec, made_codec

MADE_TOKENS = 512  # of made data


class StoredTokens:
    """The tokens of a file; only those that are asked for are read, and become int64.

    Args:
        path: unsigned whole numbers without anything else.
        dtype: "uint16" or "uint32".
        vocab_size: a token beyond it is damage.
    """

    def __init__(self, path: Path, dtype: str, vocab_size: int) -> None:
        self.path, self.dtype, self.vocab_size = path, dtype, vocab_size
        self.numbers = np.memmap(path, dtype=dtype, mode="r")

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, places: Tensor | slice) -> Tensor:
        """int64 of the shape of the places.

        Raises:
            UserError: the file is damaged.
        """
        key = places.numpy() if isinstance(places, Tensor) else places
        found = torch.from_numpy(np.asarray(self.numbers[key]).astype(np.int64))
        if found.numel() and int(found.max()) >= self.vocab_size:
            raise UserError(f"{self.path} is damaged, it has a token {int(found.max())}: prepare it anew elsewhere")
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredTokens, (self.path, self.dtype, self.vocab_size)  # workers open the file, and copy nothing


def require_complete(path: str | Path | None) -> tuple[Path, dict[str, Any]]:
    """A folder of tokens and its index.

    Raises:
        UserError: there is none, or it is not finished.
    """
    if path is None:
        raise UserError(
            "data=token_file needs a folder of tokens: write one with torchatlas prepare input=FILE output=FOLDER, and "
            "name it with data.path=FOLDER"
        )
    folder = Path(path).expanduser()
    index = read_index(folder)
    if not index.get("complete"):
        raise UserError(f"{folder} is not finished: type its torchatlas prepare again, which goes on with it")
    try:
        counts = [int(index["splits"][name][key]) for name in SPLITS for key in ("tokens", "bytes")]
        if min(counts) < 1 or index["dtype"] not in ("uint16", "uint32") or int(index["vocab_size"]) < 2:
            raise ValueError("numbers that cannot be")
        str(index["fingerprint"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / INDEX} is damaged ({error}): write it anew into another folder") from error
    return folder, index


def open_tokens(folder: Path, index: Mapping[str, Any]) -> tuple[TokenizerCodec, dict[str, StoredTokens]]:
    """The tokeniser and the tokens of each split.

    Raises:
        UserError: a file is missing, has another size than the index says, or is another tokeniser.
    """
    codec = load_codec(folder / FILE)
    if codec.fingerprint != index["fingerprint"] or codec.vocab_size != index["vocab_size"]:
        raise UserError(
            f"{folder / FILE} is tokeniser {codec.fingerprint}, and the tokens there are by {index['fingerprint']}: "
            "put that one back, or write the folder anew"
        )
    splits = {}
    for name in SPLITS:
        path = folder / f"{name}.bin"
        expected = index["splits"][name]["tokens"] * np.dtype(index["dtype"]).itemsize
        size = path.stat().st_size if path.is_file() else 0
        if size != expected:
            raise UserError(f"{path} has {size:,} bytes where {expected:,} are right: write it anew elsewhere")
        splits[name] = StoredTokens(path, index["dtype"], codec.vocab_size)
    return codec, splits


class StoredText(TextData):
    """Text as tokens in files, with the tokeniser beside them. A subclass implements `read_tokens`."""

    unit = "token"

    def fake_codec(self) -> Codec:
        return made_codec(self.vocab_size)

    def open_folder(self, folder: Path, index: Mapping[str, Any]) -> Mapping[str, Tokens]:
        """The tokens of each split of a folder; codec and `bytes_per_token` become those of the folder.

        Raises:
            UserError: the folder is damaged, or by another tokeniser than the checkpoint's.
        """
        codec, splits = open_tokens(folder, index)
        self.known_codec = require_codec(codec, self.known_codec, folder)
        self.bytes_per_token = {name: found["bytes"] / found["tokens"] for name, found in index["splits"].items()}
        return splits


class TokenFile(StoredText):
    """A text of any length as tokens, from a folder that `torchatlas prepare` has written.

    Nothing is read but the tokens of a batch, so that the text may be larger than the memory. A run that goes on, and
    `evaluate`, refuse a folder whose tokens are by another tokeniser than the checkpoint's.

    Args:
        path: the folder.
        arguments: see `TextData`.
    """

    def __init__(self, *, path: str | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.path = path

    @classmethod
    def declare_vocab_size(cls, path: str | None = None, fake: bool = False) -> int:
        """The tokens of the folder's tokeniser."""
        return MADE_TOKENS if fake else int(require_complete(path)[1]["vocab_size"])

    def read_tokens(self) -> Mapping[str, Tokens]:
        return super().read_tokens() if self.fake else self.open_folder(*require_complete(self.path))


def require_codec(codec: TokenizerCodec, known: Codec | None, folder: Path) -> Codec:
    """The tokeniser of a folder, which has to be that of the checkpoint where there is one.

    Raises:
        UserError: it is not.
    """
    if known is None or (isinstance(known, TokenizerCodec) and known.fingerprint == codec.fingerprint):
        return codec
    theirs = known.fingerprint if isinstance(known, TokenizerCodec) else f"by {known.unit}"
    raise UserError(
        f"the tokens in {folder} are by tokeniser {codec.fingerprint}, and the checkpoint's is {theirs}: prepare the "
        "text with tokenizer=RUN, the folder of that run"
    )

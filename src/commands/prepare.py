"""A user's texts as files of tokens, for data=token_file."""

import glob
from pathlib import Path
from typing import Literal

from ..data.reading import LeftOut, list_files
from ..data.text.split_files import split_files, tell_splits
from ..data.text.token_writing import given, split_by_name, split_by_position, trainer, write_tokens
from ..data.text.tokenizer import BERT, GPT, TRANSLATION, load_codec
from ..errors import UserError

BY = "bpe"
SIZE = 16_384


def prepare(
    input: str, output: str, tokenizer: str = "",
    by: Literal["bpe", "wordpiece", "word", "character"] | None = None, vocab_size: int | None = None,
    share: float = 0.01,
) -> None:  # fmt: skip
    """Long texts as tokens, for data=token_file; typed again it goes on where it was stopped.

    Args:
        input: a file in UTF-8, a folder, of which all files that end in .txt are taken, or a pattern, as in '*.txt';
            train.txt, valid.txt and test.txt in a folder are the splits.
        output: a folder.
        tokenizer: a file or folder of one that is taken; else one is trained on the training text.
        by: what is trained; else bpe.
        vocab_size: most tokens of what is trained; else 16384.
        share: of the bytes, at the end, for validation and for test each; under 0.5.

    Raises:
        UserError: it says what to type instead.

    Examples:
        torchatlas prepare input=books output=tokens vocab_size=8000
        torchatlas train model=gpt2 data=token_file data.path=tokens
    """
    if not 0 < share < 0.5:
        raise UserError(f"share={share:g} must be between 0 and 0.5, as in share=0.01")
    if tokenizer:
        if by is not None or vocab_size is not None:
            raise UserError("by and vocab_size are for a tokeniser that is trained: leave them out with tokenizer=...")
        codec = load_codec(tokenizer)
        settings: dict[str, str | int] = {"tokenizer": codec.fingerprint}
        make = given(codec)
    else:
        kind, size = by or BY, SIZE if vocab_size is None else vocab_size
        make = trainer(kind, size, {"bpe": GPT, "wordpiece": BERT}.get(kind, TRANSLATION))
        settings = {"by": kind, "vocab_size": size}
    if own := split_files(Path(input).expanduser()):
        print(tell_splits(Path(input).expanduser(), own))
        splits = split_by_name(own, share)
    else:
        splits = split_by_position(find_texts(input), share)
    folder = Path(output).expanduser()
    try:
        index = write_tokens(splits, folder, {**settings, "share": share}, make)
    except KeyboardInterrupt:
        print("stopped; what is done stays: type the same again, and it goes on")
        raise
    print(f"train on it with data=token_file data.path={folder}; its vocab_size is {index['vocab_size']:,}")


def find_texts(given: str) -> list[Path]:
    """The files that `input` means, sorted; what is left out of a folder is said.

    Raises:
        UserError: there are none.
    """
    source = Path(given).expanduser()
    if source.is_file():
        return [source]
    if source.is_dir():
        left = LeftOut()
        found = [source / name for name in list_files(source, (".txt",), left)]
        if found and (said := left.said(source)):
            print(said)
    else:
        found = sorted(path for path in map(Path, glob.glob(str(source), recursive=True)) if path.is_file())
    if not found:
        raise UserError(
            f"{given} is no text: name a file in UTF-8, a folder of .txt files, or a pattern, as in '*.txt'"
        )
    return found

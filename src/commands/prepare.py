"""A user's texts as files of tokens, for data=token_file."""

import glob
import sys
from pathlib import Path

from ..data.text.token_writing import given, split_by_position, trainer, write_tokens
from ..data.text.tokenizer import BERT, GPT, KINDS, TRANSLATION, load_codec
from ..errors import UserError

KEYS = {"input": "", "output": "", "tokenizer": "", "by": "", "vocab_size": "", "share": "0.01"}
BY = "bpe"
SIZE = 16_384


def prepare(arguments: list[str]) -> None:
    """Write a folder of tokens, or go on with one; see `token_writing.write_tokens`.

    Args:
        arguments: KEY=VALUE words. input: a file in UTF-8, a folder (all files in it that end in .txt), or a pattern.
            output: the folder. tokenizer: see `tokenizer.load_codec`; else one is trained on the training text, `by`
            "bpe" (the default), "wordpiece", "word" or "character", with at most `vocab_size` tokens. share: of the
            bytes, at the end, for validation and for test each.

    Raises:
        UserError: it says what to type instead.
    """
    from .words import number, parse

    values = parse(arguments, dict(KEYS))
    for key in ("input", "output"):
        if not values[key]:
            raise UserError(f"{key}=... is missing: type torchatlas prepare input=FILE output=FOLDER")
    share = number(values, "share", float)
    if not 0 < share < 0.5:
        raise UserError(f"share={values['share']} must be between 0 and 0.5, as in share=0.01")
    if values["tokenizer"]:
        if values["by"] or values["vocab_size"]:
            raise UserError("by and vocab_size are for a tokeniser that is trained: leave them out with tokenizer=...")
        codec = load_codec(values["tokenizer"])
        settings: dict[str, str | int] = {"tokenizer": codec.fingerprint}
        make = given(codec)
    else:
        by = values["by"] or BY
        if by not in KINDS:
            raise UserError(f"by={by} must be one of {', '.join(KINDS)}")
        size = int(number(values, "vocab_size", int)) if values["vocab_size"] else SIZE
        make = trainer(by, size, {"bpe": GPT, "wordpiece": BERT}.get(by, TRANSLATION))
        settings = {"by": by, "vocab_size": size}
    splits = split_by_position(find_texts(values["input"]), share)
    folder = Path(values["output"]).expanduser()
    try:
        index = write_tokens(splits, folder, {**settings, "share": share}, make)
    except KeyboardInterrupt:
        print("stopped; what is done stays: type the same again, and it goes on")
        sys.exit(130)
    print(f"train on it with data=token_file data.path={folder}; its vocab_size is {index['vocab_size']:,}")


def find_texts(given: str) -> list[Path]:
    """The files that `input` means, sorted.

    Raises:
        UserError: there are none.
    """
    source = Path(given).expanduser()
    if source.is_file():
        return [source]
    if source.is_dir():
        found = sorted(path for path in source.rglob("*.txt") if path.is_file())
    else:
        found = sorted(path for path in map(Path, glob.glob(str(source), recursive=True)) if path.is_file())
    if not found:
        raise UserError(
            f"{given} is no text: name a file in UTF-8, a folder of .txt files, or a pattern, as in '*.txt'"
        )
    return found

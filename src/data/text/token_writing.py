"""Long texts to files of tokens, written once: in constant memory, and going on where they were stopped."""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UserError
from ...storage.files import sync_folder
from ..decoding import PACKED
from .tokenizer import FILE, GPT, TokenizerCodec, cut, load_codec, train_codec

SPLITS = ("train", "val", "test")
INDEX = "index.json"
SHARDS = "shards"
SHARD = 2**24  # bytes of text that are written together
LEARNT = 2**28  # bytes of text, spread evenly, of which a tokeniser is trained where there are more
CHUNK = 2**20
BLANK = re.compile(rb"(?<=\S)[ \n](?=\S)")  # as in `tokenizer.cut`
BOM = b"\xef\xbb\xbf"
SEPARATOR = GPT[0]  # ends a document; also where a text has it spelled out
MakeCodec = Callable[[Iterator[str]], TokenizerCodec]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Range:
    """Bytes of a text file."""

    path: Path
    start: int
    end: int

    def text(self) -> str:
        """With line feeds at the ends of lines.

        Raises:
            UserError: it is not in UTF-8, or holds zero bytes, as UTF-16 does.
        """
        with self.path.open("rb") as file:
            file.seek(self.start)
            data = file.read(self.end - self.start)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            at = self.start + error.start
            raise UserError(f"{self.path} is no UTF-8 text ({error.reason} at byte {at}): save it in UTF-8") from error
        if "\0" in text:
            at = self.start + data.index(b"\0")
            raise UserError(f"{self.path} holds a zero byte (byte {at}), so it is no UTF-8 text: save it in UTF-8")
        return text.replace("\r\n", "\n").replace("\r", "\n")


def place_to_cut(path: Path, wanted: int) -> int:
    """The first byte from `wanted` on at which a text may be cut: a blank between two words, or else a character."""
    with path.open("rb") as file:
        file.seek(max(0, wanted - 1))
        data = file.read(CHUNK)
    before = wanted - max(0, wanted - 1)
    if found := BLANK.search(data, before):
        return wanted - before + found.start()
    while before < len(data) and data[before] & 0xC0 == 0x80:  # within a character
        before, wanted = before + 1, wanted + 1
    return wanted


def shards_of(part: Range) -> Iterator[Range]:
    """A range in parts of about `SHARD` bytes."""
    start = part.start
    while start + SHARD < part.end:
        end = min(place_to_cut(part.path, start + SHARD), part.end)
        yield Range(part.path, start, end)
        start = end
    if start < part.end:
        yield Range(part.path, start, part.end)


def whole(path: Path) -> Range:
    """A file without its byte order mark.

    Raises:
        UserError: it is packed.
    """
    with path.open("rb") as file:
        start = file.read(len(BOM))
    if start.startswith(PACKED):
        raise UserError(f"{path} is packed by gzip: unpack it first, as with gunzip --keep")
    return Range(path, len(BOM) if start == BOM else 0, path.stat().st_size)


def split_by_position(paths: Sequence[Path], share: float) -> dict[str, list[Range]]:
    """The last `share` of the bytes of all files is for the test, the one before it for validation, the rest trains."""
    files = [whole(path) for path in paths]
    total = sum(file.end - file.start for file in files)
    cuts, done = [int((1 - 2 * share) * total), int((1 - share) * total)], 0
    splits: dict[str, list[Range]] = {name: [] for name in SPLITS}
    for file in files:
        size, start = file.end - file.start, file.start
        for name, end in zip(SPLITS, (*cuts, total), strict=True):
            if end <= done or start == file.end:
                continue
            last = end >= done + size
            stop = file.end if last else min(place_to_cut(file.path, file.start + end - done), file.end)
            if stop > start:
                splits[name].append(Range(file.path, start, stop))
                start = stop
        done += size
    return splits


def split_by_name(files: Mapping[str, Path], share: float) -> dict[str, list[Range]]:
    """A file for each split, see `split_files`; what has none is the last `share` of the training text."""
    splits = {name: [whole(path)] for name, path in files.items()}
    for name in ("test", "val"):
        if name not in splits:
            (train,) = splits["train"]
            cut = place_to_cut(train.path, int(train.end - share * (train.end - train.start)))
            splits["train"] = [Range(train.path, train.start, cut)]
            splits[name] = [Range(train.path, cut, train.end)]
    return {name: splits[name] for name in SPLITS}


def checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_whole(path: Path, write: Callable[[Any], object]) -> None:
    """A file that is whole or not there, whenever the program or the machine stops."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    sync_folder(path.parent)


def read_index(folder: Path) -> dict[str, Any]:
    """What a folder of tokens says of itself.

    Raises:
        UserError: there is no such folder, or its index is damaged.
    """
    path = folder / INDEX
    if not path.is_file():
        raise UserError(
            f"{folder} is no folder of tokens: write one with torchatlas prepare input=FILE output={folder}"
        )
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(index["made_of"], dict) or not isinstance(index["shards"], dict):
            raise TypeError("its parts are of other types")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): write it anew into another folder") from error
    return index  # type: ignore[no-any-return]


@contextlib.contextmanager
def alone(folder: Path, say: Say) -> Iterator[None]:
    """Wait until no other process writes this folder, where the system can tell; a kill ends a turn, too."""
    try:
        import fcntl
    except ImportError:  # no POSIX
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"waiting for another process that writes {folder}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_tokens(
    splits: Mapping[str, Sequence[Range]],
    folder: Path,
    settings: Mapping[str, Any],
    make_codec: MakeCodec,
    say: Say = print,
) -> dict[str, Any]:
    """Write train.bin, val.bin, test.bin, tokenizer.json and index.json.

    Tokens are unsigned numbers of 16 bits, or of 32 where the tokeniser has more than 65,536, one after the other in
    the machine's order. A document is a file, or what stands in it before the word <|endoftext|>. It ends with the
    token <|endoftext|> where the tokeniser has it; else an empty line stands between two of them.

    The text is written in shards. Each one, once it is on the disk, is noted in the index; started again after a stop
    this goes on with the next one, and the files are the same to the byte.

    Args:
        splits: the text of each split.
        folder: is made where it is missing.
        settings: plain values that, with the texts, determine the tokens.
        make_codec: from training text.
        say: gets lines on the progress.

    Returns:
        The index.

    Raises:
        UserError: the folder holds tokens of another text or by another tokeniser, or no space is left.
    """
    for name in SPLITS:
        if not splits[name]:
            raise UserError(f"the {name} text is empty: give a longer text or another share")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder, say):
            return _write(splits, folder, settings, make_codec, say)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder} cannot be used ({error.strerror}): mend that and type the same again; what is "
            "done stays"
        ) from error


def _write(
    splits: Mapping[str, Sequence[Range]], folder: Path, settings: Mapping[str, Any], make_codec: MakeCodec, say: Say
) -> dict[str, Any]:
    made_of = {"settings": dict(settings), "texts": _identity(splits, say)}
    if (folder / INDEX).is_file():
        index = read_index(folder)
        if not index["shards"] and index["made_of"] != made_of:  # nothing is done yet: a first attempt with a mistake
            index = _begin(folder, made_of)
        for key, what in (("texts", "of another text"), ("settings", "by another tokeniser or share")):
            if index["made_of"].get(key) != made_of[key]:
                raise UserError(f"{folder} holds tokens {what}: name another folder with output=FOLDER")
        if index["complete"]:
            say(f"{folder} is complete: {_summary(index)}")
            shutil.rmtree(folder / SHARDS, ignore_errors=True)
            return index
    else:
        if any(path.name != f"{INDEX}.part" for path in folder.iterdir()):
            raise UserError(f"{folder} holds other files and no {INDEX}: name an empty or new folder")
        index = _begin(folder, made_of)
    codec = _codec(splits, folder, index, make_codec, say)
    plan = {name: [shard for part in parts for shard in shards_of(part)] for name, parts in splits.items()}
    total = sum(shard.end - shard.start for shards in plan.values() for shard in shards)
    done = 0
    (folder / SHARDS).mkdir(exist_ok=True)
    for name, shards in plan.items():
        for i, shard in enumerate(shards):
            label = f"{name}-{i:05d}"
            path = folder / SHARDS / f"{label}.bin"
            known = index["shards"].get(label)
            done += shard.end - shard.start
            if known and path.is_file() and path.stat().st_size == known["tokens"] * np.dtype(codec.dtype).itemsize:
                continue
            index["shards"][label] = _write_shard(path, shard, codec, last=i + 1 == len(shards))
            _write_index(folder, index)
            tokens = sum(found["tokens"] for found in index["shards"].values())
            say(
                f"{name}: shard {i + 1} of {len(shards)}; {done / 1e6:,.1f} of {total / 1e6:,.1f} MB, {tokens:,} tokens"
            )
    sums = {}
    for name, shards in plan.items():
        labels = [f"{name}-{i:05d}" for i in range(len(shards))]
        sums[name] = {key: sum(index["shards"][label][key] for label in labels) for key in ("tokens", "bytes")}
        path, size = folder / f"{name}.bin", sums[name]["tokens"] * np.dtype(codec.dtype).itemsize
        if not path.is_file() or path.stat().st_size != size:
            _join([folder / SHARDS / f"{label}.bin" for label in labels], path)
    index |= {"splits": sums, "complete": True}
    _write_index(folder, index)
    shutil.rmtree(folder / SHARDS)
    say(f"{folder}: {_summary(index)}")
    return index


def _begin(folder: Path, made_of: Mapping[str, Any]) -> dict[str, Any]:
    index = {"complete": False, "made_of": made_of, "shards": {}}
    _write_index(folder, index)
    return index


def _identity(splits: Mapping[str, Sequence[Range]], say: Say) -> dict[str, Any]:
    """What tells texts apart: names without folders, places, and checksums of the whole files."""
    sizes = {part.path: part.path.stat().st_size for parts in splits.values() for part in parts}
    if (size := sum(sizes.values())) > 10 * CHUNK:
        say(f"checking {size / 1e6:,.1f} MB of text in {len(sizes)} file{'s' if len(sizes) > 1 else ''}")
    sums = {path: checksum(path) for path in sizes}
    return {
        name: [[part.path.name, part.start, part.end, sums[part.path]] for part in parts]
        for name, parts in splits.items()
    }


def _codec(
    splits: Mapping[str, Sequence[Range]], folder: Path, index: dict[str, Any], make_codec: MakeCodec, say: Say
) -> TokenizerCodec:
    path = folder / FILE
    if "fingerprint" in index and path.is_file():
        codec = load_codec(path)
        if codec.fingerprint == index["fingerprint"]:
            return codec
    codec = make_codec(_training_text(splits["train"], say))
    if index.get("fingerprint", codec.fingerprint) != codec.fingerprint:
        raise UserError(f"{folder} was begun with another tokeniser: name another folder")
    write_whole(path, lambda file: file.write(codec.text.encode()))
    index |= {"fingerprint": codec.fingerprint, "vocab_size": codec.vocab_size, "dtype": codec.dtype, "by": codec.by}
    _write_index(folder, index)
    say(f"tokeniser: {codec.by}, {codec.vocab_size:,} tokens, fingerprint {codec.fingerprint}")
    return codec


def _training_text(parts: Sequence[Range], say: Say) -> Iterator[str]:
    """Pieces of the training text, of a long one every n-th shard."""
    shards = [shard for part in parts for shard in shards_of(part)]
    step = -(-sum(shard.end - shard.start for shard in shards) // LEARNT)
    say(f"training the tokeniser on {len(shards[::step])} of {len(shards)} shards of the training text")
    for shard in shards[::step]:
        for document in shard.text().split(SEPARATOR):
            yield from cut(document)


def _write_shard(path: Path, shard: Range, codec: TokenizerCodec, *, last: bool) -> dict[str, int]:
    """Write the tokens of a shard. Returns how many these are, and the bytes of their text."""
    text = shard.text()
    number = codec.tokenizer.token_to_id(SEPARATOR)
    ending = np.array(codec.encode("\n\n").tolist() if number is None else [number], dtype=codec.dtype)
    documents = text.split(SEPARATOR)
    size = len(text.encode()) - len(SEPARATOR) * (len(documents) - 1)
    closed = shard.end == shard.path.stat().st_size and documents[-1].strip() and not (last and number is None)
    ends = [True] * (len(documents) - 1) + [bool(closed)]
    count = 0

    def write(file: Any) -> None:
        nonlocal count
        for group in _groups(documents, ends):
            for numbers, (_, end) in zip(codec.encode_many([piece for piece, _ in group]), group, strict=True):
                tokens = np.array(numbers, dtype=codec.dtype)
                tokens = np.concatenate([tokens, ending]) if end else tokens
                file.write(tokens.tobytes())
                count += len(tokens)

    write_whole(path, write)
    return {"tokens": count, "bytes": size}


def _groups(documents: Sequence[str], ends: Sequence[bool]) -> Iterator[list[tuple[str, bool]]]:
    """Pieces of documents, each with whether a document ends with it; about `CHUNK` characters at a time."""
    group: list[tuple[str, bool]] = []
    size = 0
    for document, ended in zip(documents, ends, strict=True):
        pieces = list(cut(document))
        for i, piece in enumerate(pieces):
            group.append((piece, ended and i + 1 == len(pieces)))
            size += len(piece)
            if size > CHUNK:
                yield group
                group, size = [], 0
    yield group


def _join(parts: Sequence[Path], path: Path) -> None:
    def write(file: Any) -> None:
        for part in parts:
            with part.open("rb") as shard:
                shutil.copyfileobj(shard, file, CHUNK)

    write_whole(path, write)


def _write_index(folder: Path, index: Mapping[str, Any]) -> None:
    write_whole(folder / INDEX, lambda file: file.write((json.dumps(index, indent=1) + "\n").encode()))


def _summary(index: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {found['tokens']:,} tokens" for name, found in index["splits"].items())


def trainer(by: str, vocab_size: int, specials: Sequence[str]) -> MakeCodec:
    """A `make_codec` that trains a tokeniser, see `tokenizer.train_codec`."""
    return lambda texts: train_codec(texts, by, vocab_size, specials)


def given(codec: TokenizerCodec) -> MakeCodec:
    """A `make_codec` that has its tokeniser, whatever the text."""
    return lambda _: codec

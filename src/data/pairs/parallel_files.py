"""A user's own pairs of sentences."""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..decoding import read_text
from ..text.tokenizer import TokenizerCodec
from .base import Pair, ParallelData, require_vocabularies, train_codecs

MADE_SIZE = 1000  # tokens of made data, where there may be so many


Files = dict[str, tuple[str | None, str | None]]


def vocab_sizes(
    *, source_path: str | None = None, target_path: str | None = None, val_source_path: str | None = None,
    val_target_path: str | None = None, test_source_path: str | None = None, test_target_path: str | None = None,
    share: float = 0.05, max_tokens: int = 8000, by: str = "bpe", shared: bool = False, lowercase: bool = False,
    tokenizer: str | None = None, encoding: str = "utf-8", fake: bool = False,
) -> tuple[int, int]:  # fmt: skip
    """The sizes of the vocabularies that `ParallelFiles` will find, of the source and of the target.

    Raises:
        UserError: see `read_splits` and `require_vocabularies`.
    """
    require_vocabularies(by, shared, tokenizer)
    require_share(share)
    if max_tokens < 5:
        raise UserError(f"data.max_tokens={max_tokens} must be at least 5, as in data.max_tokens=8000")
    if fake:
        return min(max_tokens, MADE_SIZE), min(max_tokens, MADE_SIZE)
    files: Files = {
        "train": (source_path, target_path),
        "val": (val_source_path, val_target_path),
        "test": (test_source_path, test_target_path),
    }
    source, target = codecs_of(stamped(files), share, max_tokens, by, shared, lowercase, tokenizer, encoding)
    return source.vocab_size, target.vocab_size


@functools.wraps(vocab_sizes)
def source_size(**options: Any) -> int:
    return vocab_sizes(**options)[0]


@functools.wraps(vocab_sizes)
def target_size(**options: Any) -> int:
    return vocab_sizes(**options)[1]


class ParallelFiles(ParallelData):
    """A user's own pairs of sentences: two texts, line by line, or one table with tabs.

    With `source_path` and `target_path` the n-th line of one is the translation of the n-th of the other. A
    `source_path` alone is a table: in each line the source, a tab, the target; further columns are left alone, and so
    is the target in a file to be translated. Lines that are empty on one side or both are left out and counted in the
    log.

    Validation and test are files of their own, or, where these are not named, a share of the first ones. A source
    belongs to a split by a checksum of its text, so that the same source is never in two splits, and the order of the
    lines changes nothing. Files of one's own are taken as they are.

    Args:
        source_path, target_path: training texts.
        val_source_path, val_target_path, test_source_path, test_target_path: texts of the other splits.
        encoding: of the files.
        share: of the sources, for validation and for test each, where they have no file.
        max_tokens: the largest vocabulary of a side, special tokens included.
        arguments: see `ParallelData`.

    Raises:
        UserError: a file that is not there, is empty or has another number of lines than its partner.
    """

    def __init__(
        self,
        *,
        source_path: str | None = None,
        target_path: str | None = None,
        val_source_path: str | None = None,
        val_target_path: str | None = None,
        test_source_path: str | None = None,
        test_target_path: str | None = None,
        encoding: str = "utf-8",
        share: float = 0.05,
        max_tokens: int = 8000,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.files = {
            "train": (source_path, target_path),
            "val": (val_source_path, val_target_path),
            "test": (test_source_path, test_target_path),
        }
        self.share, self.max_tokens, self.encoding = share, max_tokens, encoding
        require_share(share)

    declare_source_vocab_size = staticmethod(source_size)
    declare_target_vocab_size = staticmethod(target_size)

    def read_pairs(self) -> dict[str, list[Pair]]:
        splits, skipped = read_splits(self.files, self.share, self.encoding)
        if skipped:
            self.say(f"{skipped} lines are left out, since they are empty on one side or both")
        return splits

    def given_sentences(self, given: str) -> list[str]:
        """See `ParallelData.given_sentences`: of a table such as that of training, which has tabs in most lines, the
        sources alone.
        """
        lines = super().given_sentences(given)
        source, target = self.files["train"]
        texts = [line for line in lines if line.strip()]
        alone = sum("\t" not in line for line in texts)
        if source is None or target is not None or 2 * alone >= len(texts):
            return lines
        if alone:
            self.say(f"{given} has no tab in {alone} of {len(texts)} lines, which are sources as they are")
        return [line.partition("\t")[0].strip() for line in lines]

    def make_codecs(self, pairs: list[Pair]) -> tuple[TokenizerCodec, TokenizerCodec]:
        return codecs_of(
            stamped(self.files), self.share, self.max_tokens, self.by, self.shared, self.lowercase, self.tokenizer,
            self.encoding,
        )  # fmt: skip


def require_share(share: float) -> None:
    if not 0 < share < 0.5:
        raise UserError(f"data.share={share} must be between 0 and 0.5, as in data.share=0.05")


def read_lines(path: str | Path, encoding: str | None = None) -> Sequence[str]:
    """The lines of a text.

    Raises:
        UserError: there is no such file, or it is empty.
    """
    where = Path(path).expanduser()
    if not where.is_file():
        raise UserError(f"there is no file {path}: name your texts with data.source_path=FILE data.target_path=FILE")
    text = read_text(where, encoding)
    if not text.strip():
        raise UserError(f"{path} is empty: name texts with data.source_path=FILE data.target_path=FILE")
    return text.removesuffix("\n").split("\n")  # no other sign ends a line


def read_files(source: str, target: str | None, encoding: str | None = None) -> tuple[list[Pair], int]:
    """Pairs of two texts or of a table, and the number of lines that are left out since a side is empty.

    Raises:
        UserError: unequal numbers of lines, a line without a tab, or no pair at all.
    """
    lines = read_lines(source, encoding)
    if target is not None:
        others = read_lines(target, encoding)
        if len(lines) != len(others):
            raise UserError(
                f"{source} has {len(lines)} lines and {target} has {len(others)}: they must be translations of one "
                "another, line by line"
            )
        rows = [[left, right] for left, right in zip(lines, others, strict=True)]
    else:
        rows = [line.split("\t") for line in lines]
        for number, row in enumerate(rows, 1):
            if len(row) == 1 and row[0].strip():
                raise UserError(
                    f"line {number} of {source} has no tab between a source and a target: correct it, or name the "
                    "text of the targets with data.target_path=FILE"
                )
    pairs = ((row[0].strip(), row[1].strip()) for row in rows if len(row) > 1)
    kept = [(left, right) for left, right in pairs if left and right]
    if not kept:
        raise UserError(f"{source} has no line with text on both sides: name other texts with data.source_path=FILE")
    return kept, len(lines) - len(kept)


def read_splits(files: Files, share: float, encoding: str | None = None) -> tuple[dict[str, list[Pair]], int]:
    """The pairs of each split, see `ParallelFiles`, and how many lines are left out since a side is empty."""
    source, target = files["train"]
    if source is None:
        raise UserError(
            "data=parallel_files needs your texts: name them with data.source_path=FILE data.target_path=FILE, or one "
            "table with tabs with data.source_path=FILE.tsv"
        )
    train, skipped = read_files(source, target, encoding)
    splits = {"train": train}
    for split in ("val", "test"):
        own, partner = files[split]
        if own is not None:
            splits[split], more = read_files(own, partner, encoding)
            skipped += more
        elif partner is not None:
            raise UserError(f"data.{split}_target_path={partner} needs its sources: add data.{split}_source_path=FILE")
    absent = [split for split in ("val", "test") if split not in splits]
    if absent:
        sources = sorted({left for left, _ in train}, key=lambda text: hashlib.sha256(text.encode()).digest())
        each = max(1, round(share * len(sources)))
        if len(sources) <= each * len(absent):
            raise UserError(
                f"{source} has {len(sources)} different sources, too few to take some for {' and '.join(absent)}: give "
                "more, or files of their own, as in data.val_source_path=FILE data.val_target_path=FILE"
            )
        home = {text: split for i, split in enumerate(absent) for text in sources[i * each : (i + 1) * each]}
        for split in (*absent, "train"):
            splits[split] = [pair for pair in train if home.get(pair[0], "train") == split]
    return {split: splits[split] for split in ("train", "val", "test")}, skipped


Stamped = tuple[tuple[str, str | None, str | None, tuple[int, ...]], ...]


def stamped(files: Files) -> Stamped:
    """The files with their sizes and times of change, by which a second reading knows that they are the same."""

    def state(path: str | None) -> tuple[int, ...]:
        where = None if path is None else Path(path).expanduser()
        return (where.stat().st_size, where.stat().st_mtime_ns) if where is not None and where.is_file() else ()

    return tuple((split, *pair, state(pair[0]) + state(pair[1])) for split, pair in files.items())


@functools.lru_cache(maxsize=1)
def codecs_of(
    files: Stamped,
    share: float,
    max_tokens: int,
    by: str,
    shared: bool,
    lowercase: bool,
    tokenizer: str | None,
    encoding: str,
) -> tuple[TokenizerCodec, TokenizerCodec]:
    """The codecs of a user's texts. They are needed twice: for the sizes of the network, and for the data."""
    splits, _ = read_splits({split: (source, target) for split, source, target, _ in files}, share, encoding)
    sources, targets = zip(*splits["train"], strict=True)
    return train_codecs(
        sources,
        targets,
        by=by,
        sizes=(max_tokens, max_tokens),
        shared=shared,
        lowercase=lowercase,
        tokenizer=tokenizer,
        settings=("data.max_tokens", "data.max_tokens"),
    )

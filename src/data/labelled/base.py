"""Text cut into tokens, a sentence or a pair at a time: what data for classes, tags and answers share."""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypedDict

import torch
from torch import Tensor

from ...errors import UserError, some
from ..base import DataModule
from ..decoding import read_text
from ..loading import BatchDataset, BucketOrder, Loader
from ..reading import find_files, read_each
from ..tables import Cells, read_cells
from ..text.same_tokens import require_same, require_tokens_of
from ..text.tokenizer import BERT, TokenizerCodec, TokenizerDescription, load_codec, tokenizer_of, train_codec

log = logging.getLogger(__name__)
UNITS = ("wordpiece", "bpe", "word", "character")
SHOWN = 16  # tokens of an example
TABLES = (".csv", ".tsv")
# As people call columns of texts, and of second ones.
TEXT_COLUMNS = (
    "text",
    "sentence",
    "review",
    "sentence1",
    "question1",
    "question",
    "pair",
    "text2",
    "sentence2",
    "question2",
)
# Special tokens of the tokenisers of BERT, and of RoBERTa and its like.
FIRST, SEPARATOR = ("[CLS]", "<s>"), ("[SEP]", "</s>")


def segments_of(firsts: Tensor, steps: int) -> Tensor:
    """Segments `b t` as BERT numbers them: 0 for the first `firsts` tokens of each row, 1 for the others."""
    return (torch.arange(steps, device=firsts.device) >= firsts[:, None]).long()


def longest_first(a: int, b: int, room: int) -> tuple[int, int]:
    """How many tokens stay of two texts that share `room`: each time the longer loses one, of equals the second.

    >>> longest_first(3, 10, 8), longest_first(10, 10, 7), longest_first(2, 3, 8)
    ((3, 5), (4, 3), (2, 3))
    """
    if a + b <= room:
        return a, b
    kept = max(min(b, room // 2), room - a)
    return room - kept, kept


def given_files(given: str, endings: Sequence[str]) -> list[Path]:
    """The files that a user names; none where a text was typed.

    Args:
        given: a file, a folder, or a text itself.
        endings: of the files that are taken of a folder.

    Raises:
        UserError: there is no such file.
    """
    path = Path(given).expanduser()
    try:
        there = path.exists()
    except OSError:  # too long for a name
        there = False
    if there:
        return find_files(path, endings)
    if not re.search(r"\s", given.strip()):
        raise UserError(f"there is no file or folder {path}: name one with input=PATH, or give a text in quotes")
    return []


def lines_in(file: Path, encoding: str | None = None) -> list[tuple[str, str]]:
    """The lines of a file that are not empty, and the place of each: `file:line`."""
    lines = enumerate(read_text(file, encoding).split("\n"), 1)
    return [(f"{file}:{number}", line.strip()) for number, line in lines if line.strip()]


def require_texts(given: str, found: Sequence[Any]) -> None:
    """Refuse files without a text."""
    if not found:
        raise UserError(f"{given} holds no text: name a file with one with input=PATH")


def read_lines(
    given: str, endings: Sequence[str], encoding: str | None = None
) -> tuple[list[tuple[str, str]], list[dict[str, str]]]:
    """A user's texts, a line each, and the place of each: `file:line`, or nothing for a text that was typed.

    Beside them stands `Given.unread` of the files.

    Args:
        given, endings: see `given_files`.
        encoding: of the files, see `read_text`.

    Raises:
        UserError: there is no such file, or no text.
    """
    files = given_files(given, endings)
    if not files:
        return [("", given)], []
    read, unread = read_each(files, lambda file: lines_in(file, encoding), "place")
    found = [line for _, lines in read for line in lines]
    require_texts(given, found)
    return found, unread


class GivenText(NamedTuple):
    """A user's text.

    Attributes:
        place: where it stands, `file:line`; "": it was typed.
        text: the text.
        pair: the second text of a pair; None: there is none.
        error: why it cannot be answered; "": it can.
    """

    place: str
    text: str
    pair: str | None = None
    error: str = ""


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name, which may say that it is packed."""
    return path.name.lower().removesuffix(".gz").endswith(TABLES)


def joined(cells: Cells, names: Sequence[str]) -> list[str]:
    """The cells of several columns, with a blank between those of a row."""
    return [" ".join(filter(None, row)) for row in zip(*map(cells.column, names), strict=True)]


def given_rows(cells: Cells, text: Sequence[str], pair: Sequence[str] = ()) -> list[GivenText]:
    """Texts of a table with their places; one that is empty says so in place of an answer.

    Args:
        cells: the table.
        text, pair: names of the columns of texts, and of second ones; several are joined.
    """
    sides = [(names, joined(cells, names)) for names in (text, pair) if names]
    found = []
    for row, line in enumerate(cells.lines):
        empty = next((cells.place(row, "+".join(names)) for names, side in sides if not side[row]), None)
        texts = [side[row] for _, side in sides]
        error = "" if empty is None else f"{empty} is empty: fill it, or leave the row out"
        found.append(GivenText(f"{cells.path}:{line}", texts[0], texts[1] if pair else None, error))
    return found


def held_text(place: str, value: Any, pair: bool) -> GivenText:
    """A text that a program has in memory, or a pair of them."""
    sides = [value] if isinstance(value, str) else list(value) if isinstance(value, tuple | list) else []
    if len(sides) != 1 + pair or not all(isinstance(side, str) for side in sides):
        meant = "a pair of texts, as in (text, second text)" if pair else "a text"
        return GivenText(place, str(value), error=f"{place} is a {type(value).__name__} and not {meant}")
    if not all(side.strip() for side in sides):
        return GivenText(place, sides[0], error=f"{place} is empty")
    return GivenText(place, *sides)


def answerable(found: Sequence[GivenText]) -> tuple[list[GivenText], list[dict[str, str]]]:
    """Texts that can be answered, and `Given.unread` of the others.

    Raises:
        UserError: none can be.
    """
    wrong = [text for text in found if text.error]
    if wrong and len(wrong) == len(found):
        raise UserError(wrong[0].error)
    unread = [{"place": each.place, "text": each.text, "error": each.error} for each in wrong]
    return [text for text in found if not text.error], unread


def two_sides(place: str, line: str, what: str) -> tuple[str, str]:
    """Both sides of a tab.

    Raises:
        UserError: there is none, or a side is empty.
    """
    sides = [side.strip() for side in line.split("\t")]
    if len(sides) != 2 or not all(sides):
        raise UserError(f"{place or repr(line)}: {what} with one tab between them are expected")
    return sides[0], sides[1]


class EncodedDescription(TypedDict):
    """Texts as tokens: the tokeniser, and the tokens of an input at most."""

    tokenizer: TokenizerDescription
    max_length: int


class EncodedText(DataModule):
    """Texts as tokens, in batches of similar length. A subclass makes the splits, each with `lengths`.

    The tokeniser is trained on the training texts with BERT's special tokens, or is given. It travels in the
    checkpoint: a run that goes on, and `evaluate`, number the tokens as the training did.

    Args:
        vocab_size: tokens that networks are told of, and the size for which a tokeniser is trained. A small text may
            give fewer; then the rest stands for nothing.
        by: what a token is, where a tokeniser is trained: "wordpiece", "bpe", "word" or "character".
        tokenizer: None, or whatever `load_codec` reads: a tokenizer.json, a folder of Hugging Face, a run folder.
        lowercase: whether a tokeniser that is trained forgets capitals; a given one has its own rule.
        max_length: tokens of an input, special ones included; longer ones are cut.
        common: batch size, workers, seed and so on, see `DataModule`.

    Raises:
        UserError: a setting that cannot be, or a tokeniser that does not fit.
    """

    endings: ClassVar[tuple[str, ...]] = (".txt", *TABLES)
    of_texts = True
    pair = False  # whether an input has two texts
    encoding: str | None = None  # of the files; None: UTF-8, and there is no option for it
    length_option: ClassVar[str | None] = "max_length"
    vocabulary: ClassVar[int] = 10_000  # tokens of a tokeniser that is trained, unless the config says otherwise

    def __init__(
        self,
        *,
        vocab_size: int,
        by: str = "wordpiece",
        tokenizer: str | None = None,
        lowercase: bool = True,
        max_length: int = 128,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if by not in UNITS:
            raise UserError(f"data.by={by} must be one of {', '.join(UNITS)}")
        if vocab_size < len(BERT) + 1:
            raise UserError(f"data.vocab_size={vocab_size} must be more than the {len(BERT)} special tokens")
        if max_length < 4:
            raise UserError(f"data.max_length={max_length} must be at least 4, as in data.max_length=128")
        self.vocab_size, self.by, self.tokenizer, self.lowercase = vocab_size, by, tokenizer, lowercase
        self.max_length = max_length
        self.known_codec: TokenizerCodec | None = None

    @classmethod
    def declare_vocab_size(cls, tokenizer: str | None = None) -> int:
        """The tokens of a given tokeniser, or the number for which one is trained."""
        return cls.vocabulary if tokenizer is None else load_codec(tokenizer).vocab_size

    @property
    def codec(self) -> TokenizerCodec:
        assert self.known_codec is not None, "the codec is known after setup"
        return self.known_codec

    def find_codec(self, texts: Iterable[str]) -> None:
        """Make the tokeniser known: that of the checkpoint, the given one, or one that is trained on these texts.

        Raises:
            UserError: it has more tokens than were declared, or no special tokens to begin and to divide.
        """
        if self.known_codec is None:
            if self.tokenizer is not None:
                self.known_codec = load_codec(self.tokenizer)
            else:
                by = "word" if self.fake else self.by
                self.known_codec = train_codec(texts, by, self.vocab_size, BERT, lowercase=self.lowercase)
        found = self.codec.vocab_size
        if found > self.vocab_size:
            raise UserError(
                f"data.vocab_size={self.vocab_size} is less than the {found} tokens of the tokeniser: use "
                f"data.vocab_size={found}"
            )
        if found < self.vocab_size and self.speaks:
            log.info("the tokeniser has %d tokens of the %d that were asked for", found, self.vocab_size)

    @property
    def first(self) -> int:
        """The number of the token with which an input begins."""
        return self.codec.number(*FIRST)

    @property
    def separator(self) -> int:
        """The number of the token with which a text in it ends."""
        return self.codec.number(*SEPARATOR)

    @property
    def speaks(self) -> bool:
        """Whether this process is the one that writes to the log."""
        return self.trainer is None or self.trainer.is_global_zero

    def tell_cut(self, split: str, cut: int, total: int) -> None:
        """Say how many inputs of a split were too long."""
        if cut and self.speaks:
            log.info(
                "%s: %d of %d inputs (%.1f %%) were longer than data.max_length=%d and are cut",
                split, cut, total, 100 * cut / total, self.max_length,
            )  # fmt: skip

    def tell_waste(self) -> None:
        """Say what part of the training batches is padding, with batches of similar length and without."""
        lengths = self.lengths_of("train")
        if not self.speaks or len(lengths) < self.batch_size:
            return
        labels = self.balance("train", shuffle=True)
        waste, without = (
            BucketOrder(lengths, self.batch_size, shuffle=True, seed=self.seed, labels=labels, pool=pool).waste()
            for pool in (100, 1)
        )
        log.info(
            "training inputs have %.1f tokens on average; %.1f %% of a batch is padding, and would be %.1f %% if "
            "batches were not of similar length",
            float(lengths.double().mean()), 100 * waste, 100 * without,
        )  # fmt: skip

    def lengths_of(self, split: str) -> Tensor:
        """Tokens of each input of a split, int64 `n`."""
        dataset: Any = self.splits[split]
        return dataset.lengths  # type: ignore[no-any-return]

    def require_weights(self, weights: str) -> None:
        require_tokens_of(weights, self)

    def as_given(self, values: Sequence[Any], folder: Path) -> tuple[DataModule, Any]:
        """See `DataModule.as_given`: texts, or pairs of texts; they need no files."""
        return self, [held_text(f"input {i}", value, self.pair) for i, value in enumerate(values)]

    def clean(self, text: str) -> str:
        """A user's text, with what is not of it taken out as in training."""
        return text

    def texts_of(self, given: str | list[GivenText]) -> tuple[list[GivenText], list[dict[str, str]]]:
        """A user's texts, of a file, of a folder, or a text that was typed; and `Given.unread` of the files and texts.

        Raises:
            UserError: there is no such file, it holds no text, or none that is a pair where it has to be.
        """
        texts, unread = self.found_texts(given)
        return [text._replace(text=self.clean(text.text)) for text in texts], unread

    def found_texts(self, given: str | list[GivenText]) -> tuple[list[GivenText], list[dict[str, str]]]:
        """The same as they stand there."""
        if not isinstance(given, str):
            return answerable(given)
        files = given_files(given, self.endings)
        if not files:
            return answerable([self.given_line("", given)])
        read, unread = read_each(files, self.given_texts, "place")
        found = [text for _, texts in read for text in texts]
        require_texts(given, found)
        texts, wrong = answerable(found)
        return texts, [*wrong, *unread]

    def given_texts(self, file: Path) -> list[GivenText]:
        """The texts of a file: rows of a table, or a text on each line, the two of a pair with a tab between."""
        if is_table(file):
            cells = self.read_given(file)
            text, pair = self.columns_of(cells)
            return given_rows(cells, text, pair if self.pair else ())
        return [self.given_line(place, line) for place, line in lines_in(file, self.encoding)]

    def given_line(self, place: str, line: str) -> GivenText:
        """A text, or two with a tab between them."""
        if not self.pair:
            return GivenText(place, line)
        try:
            return GivenText(place, *two_sides(place, line, "two texts"))
        except UserError as error:
            return GivenText(place, line, error=str(error))

    def read_given(self, file: Path) -> Cells:
        """The cells of a user's table of texts."""
        return read_cells(file, encoding=self.encoding, expected=TEXT_COLUMNS)

    def columns_of(self, cells: Cells) -> tuple[Sequence[str], Sequence[str]]:
        """The columns of texts in a user's table, and those of second texts; several are joined.

        Raises:
            UserError: none is called so, and there are several.
        """
        wanted = 1 + self.pair
        known = [name for name in cells.names if name.casefold() in TEXT_COLUMNS]
        if not self.pair:
            known.sort(key=lambda name: TEXT_COLUMNS.index(name.casefold()))
        known = cells.names if len(known) < wanted == len(cells.names) else known
        if len(known) < wanted:
            raise UserError(
                f"{cells.path} is a table of the columns {some(cells.names)}: call that of the texts text"
                f"{', and that of the second ones pair' if self.pair else ''}, or give a file with a text on each line"
            )
        return known[:1], known[1:wanted]

    def loader(self, split: str, *, shuffle: bool = False) -> Loader:
        """Batches of a split for this process, of similar length; see `BucketOrder`."""
        dataset: BatchDataset = self.splits[split]
        order = BucketOrder(
            self.lengths_of(split),
            self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world=self.trainer.world_size if self.trainer else 1,
            labels=self.balance(split, shuffle),
        )
        return Loader(dataset, order, self.num_workers or 0)

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """Tokens and what belongs to them, as they are."""
        return batch

    def example_tokens(self, batch: int) -> tuple[Tensor, Tensor]:
        """Random tokens `b t` and lengths `b`; what fits a short input fits a long one."""
        steps = min(SHOWN, self.max_length)
        return torch.randint(self.vocab_size, (batch, steps)), torch.full((batch,), steps)

    def describe(self) -> EncodedDescription:
        return {"tokenizer": self.codec.describe(), "max_length": self.max_length}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Tokens are numbered as in the checkpoint."""
        self.known_codec = tokenizer_of(state_dict["tokenizer"])
        require_same(self.known_codec, self.tokenizer)

"""Files with a word and its columns on each line: CoNLL's shared tasks, CoNLL-U, and what people made after them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import UserError, nearest, some
from ..decoding import read_text

Sentence = tuple[list[str], list[str]]  # words and their tags
CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
NUMBER = re.compile(r"(\d+)(?:[-.]\d+)?")  # of a word; of several that are written as one; of one that is not written
NAMED = re.compile(r"#\s*global\.columns\s*=(.*)")
FILES = {
    "train": ("train.txt", "train.conll", "eng.train"),
    "val": ("valid.txt", "val.txt", "dev.txt", "dev.conll", "eng.testa"),
    "test": ("test.txt", "test.conll", "eng.testb"),
}
PARTS = {"train": ("train",), "val": ("dev", "valid", "val"), "test": ("test",)}  # of the names of other files
SHARED_TASK = {"train": ".train", "val": ".testa", "test": ".testb"}  # endings of CoNLL-2002 and 2003
NUMBERED = (".conll", ".conllu", ".conllup", ".iob", ".iob2", ".bio")  # no ending of a plain text
ENDINGS = (".txt", ".tsv", *NUMBERED)


class Tagged(NamedTuple):
    """What stands in a file.

    Attributes:
        sentences: words and their tags.
        places: of each tag, the file and line where it stands first.
        lines: in which each sentence begins.
        word, column: the numbers of the columns of words and tags, from 0.
        numbered: whether a column counts the words of each sentence.
    """

    sentences: list[Sentence]
    places: dict[str, str]
    lines: list[int]
    word: int
    column: int
    numbered: bool


class Block(NamedTuple):
    """The lines between two empty ones: their numbers, and their columns."""

    numbers: list[int]
    rows: list[list[str]]


def find_files(root: str, path: str | None) -> dict[str, Path]:
    """The files of the splits in a folder: those of `FILES`, or with train, dev and test as a part of their names.

    Raises:
        UserError: one is missing, or there are two.
    """
    folder = Path(root).expanduser() / "conll2003" if path is None else Path(path).expanduser()
    if folder.is_file():
        raise UserError(
            f"{folder} is a file: name the folder that has one for each split with data.path={folder.parent}"
        )
    found = {}
    for split, names in FILES.items():
        there = [folder / name for name in names if (folder / name).is_file()]
        there = there or named_after(folder, split)
        if not there:
            raise UserError(
                f"{folder} holds no {' or '.join(names)}, nor a file such as en-ud-{PARTS[split][0]}.conllu: put "
                "your files of words and tags there, or name their folder with data.path=FOLDER (the texts of "
                "CoNLL-2003 are Reuters' and need a licence from NIST)"
            )
        found[split] = there[0]
    return found


def named_after(folder: Path, split: str) -> list[Path]:
    """The file of a split by a part of its name, as en_ewt-ud-train.conllu, or by its ending, as deu.testa.

    Raises:
        UserError: there are several.
    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [
        f for f in files if f.suffix == SHARED_TASK[split]
        or (f.suffix.lower() in ENDINGS and set(PARTS[split]) & set(re.split(r"[-_.]", f.stem.lower())))
    ]  # fmt: skip
    if len(found) > 1:
        raise UserError(
            f"{folder} holds {found[0].name} and {found[1].name}: name a folder with one file for each split with "
            "data.path=FOLDER"
        )
    return found


def read_columns(
    path: Path, column: int | str | None = None, word: int | str | None = None, encoding: str = "utf-8"
) -> Tagged:
    """The sentences of a file: a word and its columns a line, blanks or tabs between, an empty line after a sentence.

    Lines that begin with -DOCSTART-, and comments before a sentence, which begin with #, are left out. Where the first
    column numbers the words of each sentence, as in CoNLL-U (Nivre et al. 2020, arXiv:2004.10643), the word is in the
    second one, and numbers such as 4-5 (two words that are written as one) and 8.1 (a word that is not written) are
    left out. Ten such columns have CoNLL-U's names; a line `# global.columns = ...` names them too.

    Args:
        path: the file.
        column: of the tag, its number from 0 (-1 is the last) or its name; None: UPOS if it is named, else the last.
        word: of the word, likewise; None: the first one, or the second behind numbers.
        encoding: of the file.

    Raises:
        UserError: a line has no such column, or another number of them than the first; it is named by its number.
    """
    blocks, names = read_blocks(path, encoding)
    counted = [block.rows for block in blocks if any(not row[0].startswith("#") for row in block.rows)]
    numbered = bool(counted) and 2 * sum(map(is_numbered, counted)) >= len(counted)
    blocks = without_comments(blocks, numbered)
    if not blocks:
        raise UserError(f"{path} holds no sentence")
    width = len(blocks[0].rows[0])
    if numbered and width == len(CONLLU):
        names = names or CONLLU
    if word is None:
        word = "form" if names and "form" in names else int(numbered)
    if column is None:
        column = "upos" if names and "upos" in names else -1
    of_word, of_tag = place(path, "word", word, width, names), place(path, "column", column, width, names)
    sentences, places, lines = [], dict[str, str](), []
    for block in blocks:
        words: list[str] = []
        tags: list[str] = []
        for number, row in zip(*block, strict=True):
            if len(row) != width or not 0 <= of_tag < width or not 0 <= of_word < width or of_tag == of_word:
                raise UserError(
                    f"{path}, line {number}: {len(row)} columns, where {width} are in the first line, and the tags "
                    f"are looked for in column {column}: give a word and its columns in each line, and data.column"
                )
            if numbered and not follows(row[0], len(words)):
                if NUMBER.fullmatch(row[0]) and not row[0].isdigit():
                    continue
                raise UserError(
                    f"{path}, line {number}: {row[0]!r} stands where the number of a word is expected: number the "
                    "words of each sentence, with an empty line after it"
                )
            if not row[of_tag].strip():
                raise UserError(f"{path}, line {number}: the tag of {some([row[of_word]])} is empty: give it one")
            words.append(row[of_word])
            tags.append(row[of_tag])
            places.setdefault(row[of_tag], f"{path}, line {number}")
        if words:
            sentences.append((words, tags))
            lines.append(block.numbers[0])
    return Tagged(sentences, places, lines, of_word, of_tag, numbered)


def read_blocks(path: Path, encoding: str) -> tuple[list[Block], tuple[str, ...] | None]:
    """The blocks of a file, with comments, and the names of its columns if it says them."""
    blocks, names = [Block([], [])], None
    for number, line in enumerate(read_text(path, encoding).split("\n"), 1):
        if not line.strip():
            blocks.append(Block([], []))
            continue
        if found := NAMED.match(line):
            names = tuple(found[1].lower().split())
        row = line.split("\t") if "\t" in line else line.split()
        if row[0] != "-DOCSTART-":
            blocks[-1].numbers.append(number)
            blocks[-1].rows.append(row)
    if all(len(row) > 1 and not row[-1].strip() for block in blocks for row in block.rows if not is_comment(row)):
        for row in (row for block in blocks for row in block.rows if not is_comment(row)):
            row.pop()  # a tab ends each line
    return [block for block in blocks if block.rows], names


def is_comment(row: Sequence[str]) -> bool:
    """Whether a line may be a comment; one that begins with # may be a word, too."""
    return row[0].startswith("#") and (row[0] == "#" or row[0].startswith("# ") or "=" in "".join(row))


def follows(number: str, before: int) -> bool:
    """Whether this is the number of a word with so many words before it in its sentence; some count from 0."""
    return number.isdigit() and int(number) in (before, before + 1)


def is_numbered(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first column counts the words of a sentence."""
    matches = [NUMBER.fullmatch(row[0]) for row in rows if not row[0].startswith("#")]
    counted = [int(match[0]) for match in matches if match and match[0] == match[1]]
    return (
        None not in matches
        and bool(counted)
        and counted == list(range(first := min(counted[0], 1), first + len(counted)))
    )


def without_comments(blocks: Sequence[Block], numbered: bool) -> list[Block]:
    """Blocks without the comments at their beginnings.

    Where words are not numbered, a line that begins with # is a word if it has as many columns as others, and behind a
    blank also a last one that others have.
    """
    rows = [row for block in blocks for row in block.rows if not row[0].startswith("#")]
    width, known = len(rows[0]) if rows else 0, {row[-1] for row in rows}

    def first_word(block: Block) -> int:
        for i, row in enumerate(block.rows):
            is_word = len(row) == width and (row[0] != "#" or row[-1] in known)
            if not row[0].startswith("#") or (not numbered and (is_word or not is_comment(row))):
                return i
        return len(block.rows)

    found = [Block(block.numbers[i:], block.rows[i:]) for block in blocks for i in [first_word(block)]]
    return [block for block in found if block.rows]


def place(path: Path, key: str, column: int | str, width: int, names: Sequence[str] | None) -> int:
    """The number of a column from 0 on; one that is not there is out of the range.

    Raises:
        UserError: there is none of this name.
    """
    if isinstance(column, int):
        return column + width if column < 0 else column
    if names is None:
        raise UserError(f"{path} has no names of columns, so that data.{key}={column} is none: give its number, from 0")
    if column.lower() not in names:
        raise UserError(f"{path} has no column {column!r} for data.{key}{nearest(column.lower(), list(names))}")
    return names.index(column.lower())

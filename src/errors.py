"""The one kind of exception whose message is for the person at the keyboard."""

import contextlib
import difflib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence

LISTED = 20  # known words, at most, where none is near
LONGEST = 40  # characters of a user's word in a message


class UserError(ValueError):
    """A mistake in the input: one sentence that says what is wrong and what to type instead.

    The command line prints it without a traceback and exits with status 2.
    """


class Stopped(Exception):
    """A run that was asked to stop by a signal, and has saved.

    Args:
        number: of the signal.
        unsaved: why it has not.
    """

    def __init__(self, number: int, unsaved: str | None = None) -> None:
        super().__init__(f"stopped by signal {number}")
        self.number, self.unsaved = number, unsaved


def nearest(word: str, known: list[str]) -> str:
    """«: did you mean ...» with the nearest known word, or the list of them where none is near."""
    close = difflib.get_close_matches(word, known, n=2, cutoff=0.5)
    if close:
        return f": did you mean {' or '.join(close)}?"
    return f": it is one of {some(known, LISTED)}"


def some(words: Iterable[object], most: int = 10) -> str:
    """Words as they stand in a sentence: the first ones of many, and long ones cut, so that it stays one.

    >>> some(range(3)), some("abcdef", 4), some(["x" * 100])[-3:]
    ('0, 1, 2', 'a, b, c, d and 2 more', 'xx…')
    """
    cut = [text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for text in map(str, words)]
    return ", ".join(cut[:most]) + (f" and {len(cut) - most:,} more" if len(cut) > most else "")


def ending_in(word: str, known: Sequence[str]) -> list[str]:
    """The keys of which a word is the last part, or else ends it, as `epochs` does max_epochs; the least deep ones.

    >>> ending_in("lr", ["optim.lr", "model.lr_scale"]), ending_in("epochs", ["trainer.max_epochs", "data.root"])
    (['optim.lr'], ['trainer.max_epochs'])
    """
    last = [key for key in known if key.rpartition(".")[2] == word]
    found = last or [key for key in known if key.rpartition(".")[2].endswith(f"_{word}")]
    depth = min((key.count(".") for key in found), default=0)
    return [key for key in found if key.count(".") == depth][:2]


def lacking(extra: str = "train") -> list[str]:
    """The packages of an extra of this one that are not installed.

    >>> lacking("no such extra")
    []
    """
    import importlib.metadata  # which costs as much time as all else that `torchatlas list` imports

    found = []
    for line in importlib.metadata.requires("torchatlas") or ():
        name, marked = re.match(r"[\w.-]+", line), re.search(r"""extra == ['"]([\w-]+)""", line)
        if name and marked and marked[1] == extra:
            try:
                importlib.metadata.version(name[0])
            except importlib.metadata.PackageNotFoundError:
                found.append(name[0])
    return found


@contextlib.contextmanager
def needing_toolkit(what: str) -> Iterator[None]:
    """Around imports that the zoo alone has no packages for.

    Args:
        what: what needs them, as in "torchatlas train".

    Raises:
        UserError: a module is missing since the toolkit is not installed; it says how to install it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if not (absent := lacking()):
            raise
        raise UserError(
            f'{what} needs {some(absent, 3)}, which the zoo alone does not: type pip install "torchatlas[train]"'
        ) from error


def debug_words(words: Sequence[str]) -> list[str]:
    """`debug=true` asks for the traceback of a mistake; other values of debug are configs, and stay."""
    if "debug=true" in words:
        os.environ["TORCHATLAS_TRACEBACK"] = "1"  # also for further processes
    return [word for word in words if word not in ("debug=true", "debug=false")]


def tell(error: BaseException, sentence: str) -> None:
    """Say what is wrong on the standard error, behind the traceback if that was asked for."""
    if os.environ.get("TORCHATLAS_TRACEBACK", "0") not in ("", "0"):
        traceback.print_exception(error)
    print(f"torchatlas: {sentence}", file=sys.stderr)

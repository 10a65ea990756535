"""The one kind of exception whose message is for the person at the keyboard."""

import difflib
import os
import sys
import traceback
from collections.abc import Sequence


class UserError(ValueError):
    """A mistake in the input: one sentence that says what is wrong and what to type instead.

    The command line prints it without a traceback and exits with status 2.
    """


class Stopped(Exception):
    """A run that was asked to stop by a signal, and has saved."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.number = number


def nearest(word: str, known: list[str]) -> str:
    """«: did you mean ...» with the nearest known word, or the list of them where none is near."""
    close = difflib.get_close_matches(word, known, n=2, cutoff=0.5)
    if close:
        return f": did you mean {' or '.join(close)}?"
    return f": it is one of {', '.join(known)}"


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

"""The one kind of exception whose message is for the person at the keyboard."""

import difflib


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

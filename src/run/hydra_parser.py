"""Hydra's parser of the command line on Python 3.14."""

import argparse
import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def lazy_help() -> Iterator[None]:
    """While Hydra makes its parser, a help that is no text is not looked into.

    Hydra 1.3 gives the option --shell-completion an object that becomes text when help is printed. Python 3.14's
    argparse formats each help as soon as it is added, and refuses that one («badly formed help string»).
    """
    check = getattr(argparse._ActionsContainer, "_check_help", None)
    if check is None:  # Python 3.13 and older
        yield
        return

    def of_texts(self: Any, action: argparse.Action) -> None:
        if isinstance(action.help, str):
            check(self, action)

    setattr(argparse._ActionsContainer, "_check_help", of_texts)  # noqa: B010 (mypy does not know the attribute)
    try:
        yield
    finally:
        setattr(argparse._ActionsContainer, "_check_help", check)  # noqa: B010

"""The command `torchatlas`: one word chooses a file of `commands`, and the others are its function's arguments."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from .commands import words
from .commands.signature import read
from .errors import UserError, needing_toolkit, tell
from .version import __version__


def run(typed: Sequence[str]) -> Any:
    """Do what was typed behind `torchatlas`; returns what the command's function does."""
    name, *rest = typed or ["help"]
    if name == "--version":
        return print(__version__)
    if name == "--complete":
        from .commands.completion import complete

        return complete(rest)
    command = read("help" if name in ("-h", "--help") else name)
    if command.words != "raw" and (rest == ["help"] or {"-h", "--help"} & set(rest)):
        command, rest = read("help"), [command.name]
    with needing_toolkit(f"torchatlas {command.name}"):
        return words.call(command, rest)


def main(typed: Sequence[str] | None = None) -> None:
    """Entry point of the console script: a mistake is one sentence and status 2, an interrupt has status 130.

    Args:
        typed: the words behind `torchatlas`; those of the terminal where there are none.
    """
    try:
        run(sys.argv[1:] if typed is None else typed)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and not (error.code == 1 and isinstance(error.__context__, KeyboardInterrupt)):
            raise  # an exit with status 1 is what Lightning makes of an interrupt
        print("torchatlas: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if "hydra" not in sys.modules:  # which a sentence alone does not need
            if not isinstance(error, UserError):
                raise
            tell(error, str(error))
            sys.exit(2)
        from .run.mistakes import is_mistake, refuse

        if not is_mistake(error):
            raise
        refuse(error, sys.argv[1:])


if __name__ == "__main__":
    main()

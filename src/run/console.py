"""The terminal: log lines that do not tear the progress bar."""

import contextlib
import logging
import textwrap
import warnings
from collections.abc import Collection, Iterator, Sequence

import rich
from rich.table import Table
from rich.text import Text


class ConsoleHandler(logging.Handler):
    """Prints through the console that the progress bar also uses.

    A terminal gets what a record has as `short`, where it has one, folded to its width; others get whole lines.
    """

    def emit(self, record: logging.LogRecord) -> None:
        console = rich.get_console()
        try:
            text = self.format(record)
            if console.is_terminal:
                text = folded(getattr(record, "short", text), console.width)
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        except Exception:  # as in logging.StreamHandler: a log line must not end the program
            self.handleError(record)


def folded(text: str, width: int) -> str:
    r"""Lines of at most so many characters, broken between words; one word that is longer stays whole, as a path does.

    >>> folded("plan: 60 steps of 64 samples", 20)
    'plan: 60 steps of 64\n  samples'
    """
    lines = (
        textwrap.wrap(
            line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False,
            replace_whitespace=False, drop_whitespace=True,
        )
        if len(line) > width
        else [line]
        for line in text.split("\n")
    )  # fmt: skip
    return "\n".join(part for parts in lines for part in parts)


def quiet_libraries() -> None:
    """Advice of the libraries that does not apply here stays out of the log."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*`training_step` and `validation_step` should.*")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*recommended to use `self.log.*sync_dist=True.*")  # they are reduced
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*The `srun` command is available.*")
    warnings.filterwarnings("ignore", message=".*Found .* module.* in eval mode at the start of training.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # its order is, see Checkpoint
    warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint need to be provided.*")


@contextlib.contextmanager
def logged_by(handler: logging.Handler, form: str) -> Iterator[None]:
    """Messages from INFO on go to this handler, too."""
    root = logging.getLogger()
    level = root.level
    handler.setFormatter(logging.Formatter(form))
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()


def print_table(columns: Sequence[str], lines: Sequence[Sequence[str]], right: Collection[int]) -> None:
    """A table in a terminal, aligned lines elsewhere; `right` are the columns of numbers."""
    console = rich.get_console()
    if console.is_terminal:
        table = Table()
        for i, column in enumerate(columns):
            table.add_column(column, justify="right" if i in right else "left")
        for line in lines:
            table.add_row(*map(Text, line))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *lines, strict=True)]
    for line in (columns, *lines):
        words = (f"{w:>{n}}" if i in right else f"{w:<{n}}" for i, (w, n) in enumerate(zip(line, widths, strict=True)))
        print("  ".join(words).rstrip())

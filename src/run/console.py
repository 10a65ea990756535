"""The terminal: log lines that do not tear the progress bar."""

import contextlib
import logging
import warnings
from collections.abc import Collection, Iterator, Sequence

import rich
from rich.table import Table
from rich.text import Text


class ConsoleHandler(logging.Handler):
    """Prints through the console that the progress bar also uses."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            rich.get_console().print(self.format(record), markup=False, highlight=False, soft_wrap=True)
        except Exception:  # as in logging.StreamHandler: a log line must not end the program
            self.handleError(record)


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

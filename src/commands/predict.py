"""The command `torchatlas predict`: what a network says of a user's files."""

import json
import logging
import os
import sys
from typing import Any

import rich
from rich.table import Table
from rich.text import Text

from ..errors import UserError
from ..predict.registry import Trained, find, taken, usage
from ..predict.rows import ERROR, file_for, table
from ..run.console import logged_by
from ..run.devices import device_of
from ..run.restore import reader, restore


def predict(ckpt: str, input: str, output: str = "", **options: Any) -> None:
    """What a network says of a user's file, or of all files in a folder.

    Images, sounds and texts get their likeliest classes; texts get entities, answers, or bits per character and a
    continuation; tables of series get forecasts or anomalies; masks go into the folder output. An option that does
    nothing for a checkpoint is refused. Each answer is written as soon as it is known. A file of a folder that cannot
    be read has the reason under error in place of an answer, and the status is 1 at the end.

    Args:
        ckpt: a run folder, of which the best checkpoint is taken, or a checkpoint.
        input: a file or a folder; of a classifier of texts a text itself, too.
        output: a CSV file; of masks a folder.
        options: of the function that answers, see `predict.registry`.

    Examples:
        torchatlas predict ckpt=runs/resnet18-cifar10 input=photos top=3 output=classes.csv
        torchatlas predict ckpt=runs/unet-pets input=photos output=masks
    """
    path, task, about = restore(ckpt)
    checkpoint = Trained.of_checkpoint(task, about)
    answerer = find("predict", checkpoint)
    if answerer is None:
        use, _ = usage(checkpoint)
        advice = f": use torchatlas {use}" if use != "evaluate" else ""
        raise UserError(f"{path} was trained for {task.name} on {checkpoint.kind}, which predict cannot read{advice}")
    options = taken(answerer, checkpoint, options, own=("output",))
    if "output" in answerer.options:  # it writes its files itself
        options["output"], output = output, ""
    data = reader(about)
    file = file_for(output, input, data.endings) if output else None
    task.place(device_of())
    terminal = rich.get_console().is_terminal
    rows: list[dict[str, Any]] = []
    number = failed = 0
    folder = os.path.isdir(os.path.expanduser(input))  # of a long text, too, which is no path
    with logged_by(logging.StreamHandler(), "%(message)s"), table(file, errors=folder) as write:
        for row in answerer.load()(task, data, input, **options):
            write(row)
            number, failed = number + 1, failed + (ERROR in row)
            if terminal:
                rows.append(row)
            else:  # a million of them need not be kept
                print(json.dumps(row), flush=True)
    if terminal:
        print_rows(rows)
    if failed:
        print(f"torchatlas: {failed} of {number} could not be answered, see {ERROR}", file=sys.stderr)
        sys.exit(1)


def print_rows(rows: list[dict[str, Any]]) -> None:
    """A table in the terminal."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    shown = Table(*columns)
    for row in rows:
        values = (row.get(column, "") for column in columns)
        shown.add_row(*(Text(f"{v:.4f}" if isinstance(v, float) else str(v)) for v in values))
    rich.get_console().print(shown)

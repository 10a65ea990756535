"""The process of one contestant of `torchatlas bench`, from its first line to its last.

Nothing of torchatlas beyond the stopwatch is imported for a script of somebody else.
"""

import logging
import os
import runpy
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .watch import Watch

MEANT = {
    "torchatlas": "our trainer with the callbacks and loggers of the config",
    "alone": "our trainer without callbacks and loggers",
    "loop": "a plain loop around our data and our step",
    "naive": "as tutorials have it: one sample at a time, DataLoader, torch's optimiser",
    "lightning": "Lightning's trainer as it is, with the data set of naive",
    "huggingface": "the Trainer of transformers, with the data set of naive",
}
NEEDS = {"naive": ("torchvision",), "lightning": ("torchvision",), "huggingface": ("transformers", "accelerate")}
OUTPUT = "output.txt"  # what a contestant prints, in its folder


def play(connection: Any, job: Mapping[str, Any], begun: float) -> None:
    """Train until the other end of the connection has seen enough.

    Args:
        connection: see `Watch`; what goes wrong is sent as a text.
        job: `name`, `threads`, and `folder` for what it writes; `config`, plain, or of a script `script`, `arguments`.
        begun: see `Watch`.
    """
    folder = Path(job["folder"])
    log = os.open(folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    torch.set_num_threads(job["threads"])
    watch = Watch(connection, begun)
    try:
        if "script" in job:
            run_script(Path(job["script"]), job["arguments"], folder)
        else:
            _contestant(job, folder, watch)
        connection.send("it ended before it was told to")
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        connection.send(" ".join(f"{type(error).__name__}: {error}".split())[:300])
    sys.stdout.flush()
    os._exit(1)


def _contestant(job: Mapping[str, Any], folder: Path, watch: Watch) -> None:
    from lightning import seed_everything

    from .console import quiet_libraries
    from .contestants import CONTESTANTS

    warnings.simplefilter("ignore")
    quiet_libraries()
    logging.getLogger("torchatlas").setLevel(logging.WARNING)
    seed_everything(job["config"]["seed"], verbose=False)
    CONTESTANTS[job["name"]](job["config"], folder, watch)


def run_script(script: Path, arguments: list[str], folder: Path) -> None:
    """Somebody's program, as its author runs it, but in a folder where it may write."""
    os.chdir(folder)
    sys.path.insert(0, str(script.parent))
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")

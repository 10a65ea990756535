"""Training from Python: the words of the command line in, a run out."""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

from ..data.held import hold
from ..errors import UserError
from ..predict.out_of_fold import write_out_of_fold
from ..run.auto import begun_or_resumed, meant
from ..run.check import check_training, fits
from ..run.compose import Composed, composed, understood
from ..run.console import ConsoleHandler, quiet_libraries
from ..run.from_config import based, begun_from
from ..run.mistakes import in_a_sentence
from ..run.reopen import reopened
from ..run.saved import saved_config
from ..run.seeds import run_series
from ..run.summary import describe_changes
from ..run.trust import accept, with_what_is_typed
from ..storage.random_state import random_state, restore_random_state
from ..storage.run_folder import (
    discard,
    find_checkpoint,
    folder_of,
    is_series,
    made,
    new_folder,
    require_new,
    tell_others,
)
from ..train import execute
from .own_data import own_words, splits_in
from .runs import Run
from .words import words_of

log = logging.getLogger(__name__)
OURS = logging.getLogger("torchatlas")
FOLDER = "hydra.run.dir"
TRAINING = threading.RLock()  # random state, threads, Hydra and logging are of the process
INTERRUPTED = 128 + signal.SIGINT


def train(
    *words: str, data: Any = None, val: Any = None, test: Any = None, resume: Any = None,
    folder: str | os.PathLike[str] | None = None, callbacks: Any = None, **settings: Any,
) -> Run:  # fmt: skip
    """Train a network, as `torchatlas train` does; its lines of progress are printed, in a notebook too.

    Args:
        words: the name of a model or an experiment, and words of the command line, as in "optim.lr=0.1".
        data: the name of a data set of the zoo; or your own: a `torch.utils.data.Dataset` or `DataLoader` that gives
            pairs of input and target, a pair of arrays, a dictionary of such for "train", "val" and "test", or a
            `LightningDataModule`. Images as PIL images or uint8 are prepared as those of the zoo; other inputs go to
            the network as they are. Classes, channels and sizes are found by looking.
        val, test: your own data for validation and test. Without val a tenth of data is taken (`data__val_share`),
            always the same; without test nothing is tested.
        resume: a run or its folder, with which it goes on; "auto": the run of these words, which begins where there is
            none.
        folder: of the run, which is made; else `runs/<model>-<data>/<time>`.
        callbacks: callbacks of Lightning beside those of the run; or a choice of the zoo, as "none".
        settings: the other words: groups, as in `schedule="linear"`, and keys with two underscores for a point, as in
            `optim__lr=0.1`, `trainer__max_epochs=5`.

    Returns:
        The run: its figures, its folder, its network; see `Run`.

    Raises:
        UserError: a mistake in the words, for which there is nothing left; it says what is meant.
        KeyboardInterrupt: it was interrupted, and has saved: `torchatlas.train(resume="auto")` goes on.

    Example:
        run = torchatlas.train("resnet18", data="cifar10", optim__lr=0.1)
        run.figures["test/accuracy"]
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker that begins with the user's program
        raise UserError(
            "processes that read begin with your program anew: put the call under if __name__ == '__main__':"
        )
    own = [callbacks] if isinstance(callbacks, lightning.Callback) else callbacks
    if not isinstance(own, list | tuple):
        settings |= {} if callbacks is None else {"callbacks": callbacks}
        own = []
    if isinstance(data, str) or data is None:
        if val is not None or test is not None:
            raise UserError("val= and test= go with data of your own: give data= for training too")
        settings |= {} if data is None else {"data": data}
    settings |= {} if resume is None else {"resume": getattr(resume, "folder", resume)}
    asked = words_of(words, settings)
    if folder is not None:
        asked += words_of([], {FOLDER: Path(folder).expanduser()})
    require_one_run(asked)
    if data is not None and not isinstance(data, str):
        if (where := value_of(asked, "resume")) is None:
            asked = own_words(data, val, test, asked) + asked
        else:
            hold(splits_in(data, val, test), saved_config(folder_of(find_checkpoint(where))).data.get("held"))
    with alone(), in_a_sentence(asked), left_as_it_was(), with_what_is_typed():
        return Run(begun(asked, own))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One training at a time: two threads would draw from one random state, and set it for one another."""
    if not TRAINING.acquire(blocking=False):
        log.warning("another thread trains: this training begins when that one has ended")
        TRAINING.acquire()
    try:
        yield
    finally:
        TRAINING.release()


def require_one_run(words: Sequence[str]) -> None:
    """Refuse words that start programs, of which this one is none.

    Raises:
        UserError: it names the word and what to write instead.
    """
    for word in words:
        if word in ("-m", "--multirun"):
            raise UserError(f"{word} starts several runs: call train in a loop, once for each")
        if word.startswith("-") or (word.startswith(("hydra.", "hydra/")) and not word.startswith(f"{FOLDER}=")):
            raise UserError(f"{word} is for the command line: leave it out, or type torchatlas train ...")


def begun(words: Sequence[str], callbacks: Sequence[lightning.Callback]) -> Path:
    """Train, anew or on from a checkpoint; returns the run folder.

    Raises:
        UserError: see `train`.
        KeyboardInterrupt: see `train`.
    """
    try:
        with contextlib.ExitStack() as claims:
            arguments = begun_or_resumed(understood(words), claims)
            if arguments is None:  # it has come to its end
                return Path(str(meant([word for word in words if not word.startswith("resume=")]))).absolute()
            named = {key: value_of(arguments, key) for key in (FOLDER, "resume")}
            rest = [word for word in arguments if word.partition("=")[0] not in named]
            if named["resume"] is None:
                return begin(rest, named[FOLDER], callbacks)
            folder = Path(str(named[FOLDER]))
            go_on(folder, str(named["resume"]), rest, callbacks)
            return folder
    except SystemExit as error:  # after a signal, when the run has saved
        if error.code in (1, INTERRUPTED):
            raise KeyboardInterrupt from None
        raise
    except Exception:
        discard()
        raise
    finally:
        made.clear()


def begin(words: Sequence[str], where: str | None, callbacks: Sequence[lightning.Callback]) -> Path:
    """A new run; returns its folder."""
    laid = based(words)
    asked = composed(laid)
    if asked.config.config is not None:
        asked = begun_from(asked.config, laid, asked.choices, words)
    one_process(asked.config)
    accept(asked.plain())
    data = fits(asked)
    folder = Path(where or new_folder(asked.config.name)).absolute()
    if not folder.exists():
        made.add(folder)
        folder.mkdir(parents=True)
    require_new(folder)
    with logged_in(folder):
        tell_others(folder)
        if asked.config.seeds is not None or asked.config.folds is not None:
            run_series(execute, asked, folder, write_out_of_fold)
        else:
            execute(asked, folder, None, data, callbacks=callbacks)
    return folder


def go_on(folder: Path, where: str, words: Sequence[str], callbacks: Sequence[lightning.Callback]) -> None:
    """On from a checkpoint, or with the seeds that are left."""
    with logged_in(folder):
        if is_series(folder):
            run_series(execute, Composed(saved_config(folder), {}, words), folder, write_out_of_fold)
            return
        path = find_checkpoint(where)
        asked = reopened(folder, path, words, words)
        one_process(asked.config)
        check_training(asked.config)
        if asked.changed:
            log.info(describe_changes(asked.changed))
        execute(asked, folder, path, callbacks=callbacks)


def value_of(words: Sequence[str], key: str) -> str | None:
    """The value of the last word with a key, without its quotes; None where there is none, or null."""
    found = [word for word in words if word.startswith(f"{key}=")]
    value = OverridesParser.create().parse_override(found[-1]).value() if found else None
    return None if value in (None, "") else str(value)


def one_process(config: Any) -> None:
    """Train on one device: the processes of others would begin with the user's program, from its first line.

    Raises:
        UserError: several are asked for.
    """
    trainer = config.trainer
    if trainer.devices == "auto":
        trainer.devices, trainer.strategy = 1, "auto"
        if trainer.accelerator != "cpu" and torch.cuda.device_count() > 1:
            log.info("one of %d GPUs is used: torchatlas train uses all", torch.cuda.device_count())
    if trainer.strategy not in (None, "auto") or trainer.devices not in (1, "1"):
        several = not isinstance(trainer.devices, int | str) and len(trainer.devices) == 1
        if several and trainer.strategy in (None, "auto"):
            return  # a list of one GPU
        raise UserError(
            "several devices have a process each, which a program cannot start from within: use trainer__devices=1, or "
            "type torchatlas train with these words"
        )


@contextlib.contextmanager
def logged_in(folder: Path) -> Iterator[None]:
    """Our lines go to the terminal or the notebook, and with dates to `train.log` in the run folder."""
    file = logging.FileHandler(folder / "train.log", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    console = ConsoleHandler()
    level, propagates = OURS.level, OURS.propagate
    handlers = (console, file)
    for handler in handlers:
        OURS.addHandler(handler)
    OURS.setLevel(logging.INFO)
    OURS.propagate = False  # a handler of the user's own would say each line once more
    try:
        yield
    finally:
        OURS.setLevel(level)
        OURS.propagate = propagates
        for handler in handlers:
            OURS.removeHandler(handler)
            handler.close()


@contextlib.contextmanager
def left_as_it_was() -> Iterator[None]:
    """After a training, what it sets for the process is as before: random state, threads, Hydra, warnings."""
    state, threads = random_state(), torch.get_num_threads()
    hydra, config = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    environment = {key: os.environ.get(key) for key in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")}
    libraries = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [library.level for library in libraries]
    try:
        with warnings.catch_warnings():
            quiet_libraries()
            yield
    finally:
        restore_random_state(state)
        torch.set_num_threads(threads)
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = hydra, config
        for library, level in zip(libraries, levels, strict=True):
            library.setLevel(level)
        for key, value in environment.items():
            os.environ.pop(key, None)
            os.environ.update({} if value is None else {key: value})

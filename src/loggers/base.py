"""What every logger has in common, and how several are told the same."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import lightning
import numpy as np
from lightning.pytorch.loggers import Logger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from ..errors import UserError, nearest
from ..storage.files import read_json, write_json
from ..storage.run_folder import is_series

log = logging.getLogger(__name__)
IDS = "loggers.json"  # in a run folder: under which number a tracker knows the run
Outcome = Literal["finished", "stopped", "failed"]


class At(NamedTuple):
    """A place in a run: optimiser steps so far, and the number of an epoch where what is told is of one."""

    step: int
    epoch: int | None = None


class Shown(Protocol):
    """What is neither a figure nor a text, and knows how a logger shows it."""

    def show(self, logger: "RunLogger", tag: str, at: At) -> None: ...


class RunLogger(Logger):
    """A logger of one run. It is built on all processes, and opens nothing before `begin`, which the first one calls.

    A subclass has what it can do; the rest is left out. Figures have the names of `metrics.jsonl` (`train/loss`,
    `val/accuracy`, `test/...`), with the epoch, and `step/...` between epochs, without.

    Args:
        folder: the run folder.
        config: the run's, resolved.

    Attributes:
        title: its name for a reader.
        requires: the module that it needs, and the extra that installs it; None: nothing beyond what training needs.
        pictures: whether it can show figures, texts or sounds, so that they have to be drawn.
        state: "new" until it has begun, then "open", and "over" when it was closed or has failed.
    """

    title: ClassVar[str]
    requires: ClassVar[tuple[str, str] | None] = None
    pictures: bool = True

    def __init__(self, folder: Path, config: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.folder, self.config = Path(folder), config or {}
        self.state: Literal["new", "open", "over"] = "new"

    @classmethod
    def check(cls, chosen: Mapping[str, Any]) -> None:
        """Refuse, before anything is read, what cannot be used.

        Args:
            chosen: its section of the config.

        Raises:
            UserError: a library is not installed, or a value is wrong.
        """
        if cls.requires is not None and find_spec(cls.requires[0]) is None:
            module, extra = cls.requires
            raise UserError(
                f"logger={extra} needs {cls.title}, which is not installed ({module}): pip install "
                f'"torchatlas[{extra}]", or leave it out'
            )

    # --- what a subclass says

    def begin(self, behind: At | None) -> None:
        """Open it.

        Args:
            behind: what the run has had, where it goes on: what lies after it comes once more.
        """

    def figures(self, values: Mapping[str, float], at: At) -> None:
        """Points of curves."""

    def summary(self, values: Mapping[str, float], at: At) -> None:
        """`final/...`, `best/...` and `test/...` as they are by now: one number each, that the next one replaces."""

    def picture(self, tag: str, figure: Figure, at: At) -> None:
        """A figure of matplotlib."""

    def text(self, tag: str, text: str, at: At) -> None:
        """Markdown."""

    def sound(self, tag: str, wave: Tensor, sample_rate: int, at: At) -> None:
        """A waveform `n` from -1 to 1, and its sample rate in hertz."""

    def points(self, tag: str, points: Tensor, texts: list[str]) -> None:
        """Points `n d` of a space of many dimensions, and a text of each, in place of what was there."""

    def graph(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """The network as it computes for these inputs."""

    def flush(self) -> None:
        """What was told so far has to outlast the process."""

    def end(self, outcome: Outcome) -> None:
        """Close it; a run that was stopped can go on."""

    def hint(self) -> str:
        """What to type in order to look at it, or ""."""
        return ""

    # --- what Lightning calls

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The run's config is known already."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """What a task or callback of one's own logs by `self.log`."""
        each([self], lambda one: one.figures({k: float(v) for k, v in metrics.items()}, At(step or 0)))

    def finalize(self, status: str) -> None:
        """Lightning's end of a training or a test, of which a run has both."""
        if self.state == "open":
            each([self], lambda one: one.flush())


class Foreign(RunLogger):
    """Any other logger of Lightning's kind: it gets the config, figures, and pictures where it has `log_image`."""

    def __init__(self, logger: Logger, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(Path(), config)
        self.logger, self.title = logger, type(logger).__name__  # type: ignore[misc]
        self.pictures = callable(getattr(logger, "log_image", None))

    def begin(self, behind: At | None) -> None:
        self.logger.log_hyperparams(flat(self.config))

    def figures(self, values: Mapping[str, float], at: At) -> None:
        of_epoch = {} if at.epoch is None else {"epoch": float(at.epoch)}
        self.logger.log_metrics(of_epoch | dict(values), at.step)

    def summary(self, values: Mapping[str, float], at: At) -> None:
        if best := {key: value for key, value in values.items() if key.startswith("best/")}:
            self.logger.log_metrics(best, at.step)

    def picture(self, tag: str, figure: Figure, at: At) -> None:
        if self.pictures:
            self.logger.log_image(tag, [image_of(figure)], at.step)  # type: ignore[attr-defined]

    def flush(self) -> None:
        self.logger.save()


# --- several at once


def each(loggers: Iterable[RunLogger], say: Callable[[RunLogger], None]) -> None:
    """Tell all of them. One that fails, as when the network is lost, is told nothing more, and the run goes on."""
    for logger in loggers:
        if logger.state == "over":
            continue
        try:
            if logger.state == "new":  # under a trainer of one's own
                logger.begin(None)
                logger.state = "open"
            say(logger)
        except Exception as error:  # of any kind: a tracker must not end a training
            logger.state = "over"
            log.warning("%s gets nothing more of this run, which goes on: %s", logger.title, said(error))


def said(error: Exception) -> str:
    """An exception of a library in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")


def loggers_of(trainer: lightning.Trainer) -> list[RunLogger]:
    """Those of a run, on its first process; elsewhere none."""
    if not trainer.is_global_zero:
        return []
    return [known(logger) for logger in trainer.loggers]


def known(logger: Logger) -> RunLogger:
    """A logger as one of ours; the same for the same."""
    if isinstance(logger, RunLogger):
        return logger
    found = vars(logger).get("_torchatlas")
    if found is None:
        found = vars(logger)["_torchatlas"] = Foreign(logger)
    return found  # type: ignore[no-any-return]


def begin_all(loggers: Iterable[RunLogger], config: Mapping[str, Any], behind: At | None) -> None:
    """Open all of them, before the first step.

    Args:
        loggers: none of which has begun.
        config: the run's, for those that have not got it yet.
        behind: see `RunLogger.begin`.

    Raises:
        UserError: one of a new run cannot be opened. A run that goes on does so without it.
    """
    for logger in loggers:
        try:
            logger.config = logger.config or config
            logger.begin(behind)
            logger.state = "open"
        except Exception as error:
            logger.state = "over"
            if behind is None:
                reason = f"{logger.title} cannot begin ({said(error)})"
                raise UserError(f"{reason}: mend it, or leave this logger out") from error
            log.warning("%s gets nothing of this run, which goes on: %s", logger.title, said(error))


def end_all(loggers: Iterable[RunLogger], outcome: Outcome) -> dict[str, str]:
    """Close all that have begun. Gives what to type in order to look at each, by its name."""
    hints = {}
    for logger in loggers:
        if logger.state == "open":
            each([logger], lambda one: one.end(outcome))
            if hint := logger.hint():
                hints[logger.requires[1] if logger.requires else logger.title] = hint
            logger.state = "over"
    return hints


# --- what trackers need


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys; lists as text."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str):
            found[prefix + key] = value
        elif value is not None:
            found[prefix + key] = str(value)
    return found


def group_of(folder: Path) -> str | None:
    """What a run of several seeds, of a multirun or of a sweep belongs to: the name of the folder of all of them."""
    parent = folder.absolute().parent
    if is_series(parent) or parent.parent.name == "sweeps":
        return f"{parent.parent.name}/{parent.name}"
    if parent.name == "trials" and (parent.parent / "sweep.json").is_file():
        return f"{parent.parent.parent.name}/{parent.parent.name}"
    return None


def remembered(folder: Path, tracker: str, make: Callable[[], str]) -> tuple[str, bool]:
    """Under what number a tracker knows the run of a folder, and whether it has known it before."""
    ids = read_json(folder / IDS)
    if isinstance(ids.get(tracker), str):
        return ids[tracker], True
    remember(folder, tracker, number := make())
    return number, False


def remember(folder: Path, tracker: str, number: str) -> None:
    write_json(folder / IDS, read_json(folder / IDS) | {tracker: number})


def comes_again(key: str, step: int, epoch: int | None, behind: At) -> bool:
    """Whether a point that was told lies after the checkpoint from which a run goes on; see `Begin`.

    Args:
        key: of a figure.
        step, epoch: where it was told.
        behind: see `RunLogger.begin`.
    """
    if key.startswith("test/"):
        return True  # the test comes at the end, whenever that is
    if key.startswith(("train/", "val/", "best/")) and epoch is not None and behind.epoch is not None:
        return epoch > behind.epoch
    return step > behind.step


def image_of(figure: Figure) -> Image.Image:
    """A figure as an image; it is drawn once for all loggers, which takes longer than all else."""
    drawn = vars(figure).get("_torchatlas")
    if drawn is None:
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        drawn = vars(figure)["_torchatlas"] = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return drawn  # type: ignore[no-any-return]


def require_choice(key: str, value: Any, known: list[str]) -> None:
    """Refuse a word that is none of those known.

    Raises:
        UserError: it names the nearest one.
    """
    if value not in known:
        raise UserError(f"{key}={json.dumps(value) if value is None else value} is unknown{nearest(str(value), known)}")

"""Train a network: compose the config, check it, assemble data, network, task and trainer, fit, test, sum up."""

if __name__ == "__main__":  # python -m torchatlas.train, python src/train.py: start over as a module of the package
    import sys

    if not __package__:
        sys.path.pop(0)  # this folder: its modules are torchatlas.something and nothing else
    from torchatlas.errors import UserError, needing_toolkit, tell

    try:
        with needing_toolkit("torchatlas.train"):
            from torchatlas import train
    except UserError as error:
        tell(error, str(error))
        sys.exit(2)
    train.main()
    sys.exit()

import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import hydra
import lightning
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from .data.base import DataModule
from .errors import Stopped, UserError
from .loggers.base import Outcome, end_all, loggers_of
from .packages import spelled, taken
from .predict.out_of_fold import write_out_of_fold
from .predict.registry import Trained, usage
from .run.assemble import assemble
from .run.auto import begun_or_resumed, goes_on_in
from .run.begin import Begin
from .run.build import build_trainer
from .run.check import check_training, fits
from .run.compose import Composed, handed_over, register_resolvers, understood
from .run.console import quiet_libraries
from .run.from_config import based, begun_from, with_key
from .run.hydra_parser import lazy_help
from .run.mistakes import answered
from .run.multirun import note, reported_at_the_end
from .run.own_classes import with_own_classes
from .run.reopen import reopened
from .run.seeds import run_series
from .run.summary import describe_changes, known_figures, print_summary
from .run.trust import accept, prefix, with_what_is_typed
from .run.usage import fitted, help_text
from .storage.checkpoints import read
from .storage.files import read_metrics
from .storage.run_folder import find_checkpoint, is_series, note_folder, require_new, shown, tell_others, trained_in
from .training.precision import require_precision

log = logging.getLogger(__name__)


def run(config: DictConfig, words: Sequence[str]) -> float | None:
    """One run, in the folder that Hydra has made for it. Returns the best validation figure, for sweeps."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    many = hydra_config.mode == RunMode.MULTIRUN
    if many:
        together = Path(hydra_config.sweep.dir).absolute()
        note(together, folder.relative_to(together).as_posix(), words, hydra_config.overrides.task)
    if not config.resume or many:
        accept(OmegaConf.to_container(config, resolve=True))
    if is_series(folder):
        return run_series(execute, Composed(config, {}, words), folder, write_out_of_fold)
    path, data = None, None
    if many and config.resume == "auto":
        config.resume = None
        ended, path = goes_on_in(folder)
        if ended:
            log.info("%s has had its run", shown(folder))
            return best_figure(folder)
    elif config.resume:
        path = find_checkpoint(config.resume)
    if path is not None:
        composed = reopened(folder, path, () if many else hydra_config.overrides.task, words)
        check_training(composed.config)
        if composed.changed:
            log.info(describe_changes(composed.changed))
    else:
        require_new(folder)
        tell_others(folder)
        if config.config is not None:
            composed = begun_from(config, hydra_config.overrides.task, hydra_config.runtime.choices, words)
        else:
            composed = handed_over(config, words)
        data = fits(composed)
        if composed.config.seeds is not None or composed.config.folds is not None:
            return run_series(execute, composed, folder, write_out_of_fold)
    return execute(composed, folder, path, data, alone=many)


def execute(
    composed: Composed, folder: Path, path: Path | None = None, data: DataModule | None = None, *, alone: bool = False,
    beside: Path | None = None,
    callbacks: Sequence[lightning.Callback] = (),
) -> float | None:  # fmt: skip
    """Assemble, fit, test, sum up.

    Args:
        composed: checked.
        folder: the run folder.
        path: the checkpoint from which to go on.
        data: those of the config, where the check has built them.
        alone: whether one process is all that there can be, as in a sweep.
        beside: see `assemble`.
        callbacks: further ones.

    Returns:
        The best validation figure of what the task monitors.
    """
    plain = composed.plain()
    lightning.seed_everything(plain["seed"], workers=True, verbose=False)
    parts = assemble(plain, path, data, beside)
    task = parts.task
    begin = Begin(folder, plain, composed.words, parts, path, accepted=composed.accepted)
    trainer = build_trainer(plain, folder, callbacks, first=[begin])
    require_precision(task.network, str(trainer.precision), trainer.strategy.root_device)
    if trainer.world_size > 1 and alone:
        raise UserError("the runs of a sweep have one process each: add trainer=cpu or trainer=gpu")
    stopped, unsaved, over = None, None, False
    outcome: Outcome = "failed"
    with trained_in(folder) if trainer.is_global_zero else nullcontext():
        try:
            trainer.fit(task, datamodule=parts.data, ckpt_path=None if path is None else str(path), weights_only=True)
            best = folder / "checkpoints" / "best.ckpt"
            if plain["test"] and best.exists():
                log.info("testing the best weights")
                trainer.test(task, datamodule=parts.data, ckpt_path=str(best), verbose=False, weights_only=True)
            elif plain["test"]:
                log.info("no test: callbacks.checkpoint, which keeps the best weights, is left out")
            over, outcome = True, "finished"
        except Stopped as error:
            stopped, unsaved, outcome = error.number, error.unsaved, "stopped"
        except (KeyboardInterrupt, SystemExit):
            outcome = "stopped"
            raise
        finally:  # an interrupted run, too, ends with the way to go on; one that was refused has done nothing
            dashboards = end_all(loggers_of(trainer), outcome)
            if trainer.is_global_zero and (over or (begin.begun and (folder / "checkpoints").exists())):
                use = usage(Trained.of(task, parts.data, parts.data.describe()["kind"]))
                known = known_figures(plain)
                print_summary(folder, trainer.global_step >= task.plan.total, use, known, prefix(plain), dashboards)
    if stopped is not None:
        if not trainer.is_global_zero:  # the first process speaks for all
            sys.exit(0)
        log.info(describe_stop(stopped, unsaved, trainer.global_step, folder))
        sys.exit(128 + stopped)
    return best_figure(folder)


def describe_stop(number: int, unsaved: str | None, step: int, folder: Path) -> str:
    """One sentence on a run that a signal has ended: what is lost, if anything."""
    name = signal.Signals(number).name
    if unsaved is None:
        return f"stopped by {name} after step {step}; nothing is lost"
    last = folder / "checkpoints" / "last.ckpt"
    kept = read(last)["global_step"] if last.exists() else 0
    return f"stopped by {name} within step {step + 1}, {unsaved}: what is saved ends with step {kept}"


def best_figure(folder: Path) -> float | None:
    """The best validation figure of what the task of a run monitors."""
    metrics = read_metrics(folder)
    figure: float | None = metrics.get("best", {}).get(metrics.get("monitor"))
    return figure


def main() -> None:
    """Run the program with the arguments of the command line; a mistake in them ends it with status 2."""
    words = sys.argv[1:]
    if {"--help", "-h"} & set(words):
        with answered(words):
            taken(words)
            print(fitted(help_text()))
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints its own report and ends the program
    quiet_libraries()

    @hydra.main(version_base="1.3", config_path="pkg://torchatlas.configs", config_name="train")
    def job(config: DictConfig) -> float | None:
        with answered(words):  # before Hydra reports a failed job
            return run(config, words)

    with answered(words), with_what_is_typed(), ExitStack() as claims:
        words[:] = [*taken(words), *spelled()]
        for word in words:
            note_folder(word)
        register_resolvers()
        # Lightning starts the other processes with the arguments that the first one has made of what was typed.
        child = any(word.startswith("hydra.job.name=train_ddp_process_") for word in words)
        asked = understood(with_key(words))
        arguments = asked if child else begun_or_resumed(asked, claims)
        if arguments is None:
            return
        sys.argv[1:] = with_own_classes(arguments if child else based(arguments))
        with reported_at_the_end(), lazy_help():
            job()


class Program(ModuleType):
    """The module of train.py, which can be called: `torchatlas.train("mlp")` trains, whatever is imported first."""

    def __call__(self, *words: str, **settings: Any) -> Any:
        """Train a network from Python: see `torchatlas.api.training.train`, which is right of this room."""
        return import_module("torchatlas.api.training").train(*words, **settings)


sys.modules[__name__].__class__ = Program

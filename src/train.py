"""Train a network: compose the config, check it, assemble data, network, task and trainer, fit, test, sum up."""

if __name__ == "__main__" and not __package__:  # python src/train.py: start over as a module of the package
    import sys

    sys.path.pop(0)  # this folder: its modules are torchatlas.something and nothing else
    from torchatlas import train

    train.main()
    sys.exit()

import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import hydra
import lightning
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from .data.base import DataModule
from .errors import Stopped, UserError
from .predict.registry import Trained, usage
from .run.assemble import assemble
from .run.begin import Begin
from .run.build import build_trainer
from .run.check import check_training, fits
from .run.compose import Composed, handed_over, register_resolvers, understood
from .run.console import quiet_libraries
from .run.mistakes import answered
from .run.reopen import reopened
from .run.resume import resume_arguments
from .run.seeds import run_series
from .run.summary import describe_changes, known_figures, print_summary
from .run.usage import help_text
from .storage.files import read_metrics
from .storage.run_folder import find_checkpoint, is_series, note_folder, require_new, trained_in
from .training.precision import require_precision

log = logging.getLogger(__name__)


def run(config: DictConfig, words: Sequence[str]) -> float | None:
    """One run, in the folder that Hydra has made for it. Returns the best validation figure, for sweeps."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    if is_series(folder):
        return run_series(execute, Composed(config, {}, words), folder)
    path, data = None, None
    if config.resume:
        path = find_checkpoint(config.resume)
        composed = reopened(folder, path, hydra_config.overrides.task, words)
        check_training(composed.config)
        if composed.changed:
            log.info(describe_changes(composed.changed))
    else:
        require_new(folder)
        composed = handed_over(config, words)
        data = fits(composed)
        if composed.config.seeds is not None:
            return run_series(execute, composed, folder)
    return execute(composed, folder, path, data, alone=hydra_config.mode == RunMode.MULTIRUN)


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
    stopped, over = None, False
    with trained_in(folder) if trainer.is_global_zero else nullcontext():
        try:
            trainer.fit(task, datamodule=parts.data, ckpt_path=None if path is None else str(path), weights_only=True)
            best = folder / "checkpoints" / "best.ckpt"
            if plain["test"] and best.exists():
                trainer.test(task, datamodule=parts.data, ckpt_path=str(best), verbose=False, weights_only=True)
            elif plain["test"]:
                log.info("no test: callbacks.checkpoint, which keeps the best weights, is left out")
            over = True
        except Stopped as error:
            stopped = error.number
        finally:  # an interrupted run, too, ends with the way to go on; one that was refused has done nothing
            if trainer.is_global_zero and (over or (begin.begun and (folder / "checkpoints").exists())):
                use = usage(Trained.of(task, parts.data, parts.data.describe()["kind"]))
                print_summary(folder, trainer.global_step >= task.plan.total, use, known_figures(plain))
    if stopped is not None:
        if not trainer.is_global_zero:  # the first process speaks for all
            sys.exit(0)
        log.info("stopped by %s after step %d; nothing is lost", signal.Signals(stopped).name, trainer.global_step)
        sys.exit(128 + stopped)
    figure: float | None = read_metrics(folder).get("best", {}).get(f"val/{task.monitor}")
    return figure


def main() -> None:
    """Run the program with the arguments of the command line; a mistake in them ends it with status 2."""
    words = sys.argv[1:]
    if {"--help", "-h"} & set(words):
        print(help_text())
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints its own report and ends the program
    quiet_libraries()

    @hydra.main(version_base="1.3", config_path="pkg://torchatlas.configs", config_name="train")
    def job(config: DictConfig) -> float | None:
        with answered(words):  # before Hydra reports a failed job
            return run(config, words)

    with answered(words):
        for word in words:
            note_folder(word)
        register_resolvers()
        # Lightning starts the other processes with the arguments that the first one has made of what was typed.
        child = any(word.startswith("hydra.job.name=train_ddp_process_") for word in words)
        sys.argv[1:] = understood(words) if child else resume_arguments(understood(words))
        job()


if __name__ == "__main__":
    main()

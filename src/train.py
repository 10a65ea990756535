"""Train a network: compose the config, build data, network, task and trainer, fit, test, sum up."""

if __name__ == "__main__" and not __package__:  # python src/train.py: start over as a module of the package
    import sys

    sys.path.pop(0)  # this folder: its modules are torchatlas.something and nothing else
    from torchatlas import train

    train.main()
    sys.exit()

import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import lightning
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from . import building, checkpoints, runs, seeds
from .callbacks.curves import forget_after
from .command_line import answer_mistakes, check_types, default_config, run_program
from .errors import Stopped, UserError
from .summary import describe_changes, describe_run, print_summary

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="pkg://torchatlas.configs", config_name="train")
@answer_mistakes
def run(config: DictConfig) -> float | None:
    """One run, in the folder that Hydra has made for it. Returns the best validation figure, for sweeps."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    path = None
    if config.resume and not seeds.is_series(folder):
        path = runs.find_checkpoint(config.resume)
        config, changes = building.resumed_config(folder, list(hydra_config.overrides.task), path)
        check_types(config, building.saved_config(folder))
        building.check_training(config)
        if changes:
            log.info(describe_changes(changes))
    elif not config.resume:
        runs.require_new(folder)
        check_types(config, default_config(list(hydra_config.overrides.task)))
        building.check(config, hydra_config.runtime.choices["model"], hydra_config.runtime.choices["data"])
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    if config.seeds is not None or seeds.is_series(folder):
        return seeds.run_series(execute, config, folder)
    return execute(config, folder, path, alone=in_sweep)


def execute(
    config: DictConfig, folder: Path, path: Path | None = None, *, alone: bool = False,
    callbacks: Sequence[lightning.Callback] = (),
) -> float | None:  # fmt: skip
    """Build, fit, test, sum up.

    Args:
        config: composed, or as a run was started with.
        folder: the run folder.
        path: the checkpoint from which to go on.
        alone: whether one process is all that there can be, as in a sweep.
        callbacks: further ones.

    Returns:
        The best validation figure of what the task monitors.
    """
    plain: Any = OmegaConf.to_container(config, resolve=True)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    data = building.build_data(plain["data"])
    network = building.build_network(plain["model"])
    loaded = None
    if path is None and plain.get("weights") is not None:
        loaded = building.begin_with(plain["weights"], network, data, plain["data"])
    task = building.build_task(plain["task"], network, plain["optim"], plain["schedule"])
    task.limits = building.limits(plain)
    if plain["compile"]:
        building.compile_network(network)
    if path is not None:
        data.load_state_dict(checkpoints.read(path)["torchatlas"]["data"])
        task.epochs_behind, task.steps_behind, task.ended = building.progress(path)
    # Weights and two moments each in last, previous and the one that is being written, and weights in the best.
    runs.require_space(folder, 11 * sum(p.numel() * p.element_size() for p in network.parameters()))
    events = list(folder.glob("events.out.tfevents.*"))
    trainer = building.build_trainer(plain, folder, callbacks)
    if trainer.world_size > 1 and alone:
        raise UserError("the runs of a sweep have one process each: add trainer=cpu or trainer=gpu")

    def begin() -> None:
        """What is in the folder changes only when the run can be made."""
        if not trainer.is_global_zero:
            return
        runs.write_config(folder, plain)
        runs.write_record(folder, plain)
        log.info(describe_run(config.name, network, trainer, data))
        if loaded is not None:
            log.info(loaded)
        if path is not None:
            if path.name != "last.ckpt":  # an older one, from which a run killed soon has to go on too
                checkpoints.keep_as(path, path.with_name("last.ckpt"))
            forget_after(events, task.epochs_behind, task.steps_behind)
            log.info("going on from %s, after step %d", runs.shown(path), task.steps_behind)

    task.when_planned = begin
    stopped = None
    try:
        trainer.fit(task, datamodule=data, ckpt_path=None if path is None else str(path), weights_only=True)
        best = folder / "checkpoints" / "best.ckpt"
        if config.test and best.exists():
            trainer.test(task, datamodule=data, ckpt_path=str(best), verbose=False, weights_only=True)
    except Stopped as error:
        stopped = error.number
    finally:  # an interrupted run, too, ends with the way to go on
        if trainer.is_global_zero and (folder / "checkpoints").exists():
            print_summary(folder, trainer.global_step >= task.plan.total, task.name)
    if stopped is not None:
        if not trainer.is_global_zero:  # the first process speaks for all
            sys.exit(0)
        log.info("stopped by %s after step %d; nothing is lost", signal.Signals(stopped).name, trainer.global_step)
        sys.exit(128 + stopped)
    figure: float | None = runs.read_metrics(folder).get("best", {}).get(f"val/{task.monitor}")
    return figure


def main() -> None:
    """Run the program with the arguments of the command line; a mistake in them ends it with status 2."""
    run_program(run)


if __name__ == "__main__":
    main()

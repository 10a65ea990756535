"""Train a network: compose the config, build data, network, task and trainer, fit, test, sum up."""

if __name__ == "__main__" and not __package__:  # python src/train.py: start over as a module of the package
    import sys

    sys.path.pop(0)  # this folder: its modules are torchatlas.something and nothing else
    from torchatlas import train

    train.main()
    sys.exit()

import logging
from pathlib import Path
from typing import Any

import hydra
import lightning
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from . import building, runs
from .command_line import answer_mistakes, run_program
from .errors import UserError
from .summary import describe_network, print_summary

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="pkg://torchatlas.configs", config_name="train")
@answer_mistakes
def run(config: DictConfig) -> float | None:
    """One run, in the folder that Hydra has made for it. Returns the best validation figure, for sweeps."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    path, start = None, {"epoch": -1, "global_step": -1}
    if config.resume:
        path = runs.find_checkpoint(config.resume)
        checkpoint = building.load_checkpoint(path)
        config = building.resumed_config(folder, list(hydra_config.overrides.task), checkpoint)
        start = {key: checkpoint[key] for key in start}
        del checkpoint  # Lightning loads it again
    else:
        building.check(config, hydra_config.runtime.choices["model"], hydra_config.runtime.choices["data"])
    plain: Any = OmegaConf.to_container(config, resolve=True)
    lightning.seed_everything(config.seed, workers=True, verbose=False)

    data = building.build_data(plain["data"])
    network = building.build_network(plain["model"])
    task = building.build_task(plain["task"], network, plain["optim"], plain["schedule"])
    callbacks = [instantiate(callback) for callback in plain["callbacks"].values()]
    purge_step = None if path is None else start["global_step"] + 1
    loggers = [instantiate(logger, folder, purge_step=purge_step) for logger in plain["logger"].values()]
    plain["trainer"]["precision"] = building.precision(plain["trainer"]["precision"], plain["trainer"]["accelerator"])
    trainer: lightning.Trainer = instantiate(
        plain["trainer"], callbacks=callbacks, logger=loggers, default_root_dir=str(folder)
    )
    if trainer.world_size > 1 and hydra_config.mode == RunMode.MULTIRUN:
        raise UserError("the runs of a sweep have one process each: add trainer=cpu or trainer=gpu")
    trainer.run_config = plain  # type: ignore[attr-defined]  # for the record and the checkpoint
    if trainer.is_global_zero:
        runs.write_config(folder, plain)
        runs.write_record(folder, plain)
        log.info(describe_network(config.name, network, trainer, data))
        if start["epoch"] + 1 >= (trainer.max_epochs or 0) > 0:
            log.info("this run has had its %d epochs: trainer.max_epochs=N with a larger N goes on", trainer.max_epochs)

    try:
        trainer.fit(task, datamodule=data, ckpt_path=None if path is None else str(path), weights_only=True)
        best = folder / "checkpoints" / "best.ckpt"
        if config.test and best.exists():
            trainer.test(task, datamodule=data, ckpt_path=str(best), verbose=False, weights_only=True)
    finally:  # Ctrl-C, too, ends with the way to go on
        if trainer.is_global_zero and (folder / "checkpoints").exists():
            print_summary(folder, trainer.max_epochs, trainer.max_steps)
    figure: float | None = runs.read_metrics(folder).get("best", {}).get(f"val/{task.monitor}")
    return figure


def main() -> None:
    """Run the program with the arguments of the command line; a mistake in them ends it with status 2."""
    run_program(run)


if __name__ == "__main__":
    main()

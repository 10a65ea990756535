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
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from . import building, runs
from .command_line import answer_mistakes, run_program
from .summary import describe_network, print_summary

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="pkg://torchatlas.configs", config_name="train")
@answer_mistakes
def run(config: DictConfig) -> float | None:
    """One run, in the folder that Hydra has made for it. Returns the best validation figure, for sweeps."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    checkpoint: dict[str, Any] | None = None
    if config.resume:
        path = runs.find_checkpoint(config.resume)
        checkpoint = building.load_checkpoint(path)
        config = runs.resumed_config(folder, list(HydraConfig.get().overrides.task))
    else:
        choices = HydraConfig.get().runtime.choices
        building.check(config, choices["model"], choices["data"])
    plain: Any = OmegaConf.to_container(config, resolve=True)
    lightning.seed_everything(config.seed, workers=True, verbose=False)

    data = building.build_data(plain["data"])
    network = building.build_network(plain["model"])
    task = building.build_task(plain["task"], network, plain["optim"], plain["schedule"])
    callbacks = [instantiate(callback) for callback in plain["callbacks"].values()]
    purge_step = checkpoint["global_step"] + 1 if checkpoint else None
    loggers = [instantiate(logger, folder, purge_step=purge_step) for logger in plain["logger"].values()]
    plain["trainer"]["precision"] = building.precision(plain["trainer"]["precision"], plain["trainer"]["accelerator"])
    trainer: lightning.Trainer = instantiate(
        plain["trainer"], callbacks=callbacks, logger=loggers, default_root_dir=str(folder)
    )
    trainer.run_config = plain  # type: ignore[attr-defined]  # for the record and the checkpoint
    if trainer.is_global_zero:
        runs.write_config(folder, plain)
        runs.write_record(folder, plain)
        log.info(describe_network(config.name, network, trainer, data))
        if checkpoint and checkpoint["epoch"] + 1 >= (trainer.max_epochs or 0) > 0:
            log.info("this run has had its %d epochs: trainer.max_epochs=N with a larger N goes on", trainer.max_epochs)

    trainer.fit(task, datamodule=data, ckpt_path=str(path) if checkpoint else None, weights_only=True)
    if config.test and not trainer.interrupted:
        trainer.test(task, datamodule=data, ckpt_path=str(folder / "checkpoints" / "best.ckpt"), verbose=False,
                     weights_only=True)  # fmt: skip
    if trainer.is_global_zero:
        print_summary(folder)
    best = runs.read_metrics(folder).get("best", {})
    return best.get(f"val/{task.monitor}")  # type: ignore[no-any-return]


def main() -> None:
    """Run the program with the arguments of the command line; a mistake in them ends it with status 2."""
    run_program(run)


if __name__ == "__main__":
    main()

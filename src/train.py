"""Train a network: compose the config, build data, network, task and trainer, fit, test, sum up."""

if __name__ == "__main__" and not __package__:  # python src/train.py: start over as a module of the package
    import sys

    sys.path.pop(0)  # this folder: its modules are torchatlas.something and nothing else
    from torchatlas import train

    train.main()
    sys.exit()

import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
import lightning
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from .callbacks.curves import forget_after
from .errors import Stopped, UserError, nearest
from .run.assemble import assemble
from .run.build import build_trainer
from .run.check import check, check_training
from .run.compose import check_types, default_config, register_resolvers
from .run.console import quiet_libraries
from .run.mistakes import MISTAKES, _refuse, answer_mistakes
from .run.resume import resume_arguments, resumed_config, saved_config
from .run.seeds import run_series
from .run.summary import describe_changes, describe_run, print_summary
from .storage.checkpoints import keep_as
from .storage.files import read_metrics
from .storage.record import write_config, write_record
from .storage.run_folder import discard, find_checkpoint, is_series, made, require_new, require_space, shown, typed
from .zoo import GROUPS, headline, options

log = logging.getLogger(__name__)
USAGE = """\
torchatlas trains the reference architectures of deep learning.

    python train.py model=resnet18 data=cifar10          choose by group
    python train.py optim.lr=0.01 trainer.max_epochs=5   change a value
    python train.py -m model=mlp,resnet18 seed=0,1,2     one run for each combination
    python train.py resume=auto                          go on with the newest run, exactly where it was
    python train.py duration=2h seeds=5                  five runs of two hours; mean, spread, interval
    python train.py model=lenet5 --cfg job               show the config and do nothing
    python train.py ... debug=true                       tracebacks for mistakes
    torchatlas list | show | plan | preview | lr_range | evaluate | predict | generate | translate | fill | explain
               | export | sweep | prepare   what else there is

`torchatlas train` and `python -m torchatlas.train` are the same program. --hydra-help tells of Hydra's own options.
"""


@hydra.main(version_base="1.3", config_path="pkg://torchatlas.configs", config_name="train")
@answer_mistakes
def run(config: DictConfig) -> float | None:
    """One run, in the folder that Hydra has made for it. Returns the best validation figure, for sweeps."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    path = None
    if config.resume and not is_series(folder):
        path = find_checkpoint(config.resume)
        config, changes = resumed_config(folder, list(hydra_config.overrides.task), path)
        check_types(config, saved_config(folder))
        check_training(config)
        if changes:
            log.info(describe_changes(changes))
    elif not config.resume:
        require_new(folder)
        check_types(config, default_config(list(hydra_config.overrides.task)))
        check(config, hydra_config.runtime.choices["model"], hydra_config.runtime.choices["data"])
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    if config.seeds is not None or is_series(folder):
        return run_series(execute, config, folder)
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
    parts = assemble(plain, path)
    data, network, task = parts.data, parts.network, parts.task
    # Weights and two moments each in last, previous and the one that is being written, and weights in the best.
    require_space(folder, 11 * sum(p.numel() * p.element_size() for p in network.parameters()))
    events = list(folder.glob("events.out.tfevents.*"))
    trainer = build_trainer(plain, folder, callbacks)
    if trainer.world_size > 1 and alone:
        raise UserError("the runs of a sweep have one process each: add trainer=cpu or trainer=gpu")

    def begin() -> None:
        """What is in the folder changes only when the run can be made."""
        if not trainer.is_global_zero:
            return
        write_config(folder, plain)
        write_record(folder, plain)
        log.info(describe_run(config.name, network, trainer, data))
        for line in parts.said:
            log.info(line)
        if path is not None:
            if path.name != "last.ckpt":  # an older one, from which a run killed soon has to go on too
                keep_as(path, path.with_name("last.ckpt"))
            forget_after(events, task.epochs_behind, task.steps_behind)
            log.info("going on from %s, after step %d", shown(path), task.steps_behind)

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
    figure: float | None = read_metrics(folder).get("best", {}).get(f"val/{task.monitor}")
    return figure


def help_text() -> str:
    """The zoo by group, a line each."""
    parts = [USAGE]
    for group in GROUPS:
        names = options(group)
        width = max(len(name) for name in names)
        lines = "\n".join(f"    {name:<{width}}  {headline(group, name)}" for name in names)
        parts.append(f"{group}=\n{lines}\n")
    return "\n".join(parts)


def run_program(run: Callable[[], Any]) -> None:
    """Run a Hydra main function. A user's mistake is told in one sentence, with exit status 2.

    `debug=true`, or TORCHATLAS_TRACEBACK=1 in the environment, shows the traceback too.
    """
    if any(argument in ("--help", "-h") for argument in sys.argv[1:]):
        print(help_text())
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints its own report and ends the program
    quiet_libraries()
    register_resolvers()
    try:
        typed[:] = sys.argv[1:]
        sys.argv[1:] = debug_arguments(sys.argv[1:])
        for argument in sys.argv[1:]:
            if argument.startswith("hydra.run.dir=") and not Path(argument.split("=", 1)[1].strip("'\"")).exists():
                made.add(Path(argument.split("=", 1)[1].strip("'\"")).absolute())
            group, _, name = argument.partition("=")
            if group in GROUPS and re.fullmatch(r"[\d.eE+-]+", name):  # Hydra's answer is a traceback
                raise UserError(f"there is no {group} {name!r}{nearest(name, options(group))}")
        # Lightning starts the other processes with the arguments that the first one has made of what was typed.
        if not any(argument.startswith("hydra.job.name=train_ddp_process_") for argument in sys.argv[1:]):
            sys.argv[1:] = resume_arguments(sys.argv[1:])
        run()
    except MISTAKES as error:
        discard()
        _refuse(error)
    except KeyboardInterrupt:
        logging.shutdown()
        discard()
        print("torchatlas: interrupted", file=sys.stderr)
        sys.exit(130)
    except ValueError as error:
        if "Unable to configure handler" not in str(error):
            raise
        _refuse(error.__cause__ if isinstance(error.__cause__, OSError) else error)


def debug_arguments(arguments: list[str]) -> list[str]:
    """`debug=true` asks for tracebacks; other values of debug are configs."""
    if "debug=true" in arguments:
        os.environ["TORCHATLAS_TRACEBACK"] = "1"  # also for further processes
    return [a for a in arguments if a not in ("debug=true", "debug=false")]


def main() -> None:
    """Run the program with the arguments of the command line; a mistake in them ends it with status 2."""
    run_program(run)


if __name__ == "__main__":
    main()

"""From a config to objects, and the check that they go together before anything is read or downloaded."""

import inspect
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.utils import get_class, instantiate
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import StrategyRegistry
from omegaconf import OmegaConf

from ..callbacks.base import NoProfiler
from ..data.base import DataModule
from ..errors import UserError, nearest
from ..storage.checkpoints import CheckpointFiles
from ..tasks.base import Task
from ..tasks.losses import Named, make_loss
from ..training.blocks import compile_blocks
from ..training.hooks import leave_out
from ..training.precision import precision
from .own_classes import find


def build_network(config: Any) -> torch.nn.Module:
    """The network of a config.

    Raises:
        UserError: a class or a function of the user's own makes something else.
    """
    network: torch.nn.Module = instantiate(config, _convert_="all")
    if not isinstance(network, torch.nn.Module):
        raise UserError(
            f"{config['_target_']} makes {type(network).__name__} where a torch.nn.Module has to be: name a class "
            "that derives from it, or a function that makes one"
        )
    return network


def build_data(config: Any) -> DataModule:
    """The data of a config; its `_fold_`, if it has one, says how training and validation are cut."""
    plain: Any = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else dict(config)
    fold = plain.pop("_fold_", None)
    data: DataModule = instantiate(plain if fold is not None else config, _convert_="all")
    data.fold = fold
    return data


def build_task(config: Any, network: torch.nn.Module, optim: Any = None, schedule: Any = None, **given: Any) -> Task:
    """The task of a config around a network; `given` are further arguments of `Task`, which no config has."""
    if config.get("loss") is not None and get_class(config["_target_"]).takes_loss:  # type: ignore[attr-defined]
        given["loss"] = build_loss(config["loss"])
        config = {key: value for key, value in config.items() if key != "loss"}
    task: Task = instantiate(
        config,
        network=network,
        optimizer=None if optim is None else instantiate(optim, _convert_="all"),
        schedule=None if schedule is None else instantiate(schedule, _convert_="all"),
        _convert_="all",
        _recursive_=False,
        **given,
    )
    return task


def build_loss(config: Any) -> Named:
    """What `task.loss` names.

    Raises:
        UserError: it is no name, or there is no such thing.
    """
    if not isinstance(config, Mapping):
        raise UserError(f"task.loss={config} has to be a section with _target_, a class or a function")
    plain: Any = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else dict(config)
    target = str(plain.pop("_target_", ""))
    return make_loss(find(target, "task.loss"), plain, f"task.loss={target}")


def build_trainer(
    config: Any, folder: Path, callbacks: Sequence[lightning.Callback] = (), first: Sequence[lightning.Callback] = ()
) -> lightning.Trainer:
    """The trainer of a resolved config, whose run folder is `folder`.

    Args:
        config: plain values; the precision in it becomes the chosen one.
        folder: the run folder.
        callbacks: beside those of the config.
        first: those whose turn comes before all others.

    Raises:
        UserError: a device or precision that is not there.
    """
    options = config["trainer"]
    options["precision"] = precision(options["precision"], options["accelerator"])
    options["strategy"] = _strategy(options["strategy"])
    if (clipped := options["gradient_clip_algorithm"]) not in ("norm", "value"):
        raise UserError(f"trainer.gradient_clip_algorithm={clipped or 'null'} must be norm or value")
    made = build_callbacks(config)
    _require_devices(options)
    chosen = [*first, *(callback for callback in made if getattr(callback, "enabled", True)), *callbacks]
    for callback in chosen:
        leave_out(callback, lightning.Callback)
    # The run's end is the task's plan, since Lightning repeats part of an epoch when a run that is limited by steps
    # goes on; the number of epochs follows when the data are known.
    options = options | {"max_epochs": -1, "max_steps": -1}
    if not any(isinstance(callback, Checkpoint) for callback in made):
        options["enable_checkpointing"] = False  # else Lightning writes some of its own
    trainer: lightning.Trainer = instantiate(
        options,
        callbacks=chosen,
        logger=build_loggers(config, folder),
        plugins=[CheckpointFiles()],
        profiler=instantiate(options["profiler"]) or NoProfiler(),
        default_root_dir=str(folder),
    )
    return trainer


def callbacks_of(config: Any) -> dict[str, dict[str, Any]]:
    """The callbacks that a config asks for, by name.

    One that is null is left out, and one whose `_kind_` is not the `kind` of the data, of which nothing is imported.
    """
    kind = get_class(config["data"]["_target_"]).kind  # type: ignore[attr-defined]
    asked = {name: dict(given) for name, given in config["callbacks"].items() if given is not None}
    return {name: given for name, given in asked.items() if given.pop("_kind_", kind) == kind}


def build_callbacks(config: Any) -> list[lightning.Callback]:
    """Those of `callbacks_of`; one whose class asks for a `config` that its own does not give gets that of the run."""
    made = []
    for name, given in callbacks_of(config).items():
        asked = "config" in inspect.signature(get_class(given["_target_"])).parameters and "config" not in given
        make = instantiate(given, _convert_="all", _partial_=True)
        try:
            made.append(make(config=config) if asked else make())
        except TypeError as error:  # a value of another kind, null among them
            raise UserError(
                f"callbacks.{name} cannot be made ({error}): change its values, or callbacks.{name}=null"
            ) from error
    return made


def build_loggers(config: Any, folder: Path) -> list[Logger]:
    """Those of a config, which open nothing yet.

    One whose class asks for `folder`, `config` or, as Lightning's own, `save_dir`, and whose section does not give it,
    gets the run folder and the run's config.
    """
    made = []
    for name, given in config["logger"].items():
        if given is None:
            continue
        asked = inspect.signature(get_class(given["_target_"])).parameters
        known = {"folder": folder, "config": config, "save_dir": str(folder)}
        more = {key: value for key, value in known.items() if key in asked and key not in given}
        try:
            made.append(instantiate(given, _convert_="all", _partial_=True)(**more))
        except Exception as error:  # of any kind, since it may be any class
            reason = f"{type(error).__name__}: {error}" if not isinstance(error, UserError) else error
            raise UserError(f"logger.{name} cannot be made ({reason}): change its values, or leave it out") from error
    return made


def _strategy(wanted: Any) -> Any:
    """How several processes work together; null leaves the choice to Lightning, as "auto" does."""
    known = ["auto", *sorted(StrategyRegistry.available_strategies())]
    if isinstance(wanted, str) and wanted not in known:
        raise UserError(f"trainer.strategy={wanted} is unknown{nearest(wanted, known)}")
    return "auto" if wanted is None else wanted


def _require_devices(options: dict[str, Any]) -> None:
    """Refuse more GPUs than there are, before Lightning does so with a traceback."""
    wanted, there = options["devices"], torch.cuda.device_count()
    number = len(wanted) if isinstance(wanted, list) else int(wanted) if str(wanted).lstrip("-").isdigit() else 0
    if options["accelerator"] in ("gpu", "cuda") and there and number > there:
        raise UserError(
            f"trainer.devices={wanted} asks for {number} GPUs and there are {there}: use trainer.devices={there}"
        )


def compile_network(network: torch.nn.Module, *, blocks: bool = False) -> None:
    """`torch.compile` in place, which leaves the names in checkpoints as they are; as a whole, or each of its blocks.

    Raises:
        UserError: the CPU's code cannot be compiled, since there is no C++ compiler; no blocks.
    """
    if not torch.cuda.is_available() and not any(map(shutil.which, ("g++", "clang++", "c++", "cl"))):
        word = "blocks" if blocks else "true"
        raise UserError(f"compile={word} needs a C++ compiler, which is not there: install g++, or leave compile=false")
    if blocks:
        compile_blocks(network)
    else:
        network.compile()

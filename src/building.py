"""From a config to objects, and the check that they go together before anything is read or downloaded."""

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_class, get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from .data.base import DataModule
from .errors import UserError
from .tasks.base import Task
from .zoo import model_card, options

# A config that came with a checkpoint or a run folder may be somebody else's: only what is defined here may be called.
TRUSTED = (
    "torchatlas.models.", "torchatlas.tasks.", "torchatlas.data.", "torchatlas.callbacks.", "torchatlas.schedules.",
    "torch.optim.", "lightning.pytorch.trainer.", "lightning.pytorch.profilers.",
    "lightning.pytorch.callbacks.early_stopping.", "lightning.pytorch.callbacks.lr_monitor.",
)  # fmt: skip


def register_resolvers() -> None:
    """The three functions that configs may call."""
    from .data.image_folder import find_classes
    from .runs import new_folder

    def count_classes(root: str, fake: bool) -> int:
        return 10 if fake else len(find_classes(root))

    OmegaConf.register_new_resolver("run_folder", new_folder, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("count_classes", count_classes, replace=True, use_cache=True)


def require_trusted(config: Any) -> None:
    """Refuse a config that could call anything but this package's classes, torch's optimisers and Lightning's trainer.

    Names are resolved and judged by where the object was defined, so that a path through a module's own
    imports (`torchatlas.models.mlp.torch.hub.load`) does not pass. Interpolations, which could build a config after
    this check, are refused too: what was saved is resolved. Packages of your own are trusted when the
    environment variable TORCHATLAS_TRUST names them, separated by commas.

    Args:
        config: nested mappings, sequences and plain values.

    Raises:
        UserError: it names the target.
    """
    own = tuple(f"{name.strip()}." for name in os.environ.get("TORCHATLAS_TRUST", "").split(",") if name.strip())
    trusted = TRUSTED + own
    if isinstance(config, dict):
        if "_target_" in config:
            target = str(config["_target_"])
            found: Any = None
            if target.startswith((*trusted, "lightning.")):
                with contextlib.suppress(ImportError, ValueError):
                    found = get_object(target)
            home = f"{getattr(found, '__module__', None)}."
            allowed = isinstance(found, type) or home == "torchatlas.schedules." or home.startswith(own or ("-",))
            if not allowed or not home.startswith(trusted):
                raise UserError(
                    f"the saved config would call {target}, which is not allowed or not installed: if it is your own "
                    "package, name it in the environment variable TORCHATLAS_TRUST"
                )
        for value in config.values():
            require_trusted(value)
    elif isinstance(config, list | tuple):
        for value in config:
            require_trusted(value)
    elif isinstance(config, str):
        if "${" in config:
            raise UserError(f"the saved config has an interpolation, {config}, where only values are allowed")
    elif not isinstance(config, int | float | bool | None):
        raise UserError(f"the saved config holds a {type(config).__name__}, where only plain values are allowed")


def build_network(config: Any) -> torch.nn.Module:
    network: torch.nn.Module = instantiate(config, _convert_="all")
    return network


def build_data(config: Any) -> DataModule:
    data: DataModule = instantiate(config, _convert_="all")
    return data


def build_task(config: Any, network: torch.nn.Module, optim: Any = None, schedule: Any = None) -> Task:
    task: Task = instantiate(
        config,
        network=network,
        optimizer=None if optim is None else instantiate(optim, _convert_="all"),
        schedule=None if schedule is None else instantiate(schedule, _convert_="all"),
        _convert_="all",
        _recursive_=False,
    )
    return task


def check(config: DictConfig, model: str, data: str) -> None:
    """Refuse a network, a task and data that cannot go together, before anything is read or downloaded.

    One step of the task is computed on the meta device, where tensors have shapes and no values, with a
    batch of the shape that the data declare.

    Args:
        config: the composed config.
        model, data: the names that were chosen, for the message.

    Raises:
        UserError: they do not fit; it names a choice of data that does.
    """
    if not isinstance(config.seed, int):
        raise UserError(f"seed={config.seed} must be a whole number, as in seed=1")
    epochs, steps = config.trainer.max_epochs, config.trainer.max_steps
    if not (isinstance(epochs, int) and epochs > 0) and not (isinstance(steps, int) and steps > 0):
        raise UserError(f"trainer.max_epochs={epochs} must be a positive number, or trainer.max_steps one")
    module = build_data(config.data)
    card = model_card(model) if model in options("model") else None
    advice = f": try data={card.data}" if card and card.data != data else ""
    task_class: type[Task] = get_class(config.task._target_)  # type: ignore[assignment]
    if task_class.name not in module.tasks:
        raise UserError(
            f"data={data} is for {' or '.join(module.tasks)} and cannot serve model={model} with the task "
            f"{task_class.name}{advice}"
        )
    try:
        _dry_run(config)
    except _BadTraining as error:
        raise UserError(f"{_root(error)}: change it under task=, optim= or schedule=") from error
    except NotImplementedError:
        return  # an operation of the user's network has no shape rule: the run itself will tell
    except Exception as error:
        shape = "x".join(str(n) for n in module.example_batch(1)[0].shape[1:])
        raise UserError(
            f"model={model} cannot take the batches of data={data}, whose inputs are {shape} ({_root(error)})"
            f"{advice or _size_that_works(config)}"
        ) from error


class _BadTraining(Exception):
    """The task, its optimiser or its schedule cannot be made."""


def _dry_run(config: DictConfig) -> None:
    with torch.device("meta"):
        network = build_network(config.model)
        try:
            task = build_task(config.task, network, config.optim, config.schedule)
        except Exception as error:
            raise _BadTraining from error
        task.step(build_data(config.data).example_batch(2))
        try:
            task.make_schedule(task.make_optimizer(network.parameters()), 100)  # type: ignore[misc]
        except Exception as error:
            raise _BadTraining from error


def _size_that_works(config: DictConfig) -> str:
    for size in (28, 32, 64, 224) if "image_size" in config.data else ():
        changed = OmegaConf.merge(config, {"data": {"image_size": size}})
        assert isinstance(changed, DictConfig)
        with contextlib.suppress(Exception):
            _dry_run(changed)
            return f": try data.image_size={size}"
    return ""


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def precision(wanted: str, accelerator: str) -> str:
    """`auto` becomes bf16-mixed on a CUDA GPU that computes in bf16, and 32-true elsewhere."""
    if wanted != "auto":
        return wanted
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of this program, with tensors and plain values only.

    Raises:
        UserError: the file is damaged, is no checkpoint of torchatlas, or holds more than tensors and plain values.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be loaded safely as a checkpoint: {reason}") from error
    if not isinstance(checkpoint, dict) or "torchatlas" not in checkpoint:
        raise UserError(f"{path} is no checkpoint of torchatlas")
    return checkpoint


def resumed_config(folder: Path, overrides: list[str], checkpoint: dict[str, Any]) -> DictConfig:
    """The config with which a run was started, with the keys that are given anew.

    What was found in the data when the run began (classes and statistics of a user's folder) is taken from the
    checkpoint, so that a folder that has changed since cannot change the meaning of the labels.

    Raises:
        UserError: the config would call something that is not allowed, or an override is of no known key.
    """
    config = OmegaConf.load(folder / "config.yaml")
    assert isinstance(config, DictConfig)
    require_trusted(OmegaConf.to_container(config))
    found = checkpoint["torchatlas"]["data"]
    require_trusted(found)
    OmegaConf.set_struct(config, True)
    for override in OverridesParser.create().parse_overrides(overrides):
        if override.key_or_group != "resume":
            OmegaConf.update(config, override.key_or_group, override.value())
    for key in {"classes", "mean", "std"} & set(config.data) & set(found):
        config.data[key] = found[key]
    return config

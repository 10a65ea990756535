"""The check that a network, a task and data go together, before anything is read or downloaded."""

import contextlib
import logging
from collections.abc import Sequence
from typing import Any

import torch
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from ..analysis.layers import failing_layer
from ..data.base import DataModule
from ..errors import UserError
from ..loggers.base import RunLogger
from ..models.contract import Fitting
from ..tasks.base import Chosen, Task
from ..training.durations import Duration, Plan
from ..zoo import config_text, model_card, options
from .build import build_data, build_network, build_task
from .compose import Composed
from .mistakes import in_a_sentence, is_mistake
from .own_classes import is_own
from .weights import of_network

log = logging.getLogger(__name__)
LONG = Plan(steps_per_epoch=10**6, samples_per_step=100, total=10**9, seconds_per_step=1e-3)  # of a dry run


def limits(config: Any) -> list[str]:
    """The durations that end a run: `duration`, or else the trainer's epochs and steps.

    Raises:
        UserError: none of them is a positive number.
    """
    if config["duration"] is not None:
        duration = Duration.parse(config["duration"], "duration")
        if duration.unit == "%" or duration.number == 0:
            raise UserError(f"duration={config['duration']} must be a length of its own, as in 20ep, 3000st or 2h")
        return [str(duration)]
    epochs, steps = config["trainer"]["max_epochs"], config["trainer"]["max_steps"]
    found = [f"{epochs}ep"] if _positive(epochs) else []
    found += [f"{steps}st"] if _positive(steps) else []
    if not found:
        raise UserError(f"trainer.max_epochs={_typed(epochs)} must be a positive number, or trainer.max_steps one")
    return found


def _positive(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number > 0


def _typed(value: Any) -> Any:
    """As a user types it."""
    return "null" if value is None else value


def fits(asked: Composed) -> DataModule:
    """See `check`.

    Raises:
        UserError: for each mistake, those that a library's exception tells of too.
    """
    with in_a_sentence(asked.words):
        return check(asked.config, asked.choices["model"], asked.choices["data"])


def check(config: DictConfig, model: str, data: str) -> DataModule:
    """Refuse a network, a task and data that cannot go together, before anything is read or downloaded.

    One step of the task is computed on the meta device, where tensors have shapes and no values, with a
    batch of the shape that the data declare.

    Args:
        config: the composed config.
        model, data: the names that were chosen, for the message.

    Returns:
        The data, of which nothing is read yet.

    Raises:
        UserError: they do not fit; it names a choice of data that does.
    """
    if isinstance(config.seed, bool) or not isinstance(config.seed, int) or not 0 <= config.seed < 2**32:
        raise UserError(f"seed={config.seed} must be a whole number from 0 to 4294967295, as in seed=1")
    check_numbers(config)
    own = is_own(config.model._target_)
    card = model_card(model) if model in options("model") and not own else None
    said = f"model._target_={config.model._target_}" if own else f"model={model}"
    advice = f": try data={card.data}" if card and card.data != data else ""
    task_class: type[Task] = get_class(config.task._target_)  # type: ignore[assignment]
    data_class: type[DataModule] = get_class(config.data._target_)  # type: ignore[assignment]
    data_class.check(config.data, data)
    task_class.check(Chosen(config, data_class, data, advice))
    if config.weights is not None:
        config.weights = of_network(str(config.weights), model)
    module = build_data(config.data)
    if not {task_class.name, task_class.batches} & set(module.tasks):
        # a network that answers what the data ask for
        answers = "targets" in config.model or "horizon" in config.model
        fits = answers and not own and class_of(module.tasks[0]).suits(get_class(config.model._target_))
        raise UserError(
            f"data={data} is for {' or '.join(module.tasks)} and cannot serve {said} with the task "
            f"{task_class.name}{f': try task={module.tasks[0]}' if fits else advice}"
        )
    try:
        _tried(config, module)
    except (UserError, _BadTraining) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{_root(error)}: change it under task=, optim= or schedule=") from error
    except NotImplementedError:
        return module  # an operation of the user's network has no shape rule: the run itself will tell
    except Exception as error:
        shape = "x".join(str(n) for n in module.example_batch(1)[0].shape[1:])
        layer = _layer_that_fails(config, module)
        raise UserError(
            f"{said} cannot take the batches of data={data}, whose inputs are {shape} ({layer}{_root(error)})"
            f"{advice or _size_that_works(config)}"
        ) from error
    _require_more_than_one(config, module)
    return module


def _require_more_than_one(config: DictConfig, module: DataModule) -> None:
    """Refuse batches of one sample where batch normalisation gets one value a channel of each.

    A frozen backbone does not ask for more, so that a run with one may begin.

    Raises:
        UserError: it says which batches will do.
    """
    devices = config.trainer.devices
    processes = devices if isinstance(devices, int) and devices > 0 else 1
    if module.batch_size > processes or config.task.get("freeze") is not None:
        return
    try:
        _dry_run(config, module, 1)
    except Exception as error:  # what else may be wrong with one sample, the run itself will tell
        if is_mistake(error):
            raise


def class_of(task: str) -> type[Task]:
    """The class of a task's choice."""
    found: type[Task] = get_class(OmegaConf.create(config_text("task", task)).task._target_)  # type: ignore[assignment]
    return found


def check_numbers(config: DictConfig) -> None:
    """Refuse numbers of the trainer that no run can have, and none where there has to be a device.

    Raises:
        UserError: it names the first of them.
    """
    limits(config)
    check_loggers(config)
    trainer = config.trainer
    for key in ("check_val_every_n_epoch", "accumulate_grad_batches", "log_every_n_steps"):
        if not _positive(trainer[key]):
            said = _typed(trainer[key])
            raise UserError(f"trainer.{key}={said} must be a positive whole number, as in trainer.{key}=1")
    for key in ("limit_train_batches", "gradient_clip_val"):
        if trainer[key] is not None and not (isinstance(trainer[key], int | float) and trainer[key] > 0):
            raise UserError(f"trainer.{key}={trainer[key]} must be a positive number or null")
    for key in ("accelerator", "devices"):
        if trainer[key] is None:
            raise UserError(f"trainer.{key}=null leaves the run without a device: use trainer.{key}=auto")


def check_loggers(config: DictConfig) -> None:
    """Refuse loggers whose library is not there, or that have wrong values.

    Raises:
        UserError: it says what to install, or to change.
    """
    for name, chosen in config.logger.items():
        if chosen is None:
            continue
        try:
            cls: Any = get_class(chosen._target_)
        except Exception as error:  # what an import may raise
            raise UserError(f"logger.{name}._target_={chosen._target_} cannot be imported ({_root(error)})") from error
        if issubclass(cls, RunLogger):
            cls.check(chosen)


def check_training(config: DictConfig) -> None:
    """Refuse, before a resumed run has changed anything, an optimiser or a schedule that cannot be made.

    Raises:
        UserError: it says why.
    """
    check_numbers(config)
    task_class: type[Task] = get_class(config.task._target_)  # type: ignore[assignment]
    data_class = get_class(config.data._target_)  # which cannot change, so that no choice of it has a name here
    task_class.check(Chosen(config, data_class, data_class.__name__, ""))
    try:
        _dry_run(config)
    except _BadTraining as error:
        raise UserError(f"{_root(error)}: change it under task=, optim= or schedule=") from error
    except NotImplementedError:
        return


class _BadTraining(Exception):
    """The task, its optimiser or its schedule cannot be made."""


def _tried(config: DictConfig, data: DataModule) -> None:
    """One step; where a network of the user's own cannot do without values, with numbers."""
    try:
        _dry_run(config, data)
    except (UserError, _BadTraining, NotImplementedError):
        raise
    except Exception:
        if not is_own(config.model._target_):
            raise
        with torch.random.fork_rng(devices=[]):
            _dry_run(config, data, device="cpu")


def _dry_run(config: DictConfig, data: DataModule | None = None, samples: int = 2, device: str = "meta") -> None:
    """One step.

    Args:
        config: composed.
        data: built from it, where that has been done.
        samples: of the batch.
        device: "meta", where nothing is computed.

    Raises:
        UserError: the network has fewer answers than there are classes.
    """
    # What fits a short sequence fits a long one, and a recurrent network takes its time.
    key = get_class(config.data._target_).length_option  # type: ignore[attr-defined]
    if key and isinstance(config.data.get(key), int) and config.data[key] > 16:
        shorter = OmegaConf.merge(config, {"data": {key: 16}})
        assert isinstance(shorter, DictConfig)
        config, data = shorter, None
    with torch.device(device):
        network = build_network(config.model)
        try:
            task = build_task(config.task, network, config.optim, config.schedule)
        except Exception as error:
            raise _BadTraining from error
        out = task.step((data or build_data(config.data)).example_batch(samples))
        _require_classes(config, out.get("logits"))
        try:
            assert task.make_schedule is not None
            task.make_schedule(task.build_optimizer(), LONG)
        except Exception as error:
            raise _BadTraining from error


def _require_classes(config: DictConfig, logits: torch.Tensor | None) -> None:
    """Refuse a network that has no logit for some class, which the loss would find out at a label, or on a GPU never.

    Raises:
        UserError: it says both numbers.
    """
    classes = config.data.get("num_classes")
    if logits is None or not isinstance(classes, int) or logits.ndim < 2:
        return
    number = logits.shape[2 if logits.ndim == 3 else 1]  # `b k`, `b t k` or `b k h w`
    if number >= classes:
        if is_own(config.model._target_) and number != classes:
            log.info("the network gives %s logits where the data have %s classes", number, classes)
        return
    raise UserError(
        f"{config.model._target_} gives {number} logits where the data have {classes} classes: give it as many"
        + (f", as in model.num_classes={classes}" if "num_classes" in config.model else "")
    )


def _layer_that_fails(config: DictConfig, data: DataModule) -> str:
    """«features.23 (MaxPool2d) gets 512x1x1: », where the network can be made and a layer of it fails."""
    with contextlib.suppress(Exception), torch.device("meta"):
        x = data.example_batch(2)[0]
        found = failing_layer(build_network(config.model), (x,))
        return f"{found}: " if found else ""
    return ""


def _size_that_works(config: DictConfig) -> str:
    for size in _sizes(config):
        changed = OmegaConf.merge(config, {"data": {"image_size": size}})
        assert isinstance(changed, DictConfig)
        with contextlib.suppress(Exception):
            _dry_run(changed)
            return f": try data.image_size={size}"
    return ""


def _sizes(config: DictConfig) -> Sequence[int]:
    """Sides to try: the next one that the network says to take, or usual ones."""
    if "image_size" not in config.data:
        return ()
    with contextlib.suppress(Exception), torch.device("meta"):
        network = build_network(config.model)
        assert isinstance(network, Fitting)
        return (network.fits(config.data.image_size), 28, 32, 64, 224)
    return (28, 32, 64, 224)


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error

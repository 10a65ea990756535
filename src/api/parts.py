"""Data and tasks for loops of one's own."""

from typing import Any

from hydra.utils import get_class
from omegaconf import OmegaConf
from torch import nn

from ..data.base import DataModule
from ..errors import UserError, nearest
from ..run.build import build_data, build_task
from ..run.check import class_of
from ..run.compose import composed
from ..run.mistakes import in_a_sentence
from ..run.restore import restore
from ..tasks.base import Task
from ..zoo import options
from .words import word_of

OUTSIDE = ("optim", "schedule")  # groups of the config beside that of the task


def create_data(name: str, **settings: Any) -> DataModule:
    """Data of the zoo, read and divided, for a loop or a `lightning.Trainer` of your own.

    Args:
        name: as in `data=<name>`; `torchatlas list` has them.
        settings: keys of its config, as in `batch_size=128`, `root="folder"`, `flip=True`; with `augment="strong"` one
            of the group of that name.

    Returns:
        A `LightningDataModule`: `data.iterate("train", epoch=0)` gives batches as tasks receive them, float images
        `b c h w` and labels `b` for example; `data.splits`, `data.classes` and `data.describe()` say more.

    Raises:
        UserError: there is no such data set or key (the nearest is named), or its files are not there.

    Example:
        data = torchatlas.create_data("digits", batch_size=100)
        x, labels = next(data.iterate("train", epoch=0))
    """
    require_choice("data", name)
    words = [word_of(key if key == "augment" else f"data.{key.replace('__', '.')}", v) for key, v in settings.items()]
    with in_a_sentence(words):
        config = composed([f"data={name}", *words]).config.data
        get_class(config._target_).check(config, name)  # type: ignore[attr-defined]
        data = build_data(OmegaConf.to_container(config, resolve=True))
        data.prepare_data()
        data.setup("fit")
    return data


def create_task(
    name: str, network: nn.Module, *, optim: str = "adamw", schedule: str | None = None, **settings: Any
) -> Task:  # fmt: skip
    """A task of the zoo around any network: a `LightningModule` with its loss, figures, optimiser and schedule.

    In a plain loop `task.step(batch)["loss"]` is what is minimised, under "metrics/..." are figures, and
    `task.build_optimizer()` is the optimiser. Under a `lightning.Trainer` of your own it trains until that one's
    `max_epochs` or `max_steps`, and logs its figures with that one's loggers.

    Args:
        name: as in `task=<name>`.
        network: maps inputs to what the task's page says, logits `b k` of a classification for example.
        optim, schedule: choices of these groups; without a schedule the learning rate is constant.
        settings: keys of the task, as in `label_smoothing=0.1`, and with two underscores for a point those of
            optimiser and schedule, as in `optim__lr=0.1`.

    Raises:
        UserError: there is no such task or key (the nearest is named), or it cannot serve this network.

    Example:
        task = torchatlas.create_task("classification", network, optim="sgd", optim__lr=0.1)
        lightning.Trainer(max_epochs=5).fit(task, datamodule=torchatlas.create_data("digits"))
    """
    chosen = {"task": name, "optim": optim, "schedule": schedule or "constant"}
    for group, choice in chosen.items():
        require_choice(group, choice)
    if not isinstance(network, nn.Module):
        raise UserError(f"a {type(network).__name__} is no network: give a torch.nn.Module, as create_model makes them")
    keys = {key: key if key.split("__")[0] in OUTSIDE else f"task.{key}" for key in settings}
    words = [f"{group}={choice}" for group, choice in chosen.items()]
    words += [word_of(keys[key].replace("__", "."), value) for key, value in settings.items()]
    with in_a_sentence(words):
        config = composed(words).config
        parts = {key: OmegaConf.to_container(config[key], resolve=True) for key in chosen}
        try:
            return build_task(parts["task"], network, parts["optim"], parts["schedule"], restore=restore)
        except Exception as error:
            cause = error.__cause__ or error  # of Hydra, around what the class says
            if isinstance(cause, ValueError):
                raise UserError(f"{cause}: see task={name} and {class_of(name).__name__}") from error
            raise


def require_choice(group: str, name: Any) -> None:
    """Refuse what is no choice of a group.

    Raises:
        UserError: it names the nearest one.
    """
    if name not in options(group):
        raise UserError(f"there is no {group} {name!r}{nearest(str(name), options(group))}")

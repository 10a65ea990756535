"""From a checkpoint to objects: the task with its network, and the data of the training."""

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..data.base import DataModule
from ..data.contents import changes
from ..errors import UserError
from ..models.contract import Exemplified
from ..storage.checkpoints import read
from ..storage.run_folder import find_checkpoint
from ..tasks.base import Task
from .build import build_data, build_network, build_task
from .renamed import renamed
from .trust import require_trusted

log = logging.getLogger(__name__)


def training_data(config: dict[str, Any], about: Mapping[str, Any]) -> DataModule:
    """The data of training, in their folder or in TORCHATLAS_DATA; never downloaded.

    Args:
        config: of the run.
        about: what the checkpoint says of the data.

    Raises:
        UserError: they are not there.
    """
    options = dict(config["data"])
    if "classes" in options:  # a user's folder: the labels are those of training
        options["classes"] = about["classes"]
    given = str(options["root"]) if "root" in options else ""
    roots = list(dict.fromkeys(filter(None, (given, os.environ.get("TORCHATLAS_DATA"))))) if given else [""]
    for root in roots:
        try:
            data = build_data(options | ({"root": root} if root else {}))
            data.load_state_dict(dict(about))
            data.setup("test")
        except (OSError, RuntimeError, UserError) as error:
            reason = str(error).partition("\n")[0]
        else:
            return data
    raise UserError(
        f"the data of training are not in {' or '.join(roots)} ({reason}): name their folder in the environment "
        "variable TORCHATLAS_DATA"
    )


def restore(where: str) -> tuple[Path, Task, dict[str, Any]]:
    """The task with the trained network, in eval mode, from the checkpoint alone.

    Args:
        where: a checkpoint, or a run folder, of which the best checkpoint is taken.

    Returns:
        The checkpoint's path, the task, and what the checkpoint says of config and data.

    Raises:
        UserError: there is no checkpoint, it is damaged, or its config asks for code that is not allowed.
    """
    path = find_checkpoint(where, "best")
    checkpoint = read(path)
    about: dict[str, Any] = checkpoint["torchatlas"]
    config = about["config"] = renamed(about["config"])
    for part in ("model", "task", "data"):
        require_trusted(config[part])
    require_trusted(about["data"])
    task = build_task(config["task"], build_network(config["model"]))
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise UserError(f"the weights in {path} do not fit the network of its config: {error}") from error
    return path, task.eval(), about


def reader(about: dict[str, Any]) -> DataModule:
    """The data of a checkpoint, to read a user's files as in training, see `DataModule.read`.

    Nothing of the data set is needed, nor looked for: made data stand in its place.

    Args:
        about: see `restore`.
    """
    config = about["config"]["data"] | {"fake": True}
    if "tokenizer" in config:  # the checkpoint has its own, whatever has become of that file
        config["tokenizer"] = None
    data = build_data(config)
    data.load_state_dict(about["data"])
    return data


def exemplify(task: Task, data: DataModule) -> None:
    """Give a network that has no `example_input`, as one of a user's own, that of the data."""
    if not isinstance(task.network, Exemplified):
        task.network.example_input = lambda batch=2: task.inputs(data.example_batch(batch))  # type: ignore[assignment]


def tell_changes(data: DataModule, about: Mapping[str, Any], splits: Iterable[str]) -> None:
    """Say in a line where splits hold something else than in the run whose checkpoint it is.

    Args:
        data: set up.
        about: see `restore`.
        splits: those that are used.
    """
    before = {split: about["contents"][split] for split in splits if split in about.get("contents", {})}
    if found := changes(before, data.contents(before)):
        log.warning("these are not the data of the run: %s", found)


def restored_data(about: dict[str, Any], root: str = "") -> DataModule:
    """The data of a checkpoint, with the classes and the statistics of the training; nothing is read yet.

    Args:
        about: see `restore`.
        root: folder of the data; else the one of training if it is there, else the one in TORCHATLAS_DATA.
    """
    config = about["config"]["data"]
    if "root" in config:
        if not root and not Path(config["root"]).exists():
            root = os.environ.get("TORCHATLAS_DATA", "")
        config["root"] = root or config["root"]
    if "classes" in config:  # a user's folder: the labels are those of training
        config["classes"] = about["data"]["classes"]
    data = build_data(config)
    data.load_state_dict(about["data"])
    return data

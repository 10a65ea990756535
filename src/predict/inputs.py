"""What a user names: images with input=, and with output= where something is written."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.images.base import ImageData
from ..data.reading import find_files
from ..errors import UserError
from ..run.restore import reader, restored_data
from ..tasks.base import Task
from .rows import file_for, made_folder


def home_of(path: Path) -> Path:
    """The run folder of a checkpoint.

    Raises:
        UserError: it is in none.
    """
    home = path.absolute().parent.parent
    if not (home / "config.yaml").is_file():
        raise UserError(f"{path} is in no run folder: say with output= where to write")
    return home


def folder_for(path: Path, output: str, name: str) -> Path:
    """The folder that a command writes to: the given one, or `name` in the run folder."""
    return made_folder(Path(output).expanduser() if output else home_of(path) / name)


def given_images(task: Task, about: dict[str, Any], given: str, n: int, root: str = "") -> tuple[Tensor, list[str]]:
    """Inputs `n c h w` of the network and their names: from a user's files, or the first of the test split.

    Raises:
        UserError: there are no such files.
    """
    if n < 1:
        raise UserError(f"the number of images, {n}, must be at least 1")
    if given:
        data = reader(about)
        assert isinstance(data, ImageData)
        paths = [path for part in given.split(",") for path in find_files(part, data.endings)][:n]
        parts = [x for x, *_ in data.batches(data.read_files(paths), task.device)]
        return torch.cat(parts), [path.name for path in paths]
    module = restored_data(about, root)
    module.prepare_data()
    module.setup("test")
    indices = torch.arange(min(n, len(module.splits["test"])))
    x = module.transform(module.splits["test"][-1, indices])[0]
    return x.to(task.device), [f"test {i}" for i in indices.tolist()]


def picture_file(path: Path, output: str, name: str) -> Path:
    """The PNG that a command writes: the given one, or `name` in the run folder."""
    file = Path(output).expanduser() if output else home_of(path) / name
    if file.suffix.lower() != ".png":
        raise UserError(f"output={output} must be a PNG file, as in output={Path(output).with_suffix('.png')}")
    return file_for(str(file))

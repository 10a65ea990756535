"""What a user names with input=: files, folders, lines of text, images."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from ..data.images.image_folder import load_image
from ..data.text.base import read_text
from ..errors import UserError
from ..run.restore import restored_data
from ..tasks.base import Task

IMAGES = 8  # that are explained
BATCH = 64


def _images(given: str) -> list[Path]:
    source = Path(given).expanduser()
    if not source.exists():
        raise UserError(f"there is no file or folder {source}: name one with input=PATH")
    if source.is_file():
        return [source]
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)
    if not found:
        raise UserError(f"{source} holds no file that ends in {', '.join(IMG_EXTENSIONS)}")
    if len(found) > IMAGES:
        print(f"the first {IMAGES} of {len(found)} images in {source} are taken")
    return found[:IMAGES]


def _lines(given: str) -> list[str]:
    """The lines of a file.

    Raises:
        UserError: there is none, or it is empty or no UTF-8.
    """
    path = Path(given).expanduser()
    if not path.is_file():
        raise UserError(f"there is no file {path}: name one with input=PATH")
    lines = read_text(path).removesuffix("\n").split("\n")
    if not any(line.strip() for line in lines):
        raise UserError(f"{path} is empty: give a text")
    return lines


def find_files(source: Path, endings: tuple[str, ...]) -> list[Path]:
    """A file, or those under a folder with certain endings."""
    if source.is_file():
        return [source]
    if not source.exists():
        raise UserError(f"there is no file or folder {source}: name one with input=PATH")
    found = sorted(p for p in source.rglob("*") if p.suffix.lower() in endings)
    if not found:
        raise UserError(f"{source} holds no file that ends in {', '.join(endings)}")
    return found


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
    folder = Path(output).expanduser() if output else home_of(path) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror}): name another with output=FOLDER") from error
    return folder


def given_images(task: Task, about: dict[str, Any], given: str, n: int, root: str = "") -> tuple[Tensor, list[str]]:
    """Inputs `n c h w` of the network and their names: from a user's files, or the first of the test split.

    Raises:
        UserError: there are no such files.
    """
    if n < 1:
        raise UserError(f"the number of images, {n}, must be at least 1")
    data = about["data"]
    if given:
        paths = [path for part in given.split(",") for path in find_files(Path(part).expanduser(), IMG_EXTENSIONS)][:n]
        images = torch.stack(
            [load_image(p, data["in_channels"], data["image_size"], data.get("resize")) for p in paths]
        )
        mean, std = (torch.tensor(data[key])[:, None, None] for key in ("mean", "std"))
        return ((images / 255 - mean) / std).to(task.device), [path.name for path in paths]
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
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{file.parent} cannot be made ({error.strerror}): name another place with output=") from error
    return file

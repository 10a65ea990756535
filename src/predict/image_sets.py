"""Images that are compared: of a split, of a folder, of a network's own."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..data.images.base import ImageData, fit_images
from ..data.images.files import ENDINGS, load_image
from ..data.loading import BatchDataset
from ..data.reading import LeftOut, list_files
from ..errors import UserError
from ..run.restore import restored_data
from ..tasks.base import Task


@dataclass(frozen=True)
class Pictures:
    """Images that can be read again, by their numbers.

    Attributes:
        name: for people.
        size: how many.
        read: int64 `b` to uint8 `b c h w`.
        labels: int64 `size`, where there are any.
    """

    name: str
    size: int
    read: Callable[[Tensor], Tensor]
    labels: Tensor | None = None

    def batches(self, batch: int, indices: Tensor) -> Iterator[Tensor]:
        for part in indices.split(batch):
            yield self.read(part)


def from_split(name: str, dataset: BatchDataset, channels: int, size: int) -> Pictures:
    """Images of a split as they are stored, without augmentation, in the samples' format."""
    labels: Any = getattr(dataset, "labels", None)
    return Pictures(name, len(dataset), lambda indices: fit_images(dataset[-1, indices][0], channels, size), labels)


def from_folder(folder: Path, channels: int, size: int) -> Pictures:
    """Files in a folder, the shorter side scaled to `size` and the centre cut out where they have another size."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: name one with images")
    left = LeftOut()
    names = list_files(folder, ENDINGS, left)
    left.say(folder)
    if not names:
        raise UserError(f"{folder} holds no image: name a folder with images")

    def read(indices: Tensor) -> Tensor:
        return torch.stack([load_image(folder / names[i], channels, size) for i in indices.tolist()])

    return Pictures(str(folder), len(names), read)


def format_of(folder: Path) -> tuple[int, int]:
    """Channels and side of the images in a folder of samples, which must have one size.

    Raises:
        UserError: there are none, they differ in size, or they are not square.
    """
    found: dict[tuple[int, int], str] = {}
    grey = True
    for name in list_files(folder, ENDINGS) if folder.is_dir() else []:
        try:
            with Image.open(folder / name) as image:
                found.setdefault(image.size, name)
                grey = grey and image.mode in ("1", "L", "LA", "I;16")
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(
                f"{folder / name} cannot be read as an image ({error}): mend it, or move it elsewhere"
            ) from error
    if not found:
        raise UserError(f"input={folder} holds no image: name a folder with the generated images")
    sizes = [f"{name} has {width} x {height} pixels" for (width, height), name in found.items()]
    if len(found) > 1 or any(width != height for width, height in found):
        raise UserError(f"generated images must be square and of one size, and in {folder} {' and '.join(sizes[:2])}")
    return 1 if grey else 3, next(iter(found))[0]


def generate(
    task: Task, n: int, *, seed: int, batch: int, labels: Tensor | None, options: Mapping[str, Any]
) -> Iterator[Tensor]:
    """Samples as uint8 `b c h w`, n in all.

    Args:
        labels: classes of the training images, from which those of the samples are drawn; None: no classes.
        options: of the task's `sample`.
    """
    if labels is not None:
        chosen = torch.randint(len(labels), (n,), generator=torch.Generator().manual_seed(seed))
        labels = labels[chosen]
    sample: Any = task.sample
    for start in range(0, n, batch):
        size = min(batch, n - start)
        given: dict[str, Any] = {"seed": seed, "first": start, **options}
        if labels is not None:
            given["labels"] = labels[start : start + size]
        yield (255 * sample(size, **given)).round().clamp(0, 255).to(torch.uint8).cpu()


def open_data(about: dict[str, Any], root: str = "") -> ImageData:
    """The images that a run was trained and tested with; see `restored_data`."""
    data = restored_data(about, root)
    if not isinstance(data, ImageData):
        raise UserError("quality compares images, and this checkpoint is of other data")
    data.prepare_data()
    data.setup("test")
    return data

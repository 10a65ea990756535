"""Images that a network makes: whose, how many at a time, and how they are laid out and saved."""

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.images.base import ImageDescription
from ..errors import UserError, nearest
from ..run.devices import device_of
from ..run.restore import restore
from ..tasks.base import Task
from ..tasks.diffusion import Diffusion, seen
from .registry import Trained, find, other_way

log = logging.getLogger(__name__)
COLUMNS = 8  # of a grid
TILE = 48  # pixels that an image of a grid has at least; smaller ones are enlarged by whole numbers
QUIET = 10.0  # seconds after which the progress is told


class Progress:
    """Says now and then, in plain lines, how far a long computation is."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.begun, self.said = total, 0, time.monotonic(), time.monotonic()

    def step(self) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.said >= QUIET and self.done < self.total:
            self.said = now
            left = (now - self.begun) / self.done * (self.total - self.done)
            log.info("step %d of %d, %.0f s left", self.done, self.total, left)


def pictures(task: Task, x: Tensor) -> Tensor:
    """Inputs as images from 0 to 1."""
    return seen(x) if isinstance(task, Diffusion) else x.clamp(0, 1)


def to_pixels(images: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Images `n c h w` from 0 to 1 as uint8 `n h w 3`."""
    levels = (images.float().cpu() * 255).round().to(torch.uint8)
    return levels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def arrange(images: Tensor, columns: int, gap: int = 2) -> Image.Image:
    """A grid of images `n c h w` from 0 to 1, row by row, small ones enlarged."""
    pixels = to_pixels(images)
    h, w = pixels.shape[1:3]
    scale = max(1, -(-TILE // max(h, w)))
    rows = -(-len(pixels) // columns)
    sheet = np.full((rows * (scale * h + gap) + gap, columns * (scale * w + gap) + gap, 3), 255, np.uint8)
    for i, image in enumerate(pixels):
        top, left = gap + i // columns * (scale * h + gap), gap + i % columns * (scale * w + gap)
        sheet[top : top + scale * h, left : left + scale * w] = image.repeat(scale, 0).repeat(scale, 1)
    return Image.fromarray(sheet)


def save_single(images: Tensor, paths: Sequence[Path]) -> None:
    """Each image as a file of its own size, grey where it has one channel."""
    for image, path in zip((images.float().cpu() * 255).round().to(torch.uint8), paths, strict=True):
        array = image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()
        Image.fromarray(array).save(path)


def save_animation(frames: Sequence[Image.Image], path: Path) -> None:
    """An animated picture that rests on its last frame; a GIF, of which all frames share one palette."""
    palette = frames[-1].quantize(256)
    paletted = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [60] * (len(frames) - 1) + [2000]
    paletted[0].save(path, save_all=True, append_images=paletted[1:], duration=durations, loop=0)


def maker(where: str, command: str, what: str) -> tuple[Path, Any, dict[str, Any]]:
    """A checkpoint's task, on the device that there is.

    Args:
        where: see `restore`.
        command: the one that asks, which is called like the task's method.
        what: it does, in words.

    Raises:
        UserError: it is of a task that has no such method.
    """
    path, task, about = restore(where)
    checkpoint = Trained.of_checkpoint(task, about)
    if find(command, checkpoint) is None:
        raise UserError(f"{path} was trained for {task.name}, and cannot {what}: {other_way(command, checkpoint)}")
    task.place(device_of())
    return path, task, about


def labels_of(task: Any, about: dict[str, Any], given: str, n: int) -> Tensor | None:
    """Classes of n images.

    Args:
        task: of a diffusion.
        about: what the checkpoint says of the data.
        given: a name; several with commas between, which take turns; "all" for all of them; empty for none.
        n: images.

    Raises:
        UserError: a network that does not know classes, or a class that it does not know.
    """
    if not given:
        return None
    if not getattr(task, "conditional", False):
        raise UserError("this network was not trained with classes: leave out class=, or train model=ddpm_small")
    described: ImageDescription = about["data"]
    classes = list(map(str, described["classes"]))
    names = classes if given == "all" else given.split(",")
    for name in names:
        if name not in classes:
            raise UserError(f"there is no class {name!r}{nearest(name, classes)}")
    return torch.tensor([classes.index(names[i % len(names)]) for i in range(n)])


def options_of(task: Task, **given: Any) -> dict[str, Any]:
    """Options of a diffusion's samplers that were given.

    Raises:
        UserError: options for another task.
    """
    options = {key: value for key, value in given.items() if value}
    if options and not isinstance(task, Diffusion):
        raise UserError(f"{', '.join(options)}: only diffusion has this, and this checkpoint is of {task.name}")
    return options


def batches(n: int, size: int) -> Iterator[range]:
    if n < 1 or size < 1:
        raise UserError(f"n={n} and batch={size} must be at least 1")
    for start in range(0, n, size):
        yield range(start, min(n, start + size))

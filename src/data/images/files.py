"""Image files, decoded as networks take them."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, features
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import functional as F

from ...counter import uniform
from .reader import PixelReader, unlimited

ENDINGS: tuple[str, ...] = (
    *IMG_EXTENSIONS, ".jpe", ".jfif", ".gif", ".pbm", ".pnm", *((".avif",) if features.check("avif") else ()),
)  # fmt: skip
AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of a random crop, see `random_crop`
ATTEMPTS = 10
LONGEST = 16  # times the shorter side: of longer images only the middle is read
DRAWS = 2 * ATTEMPTS + 2
GAP = 2  # how much larger than wanted a JPEG file is at least decoded, as in Pillow's `thumbnail`
CROP_STREAM = 0x63726F70  # added to the seed, so that crops share no random numbers with flips and the like


@unlimited()
def load_image(
    path: Path, in_channels: int, image_size: int, resize: int | None = None, reader: PixelReader | None = None
) -> Tensor:  # fmt: skip
    """A file as uint8 `c h w`: the shorter side is scaled to `resize`, then the centre is cut out.

    Args:
        path: the file.
        in_channels: 1 (grey) or 3 (colour).
        image_size: height and width of the result, in pixels.
        resize: pixels of the shorter side before the cut; None: `image_size`.
        reader: how files become pixels; None: as by default.

    Raises:
        UserError: the file is no readable image; it is named.
    """
    reader = reader or PixelReader()
    image, size = reader.read(path)
    return fitted(image, size, in_channels, image_size, resize, reader)


def fitted(
    image: Image.Image, size: tuple[int, int], in_channels: int, image_size: int, resize: int | None,
    reader: PixelReader,
) -> Tensor:  # fmt: skip
    """The same of an image with 8 bits a channel, whose width and height are `size`."""
    width, height = size
    if max(width, height) > LONGEST * min(width, height):  # scaled whole, a line of pixels would fill the memory
        w, h = (min(side, LONGEST * min(width, height)) for side in (width, height))
        image = image.crop(((width - w) // 2, (height - h) // 2, (width + w) // 2, (height + h) // 2))
    tensor = F.pil_to_tensor(reader.colours(image, in_channels))
    tensor = F.resize(tensor, [resize or image_size], antialias=True)
    tensor = F.center_crop(tensor, [image_size, image_size])
    assert isinstance(tensor, Tensor)
    return tensor


def random_crop(height: int, width: int, random: Sequence[float]) -> tuple[int, int, int, int]:
    """A part of an image with random area and shape (Szegedy et al. 2014, arXiv:1409.4842, section 6).

    As `torchvision.transforms.RandomResizedCrop.get_params` does: the area is uniform in 8 to 100 per cent of the
    image, the logarithm of width / height in log 3/4 to log 4/3; ten attempts to fit it into the image, then the
    largest central part of an allowed shape.

    Args:
        height, width: of the image, in pixels.
        random: `DRAWS` numbers in [0, 1): two for each attempt, two for the place.

    Returns:
        top, left, height, width.
    """
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    for k in range(ATTEMPTS):
        area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * random[2 * k])
        ratio = math.exp(low + (high - low) * random[2 * k + 1])
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(random[-2] * (height - h + 1)), int(random[-1] * (width - w + 1)), h, w
    w, h = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    return (height - h) // 2, (width - w) // 2, h, w


@unlimited()
def load_crop(
    path: Path, in_channels: int, image_size: int, random: Sequence[float], reader: PixelReader | None = None
) -> Tensor:  # fmt: skip
    """A random part of a file, scaled to `image_size`, as uint8 `c h w`; see `random_crop`.

    A JPEG file whose part is at least 4, 8 or 16 times as large as wanted is decoded at 1/2, 1/4 or 1/8 of its size,
    which takes less time (inverse cosine transforms of 4, 2 or 1 instead of 8 points).

    Raises:
        UserError: the file is no readable image; it is named.
    """
    reader = reader or PixelReader()

    def shrink(width: int, height: int) -> int:
        _, _, h, w = random_crop(height, width, random)
        return next(s for s in (8, 4, 2, 1) if min(h, w) >= GAP * s * image_size or s == 1)

    image, (width, height) = reader.read(path, shrink)
    top, left, h, w = random_crop(height, width, random)
    x, y = image.size[0] / width, image.size[1] / height
    size = (image_size, image_size)
    if x < 1:  # the part's edges lie between pixels, which Pillow's scaling alone can do
        part = image.resize(size, Image.Resampling.BILINEAR, (left * x, top * y, (left + w) * x, (top + h) * y))
    else:
        part = image.crop((left, top, left + w, top + h))
    pixels: Tensor = F.pil_to_tensor(reader.colours(part, in_channels))
    if pixels.shape[1:] == size:
        return pixels
    return torch.nn.functional.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0]


class ImageFiles:
    """The same batches as `InMemoryImages`, decoded from files when asked for.

    Args:
        root: folder.
        names: the files, relative to it, as one array of bytes: workers share its memory, which they would not with
            a million Python objects, whose counters of references are written at each use.
        labels: int64 of shape `n`.
        in_channels, image_size, resize: see `load_image`.
        crop_seed: of the random crops in training; None: training images are cut as in evaluation.
        reader: how files become pixels; None: as by default.
    """

    again = True

    def __init__(
        self, root: Path, names: NDArray[np.bytes_], labels: Tensor, *, in_channels: int, image_size: int,
        resize: int | None = None, crop_seed: int | None = None, reader: PixelReader | None = None,
    ) -> None:  # fmt: skip
        self.root, self.names, self.labels = root, names, labels
        self.in_channels, self.image_size, self.resize = in_channels, image_size, resize
        self.crop_seed, self.reader = crop_seed, reader or PixelReader()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor, Tensor, int]:
        epoch, indices = key
        images = torch.empty((len(indices), self.in_channels, self.image_size, self.image_size), dtype=torch.uint8)
        places = indices % len(self)
        paths = [self.root / os.fsdecode(name) for name in self.names[places.numpy()]]
        with self.reader.counted_once():
            if epoch >= 0 and self.crop_seed is not None:
                random = uniform(self.crop_seed + CROP_STREAM, epoch, indices, DRAWS).tolist()
                for image, path, numbers in zip(images, paths, random, strict=True):
                    image.copy_(load_crop(path, self.in_channels, self.image_size, numbers, self.reader))
            else:
                for image, path in zip(images, paths, strict=True):
                    image.copy_(load_image(path, self.in_channels, self.image_size, self.resize, self.reader))
        return images, self.labels[places], indices, epoch

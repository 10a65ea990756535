"""Images and masks in files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...errors import UserError
from ..images.reader import PixelReader
from .codes import IGNORED, Pair, read_mask

Weigh = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def read_list(path: Path, folder: Path) -> str:
    """The text of a list of files that comes with a published set.

    Args:
        path: of the list.
        folder: of the set, which is named where the list is missing.

    Raises:
        UserError: there is no such file.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} is missing: move {folder}, which is incomplete, elsewhere to get it anew") from None


def read_image(path: Path, in_channels: int, reader: PixelReader, *, upright: bool | None = None) -> NDArray[np.uint8]:
    """A file as grey or colour levels, `c h w`; see `PixelReader.open`."""
    image, _ = reader.read(path, upright=upright)
    pixels: NDArray[np.uint8] = np.asarray(reader.colours(image, in_channels))
    return pixels[None] if in_channels == 1 else pixels.transpose(2, 0, 1)


def fit_pair(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], size: int
) -> tuple[Tensor, Tensor, tuple[int, int]]:  # fmt: skip
    """An image and its mask in a square.

    Larger images are scaled down until both sides fit: the image bilinear with a filter, the mask nearest. Smaller ones
    keep their size. What is left to the right and below is the mirror image, and ignored in the mask, so that no pixel
    of an evaluation is cut off and none counts twice.

    Args:
        image: `c h w`.
        mask: `h w`.
        size: side of the square in pixels.

    Returns:
        uint8 `c s s` and `s s`, and the height and width of the image in it.
    """
    pixels, classes = torch.from_numpy(image.copy()), torch.from_numpy(mask.copy())
    h, w = classes.shape
    if max(h, w) > size:
        h, w = (max(1, round(side * size / max(h, w))) for side in (h, w))
        pixels = F.interpolate(pixels[None].float(), (h, w), mode="bilinear", antialias=True)[0]
        pixels = pixels.round().clamp(0, 255).to(torch.uint8)
        classes = F.interpolate(classes[None, None].float(), (h, w), mode="nearest-exact")[0, 0].to(torch.uint8)
    below, right = size - h, size - w
    if below or right:
        filled = np.pad(pixels.numpy(), ((0, 0), (0, below), (0, right)), mode="symmetric")
        pixels = torch.from_numpy(filled)
        classes = F.pad(classes, (0, right, 0, below), value=IGNORED)
    return pixels, classes, (h, w)


def weights_of(mask: Tensor, weigh: Weigh) -> Tensor:
    return torch.from_numpy(weigh(mask.numpy()))


@dataclass(frozen=True)
class WholeImages:
    """A user's images, each of its own size: a batch is one image, without a mask.

    Attributes:
        paths: the files.
        in_channels: of the images.
        reader: how files become pixels.
    """

    paths: Sequence[Path]
    in_channels: int
    reader: PixelReader = field(default_factory=PixelReader)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Any, ...]:
        """As in `InMemoryMasks`, with all pixels ignored."""
        epoch, indices = key
        (image,) = (torch.tensor(read_image(self.paths[i], self.in_channels, self.reader)) for i in indices.tolist())
        mask = torch.full(image.shape[1:], IGNORED, dtype=torch.uint8)
        return image[None], mask[None], torch.tensor([image.shape[1:]]), indices, epoch


@dataclass(frozen=True)
class PairedFiles:
    """The same batches as `InMemoryMasks`, decoded from files when asked for.

    Attributes:
        pairs: the files of image and mask, see `Pair`.
        classes: the class of each code in the masks, see `StoredMask`.
        in_channels: of the images.
        size: side of the square that each is fitted into, see `fit_pair`.
        reader: how files become pixels.
        weigh: pixel weights of a mask, or None.
    """

    pairs: Sequence[Pair]
    classes: Mapping[int, int]
    in_channels: int
    size: int
    reader: PixelReader = field(default_factory=PixelReader)
    weigh: Weigh | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, index: int) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """One image and mask.

        A photograph is upright, as its mask mostly is, but for a mask that only fits the pixels as they are stored.

        Raises:
            UserError: a file cannot be read, or the two differ in size.
        """
        image_path, mask_path = self.pairs[index]
        image = read_image(image_path, self.in_channels, self.reader)
        mask = read_mask(self.pairs[index], self.classes)
        if image_path == mask_path:
            image = image[..., : image.shape[2] // 2]
        if image.shape[:0:-1] == mask.shape != image.shape[1:]:
            image = read_image(image_path, self.in_channels, self.reader, upright=False)
        if image.shape[1:] != mask.shape:
            (h, w), (i, j) = image.shape[1:], mask.shape
            raise UserError(f"{mask_path} is of {j}x{i} pixels and its image {image_path} of {w}x{h}: make them alike")
        return fit_pair(image, mask, self.size)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Any, ...]:
        epoch, indices = key
        images, masks, sizes = zip(*(self.read(i) for i in indices.tolist()), strict=True)
        weights = () if self.weigh is None else (torch.stack([weights_of(mask, self.weigh) for mask in masks]),)
        return torch.stack(images), torch.stack(masks), *weights, torch.tensor(sizes), indices, epoch

    def masks_of(self, indices: Tensor) -> Tensor:
        masks = [read_mask(self.pairs[i], self.classes) for i in indices.tolist()]
        return torch.stack([fit_pair(mask[None], mask, self.size)[1] for mask in masks])

"""Our data as a tutorial would read them: one sample at a time, images through PIL and torchvision's transforms."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from ..data.base import DataModule
from ..data.images.augment import Augmentation
from ..data.images.base import ImageData
from ..errors import UserError


class Pictures(Dataset[tuple[Any, int]]):
    """Images in memory or in files, a picture and its label at a time.

    Args:
        images: uint8 `n h w` or `n h w c`, or the files.
        labels: of each.
        transform: what becomes of a picture.
        mode: PIL's name for the channels.
    """

    def __init__(
        self, images: NDArray[np.uint8] | Sequence[Path], labels: Tensor, transform: Callable[[Any], Any], mode: str
    ) -> None:
        self.images, self.labels, self.transform, self.mode = images, labels, transform, mode

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        found = self.images[index]
        image = Image.open(found).convert(self.mode) if isinstance(found, Path) else Image.fromarray(found)
        return self.transform(image), int(self.labels[index])


def samples_of(data: DataModule) -> Dataset[Any]:
    """The training samples of data that are set up: images as above, all others ready in memory.

    Raises:
        UserError: the samples have no common shape, and no tutorial's loader could make a batch of them.
    """
    if isinstance(data, ImageData):
        return pictures(data)
    parts = list(zip(*data.iterate("train", epoch=0), strict=True))
    if any(not isinstance(x, Tensor) or x.shape[1:] != part[0].shape[1:] for part in parts for x in part):
        raise UserError(f"{type(data).__name__} pads samples, which no loop of a tutorial does: leave out naive")
    return TensorDataset(*map(torch.cat, parts))


def pictures(data: ImageData) -> Pictures:
    """Labelled images with the cropping and mirroring of the config, by torchvision."""
    train: Any = data.splits["train"]
    mode, transform = "L" if data.in_channels == 1 else "RGB", transforms_of(data)
    if hasattr(train, "images") and not data.split_files.get("train"):
        images = train.images.permute(0, 2, 3, 1).numpy()
        return Pictures(images[..., 0] if data.in_channels == 1 else images, train.labels, transform, mode)
    return Pictures(files_of(data), train.labels, transform, mode)


def files_of(data: ImageData) -> list[Path]:
    """Of the training split."""
    folder, names = data.split_files["train"]
    return [folder / (bytes(name).decode() if isinstance(name, bytes | np.bytes_) else str(name)) for name in names]


def transforms_of(data: ImageData) -> Callable[[Any], Any]:
    """What a tutorial composes for the same images.

    Raises:
        UserError: the config asks for more than that.
    """
    from torchvision import transforms

    if data.augment != Augmentation.of({}, in_channels=data.in_channels, image_size=data.image_size):
        raise UserError("naive, lightning and huggingface have no augment=: leave it out, or leave them out")
    steps: list[Any] = []
    if data.split_files.get("train"):
        if getattr(data, "random_resized_crop", False):
            steps.append(transforms.RandomResizedCrop(data.image_size))
        else:
            steps += [transforms.Resize(data.resize or data.image_size), transforms.CenterCrop(data.image_size)]
    if data.crop_padding:
        steps.append(transforms.RandomCrop(data.image_size, padding=data.crop_padding))
    if data.flip:
        steps.append(transforms.RandomHorizontalFlip())
    last = [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
    found: Callable[[Any], Any] = transforms.Compose([*steps, *last])
    return found

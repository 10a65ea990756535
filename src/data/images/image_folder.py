"""A user's own folder of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import UserError
from ..folders import class_folders, find_classes, find_splits, labelled_files
from ..loading import BatchDataset
from ..splits import cut_missing
from .base import ImageData, ImageDescription, InMemoryImages
from .files import ENDINGS, ImageFiles

MADE_CLASSES = 10  # of made data


class FolderDescription(ImageDescription):
    """Image files; `resize` are the pixels of the shorter side before the centre is cut out, or None."""

    resize: int | None


class ImageFolder(ImageData):
    """Images in one folder per class.

    Either `root/train/CLASS/IMAGE`, with `val` and `test` beside `train` where the user has them, or
    `root/CLASS/IMAGE`. A split that is not there is cut from the training images by a checksum of each file's name,
    so that a file that is added moves no other. Mean and spread are computed once from the training images and
    travel in the checkpoint. Sets that fit into `memory` are decoded once and held as uint8; larger ones are
    decoded by the workers in every epoch.

    Args:
        share: of the training images, for each split that has to be cut, about.
        memory: bytes up to which all images are held in memory.
        classes: names in the order of the labels; by default the sorted folder names. A checkpoint gives its own.
        statistics_samples: images, evenly spaced, from which mean and spread are computed.
        resize: pixels to which the shorter side is scaled before the centre is cut out; None: `image_size`.
        random_resized_crop: training images are parts of random place, area and shape, see `random_crop`, a function
            of seed, epoch and index; the files are then decoded in every epoch.
        others: see `ImageData`.
    """

    def __init__(
        self,
        *,
        share: float = 0.1,
        memory: int = 2**30,
        classes: Sequence[str] | None = None,
        statistics_samples: int = 2000,
        resize: int | None = None,
        random_resized_crop: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 < share < 0.5:
            raise UserError(f"data.share={share} must be between 0 and 0.5")
        if resize is not None and (not isinstance(resize, int) or resize < self.image_size):
            raise UserError(
                f"data.resize={resize} must be a whole number from data.image_size={self.image_size}, or null for it"
            )
        self.share, self.memory, self.statistics_samples = share, memory, statistics_samples
        self.resize, self.random_resized_crop = resize, random_resized_crop
        if classes is None:
            classes = self.classes if self.fake else class_folders(self.find_splits())
        self.folders = list(classes)
        self.classes = self.name_classes(self.folders)
        if len(self.classes) != self.num_classes:
            raise UserError(f"{self.root} has {len(self.classes)} classes, not data.num_classes={self.num_classes}")

    @classmethod
    def declare_num_classes(cls, root: str, fake: bool = False) -> int:
        """The folders of classes; ten of made data."""
        return MADE_CLASSES if fake else len(find_classes(root))

    def name_classes(self, folders: Sequence[str]) -> list[str]:
        """Names of the classes for people, from those of their folders."""
        return list(folders)

    def find_splits(self) -> dict[str, Path]:
        """Folders of the splits, see the function of this name."""
        return find_splits(self.root)

    def list_files(self, folder: Path) -> tuple[NDArray[np.bytes_], Tensor]:
        """Sorted image files of each class, relative to `root`, and their labels.

        Raises:
            UserError: a class has no image, or a folder is of no known class.
        """
        return labelled_files(self.root, folder, self.folders, ENDINGS, "image")

    def setup(self, stage: str | None = None) -> None:
        if self.splits or self.fake:
            super().setup(stage)
            return
        listed = {name: self.list_files(folder) for name, folder in self.find_splits().items()}
        files = cut_missing(listed, self.share, self.root, "image")
        self.split_files = {split: (self.root, names) for split, (names, _) in files.items()}
        splits: dict[str, BatchDataset] = {}
        size = sum(len(n) for n, _ in files.values()) * self.in_channels * self.image_size**2
        self.in_memory = size <= self.memory and not self.random_resized_crop
        for split, (names, labels) in files.items():
            dataset = ImageFiles(
                self.root, names, labels, in_channels=self.in_channels, image_size=self.image_size, resize=self.resize,
                crop_seed=self.seed if self.random_resized_crop else None, reader=self.pixel_reader,
            )  # fmt: skip
            if self.in_memory:
                images, labels, _, _ = dataset[-1, torch.arange(len(names))]
                splits[split] = InMemoryImages(images, labels)
            else:
                splits[split] = dataset
        if self.in_memory:
            self.num_workers = 0
        if not self.given_statistics:
            self.compute_statistics(splits["train"])
        self.pixel_reader.tell()
        self.splits = splits

    def compute_statistics(self, train: BatchDataset) -> None:
        """Mean and spread per channel of (at most `statistics_samples`) training images, on the scale 0..1."""
        step = -(-len(train) // self.statistics_samples)
        total = torch.zeros(self.in_channels, dtype=torch.float64)
        squares = torch.zeros_like(total)
        count = 0
        for indices in torch.arange(0, len(train), step).split(256):
            x = train[-1, indices][0].double() / 255
            total += x.sum((0, 2, 3))
            squares += x.square().sum((0, 2, 3))
            count += x[:, 0].numel()
        mean = total / count
        self.mean = mean.tolist()
        self.std = (squares / count - mean**2).clamp(min=1e-4).sqrt().tolist()
        self.given_statistics = True

    def describe(self) -> FolderDescription:
        return {**super().describe(), "resize": self.resize}

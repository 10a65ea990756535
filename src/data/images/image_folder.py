"""A user's own folder of images."""

from collections.abc import Sequence
from typing import Any

import torch

from ...errors import UserError
from ..base import require_memory
from ..loading import BatchDataset
from ..own_folder import OwnFolder, count_classes, require_share
from .base import ImageData, ImageDescription, InMemoryImages
from .files import ImageFiles

MADE_CLASSES = 10  # of made data


class FolderDescription(ImageDescription):
    """Image files.

    Attributes:
        resize: pixels of the shorter side before the centre is cut out, or None.
        seen: by which some of the training images are known again, see `torchatlas.data.seen`.
    """

    resize: int | None
    seen: list[str]


class ImageFolder(OwnFolder, ImageData):
    """Images in one folder per class, or with the classes in their names.

    Either `root/train/CLASS/IMAGE`, with `val` and `test` beside `train` where the user has them, or
    `root/CLASS/IMAGE`; with `label_from` without the folders of classes. A split that is not there is cut from the
    training images by a checksum of each file's name, so that a file that is added moves no other; a class of which
    nothing would be left to train is not cut. Mean and spread are computed once from the training images and travel in
    the checkpoint. Sets that fit into `memory` are decoded once and held as uint8; larger ones are decoded by the
    workers in every epoch.

    Args:
        share: of the training images, for each split that has to be cut, about.
        memory: bytes up to which all images are held in memory.
        label_from: a regular expression whose first group is the class in the name of each file, or else in its path
            below the folder of the split; None: the folders are the classes.
        classes: names in the order of the labels; by default the sorted names of the folders, or what `label_from`
            finds. A checkpoint gives its own.
        statistics_samples: images, evenly spaced, from which mean and spread are computed.
        resize: pixels to which the shorter side is scaled before the centre is cut out; None: `image_size`.
        random_resized_crop: training images are parts of random place, area and shape, see `random_crop`, a function
            of seed, epoch and index; the files are then decoded in every epoch.
        others: see `ImageData`.
    """

    noun = "image"

    def __init__(
        self,
        *,
        share: float = 0.1,
        memory: int = 2**30,
        label_from: str | None = None,
        classes: Sequence[str] | None = None,
        statistics_samples: int = 2000,
        resize: int | None = None,
        random_resized_crop: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_share(share)
        require_memory(memory)
        if resize is not None and (not isinstance(resize, int) or resize < self.image_size):
            raise UserError(
                f"data.resize={resize} must be a whole number from data.image_size={self.image_size}, or null for it"
            )
        self.share, self.memory, self.statistics_samples = share, memory, statistics_samples
        self.label_from = label_from
        self.resize, self.random_resized_crop = resize, random_resized_crop
        if classes is None:
            classes = self.classes if self.fake else self.find_folders()
        self.folders = list(classes)
        self.classes = self.name_classes(self.folders)
        if len(self.classes) != self.num_classes:
            raise UserError(f"{self.root} has {len(self.classes)} classes, not data.num_classes={self.num_classes}")

    @classmethod
    def declare_num_classes(cls, root: str, label_from: str | None = None, fake: bool = False) -> int:
        """The classes that folders or names of files say; ten of made data."""
        return MADE_CLASSES if fake else count_classes(root, label_from, cls.endings)

    def name_classes(self, folders: Sequence[str]) -> list[str]:
        """Names of the classes for people, from those of their folders."""
        return list(folders)

    def setup(self, stage: str | None = None) -> None:
        if self.splits or self.fake:
            super().setup(stage)
            return
        files = self.in_folds(self.list_splits())
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
        self.take_statistics(total / count, squares / count)

    def describe(self) -> FolderDescription:
        return {**super().describe(), "resize": self.resize, "seen": list(self.seen)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.seen = state_dict.get("seen", ())

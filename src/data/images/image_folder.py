"""A user's own folder of images."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import UserError
from ..base import SPLIT_SEED
from ..loading import BatchDataset
from ..reading import list_files
from .base import ImageData, ImageDescription, InMemoryImages
from .files import ENDINGS, ImageFiles

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}


def find_splits(root: Path) -> dict[str, Path]:
    """Folders of the splits that the user made; `{"all": root}` where the classes lie directly in `root`."""
    if not root.is_dir():
        raise UserError(f"the folder {root} does not exist: name one that holds a folder per class, data.root=FOLDER")
    folders = {entry.name.casefold(): entry for entry in root.iterdir() if entry.is_dir()}
    found = {split: folders[name] for split, names in SPLITS.items() for name in names if name in folders}
    if "train" not in found or not any(entry.is_dir() for entry in found["train"].iterdir()):
        return {"all": root}  # a class may be called train
    return found


def find_classes(root: str | Path) -> list[str]:
    """Class names: the sorted names of the folders inside the training folder.

    Raises:
        UserError: `root` is no folder, or holds fewer than two classes.
    """
    return class_folders(find_splits(Path(root).expanduser()))


def class_folders(splits: dict[str, Path]) -> list[str]:
    """The sorted names of the folders inside the training folder; see `find_classes`."""
    folder = splits["train" if "train" in splits else "all"]
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
    if len(classes) < 2:
        raise UserError(f"{folder} holds {len(classes)} class folders where at least 2 are needed: FOLDER/CLASS/FILE")
    return classes


def place_of(name: bytes, split: str) -> float:
    """A number in [0, 1) that depends on the file's name alone, so that new files do not move the others."""
    text = f"{SPLIT_SEED} {split} ".encode() + name
    return int.from_bytes(hashlib.sha256(text).digest()[:6]) / 2**48


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
        self.given_statistics = kwargs.get("mean") is not None and kwargs.get("std") is not None
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
        names: list[bytes] = []
        labels: list[int] = []
        known = set(self.folders)
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and entry.name[0] != "." and entry.name not in known:
                classes = ", ".join(self.folders) if len(known) <= 20 else f"({len(known)} of them)"
                raise UserError(f"{entry} is none of the training classes {classes}")
        for label, name in enumerate(self.folders):
            prefix = (folder / name).relative_to(self.root).as_posix()
            found = list_files(folder / name, ENDINGS) if (folder / name).is_dir() else []
            if not found:
                raise UserError(f"{folder / name} holds no image ({', '.join(ENDINGS)})")
            names += [os.fsencode(f"{prefix}/{image}") for image in found]
            labels += [label] * len(found)
        return np.array(names), torch.tensor(labels)

    def setup(self, stage: str | None = None) -> None:
        if self.splits or self.fake:
            super().setup(stage)
            return
        folders = self.find_splits()
        files = {name: self.list_files(folder) for name, folder in folders.items()}
        names, labels = files.pop("all") if "all" in files else files.pop("train")
        missing = [split for split in ("val", "test") if split not in files]
        for split in missing:  # the second of two cuts is from what the first has left
            cut = np.array([place_of(name, split) < self.share for name in names.tolist()])
            if not 0 < int(cut.sum()) < len(names):
                raise UserError(f"{len(names)} images in {self.root} are too few to cut the {split} split from")
            files[split] = names[cut], labels[torch.from_numpy(cut)]
            names, labels = names[~cut], labels[torch.from_numpy(~cut)]
        files["train"] = names, labels

        splits: dict[str, BatchDataset] = {}
        size = sum(len(n) for n, _ in files.values()) * self.in_channels * self.image_size**2
        self.in_memory = size <= self.memory and not self.random_resized_crop
        for split, (names, labels) in files.items():
            dataset = ImageFiles(
                self.root, names, labels, in_channels=self.in_channels, image_size=self.image_size, resize=self.resize,
                crop_seed=self.seed if self.random_resized_crop else None,
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

    def describe(self) -> ImageDescription:
        return {**super().describe(), "resize": self.resize}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.given_statistics = True

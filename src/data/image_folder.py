"""A user's own folder of images."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import functional as F

from ..errors import UserError
from .base import SPLIT_SEED
from .images import ImageData, InMemoryImages
from .loading import BatchDataset

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}


def find_splits(root: Path) -> dict[str, Path]:
    """Folders of the splits that the user made; `{"all": root}` where the classes lie directly in `root`."""
    if not root.is_dir():
        raise UserError(f"the folder {root} does not exist: name one that holds a folder per class, data.root=FOLDER")
    folders = {entry.name.casefold(): entry for entry in root.iterdir() if entry.is_dir()}
    found = {split: folders[name] for split, names in SPLITS.items() for name in names if name in folders}
    if "train" not in found:
        return {"all": root}
    return found


def find_classes(root: str | Path) -> list[str]:
    """Class names: the sorted names of the folders inside the training folder.

    Raises:
        UserError: `root` is no folder, or holds fewer than two classes.
    """
    splits = find_splits(Path(root).expanduser())
    folder = splits.get("train", splits.get("all"))
    assert folder is not None
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
    if len(classes) < 2:
        raise UserError(f"{folder} holds {len(classes)} class folders where at least 2 are needed: FOLDER/CLASS/IMAGE")
    return classes


def load_image(path: Path, in_channels: int, image_size: int) -> Tensor:
    """A file as uint8 `c h w`: the shorter side is scaled to `image_size`, then the centre is cut out.

    Raises:
        UserError: the file is no readable image; it is named.
    """
    try:
        with Image.open(path) as image:
            tensor = F.pil_to_tensor(image.convert("RGB" if in_channels == 3 else "L"))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image ({error}): mend or delete it") from error
    tensor = F.resize(tensor, [image_size], antialias=True)
    tensor = F.center_crop(tensor, [image_size, image_size])
    assert isinstance(tensor, Tensor)
    return tensor


def _place(path: Path, root: Path, split: str) -> float:
    """A number in [0, 1) that depends on the file's name alone, so that new files do not move the others."""
    text = f"{SPLIT_SEED} {split} {path.relative_to(root).as_posix()}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


class ImageFiles:
    """The same batches as `InMemoryImages`, decoded from files when asked for."""

    def __init__(self, paths: Sequence[Path], labels: Tensor, in_channels: int, image_size: int) -> None:
        self.paths, self.labels, self.in_channels, self.image_size = paths, labels, in_channels, image_size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor, Tensor, int]:
        epoch, indices = key
        images = [load_image(self.paths[i], self.in_channels, self.image_size) for i in indices.tolist()]
        return torch.stack(images), self.labels[indices], indices, epoch


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
        others: see `ImageData`.
    """

    def __init__(
        self,
        *,
        share: float = 0.1,
        memory: int = 2**30,
        classes: Sequence[str] | None = None,
        statistics_samples: int = 2000,
        **kwargs: Any,
    ) -> None:
        self.given_statistics = kwargs.get("mean") is not None and kwargs.get("std") is not None
        super().__init__(**kwargs)
        if not 0 < share < 0.5:
            raise UserError(f"data.share={share} must be between 0 and 0.5")
        self.share, self.memory, self.statistics_samples = share, memory, statistics_samples
        if classes is not None:
            self.classes = list(classes)
        elif not self.fake:
            self.classes = find_classes(self.root)
        if len(self.classes) != self.num_classes:
            raise UserError(f"{self.root} has {len(self.classes)} classes, not data.num_classes={self.num_classes}")

    def list_files(self, folder: Path) -> tuple[list[Path], Tensor]:
        """Sorted image files of each class and their labels.

        Raises:
            UserError: a class has no image, or a folder is of no known class.
        """
        paths: list[Path] = []
        labels: list[int] = []
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and entry.name[0] != "." and entry.name not in self.classes:
                raise UserError(f"{entry} is none of the training classes {', '.join(self.classes)}")
        for label, name in enumerate(self.classes):
            found = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in IMG_EXTENSIONS)
            if not found:
                raise UserError(f"{folder / name} holds no image ({', '.join(IMG_EXTENSIONS)})")
            paths += found
            labels += [label] * len(found)
        return paths, torch.tensor(labels)

    def setup(self, stage: str | None = None) -> None:
        if self.splits or self.fake:
            super().setup(stage)
            return
        folders = find_splits(self.root)
        files = {name: self.list_files(folder) for name, folder in folders.items()}
        paths, labels = files.pop("all") if "all" in files else files.pop("train")
        missing = [name for name in ("val", "test") if name not in files]
        for name in missing:  # the second of two cuts is from what the first has left
            cut = torch.tensor([_place(path, self.root, name) < self.share for path in paths])
            if not 0 < int(cut.sum()) < len(paths):
                raise UserError(f"{len(paths)} images in {self.root} are too few to cut the {name} split from")
            files[name] = ([p for p, c in zip(paths, cut, strict=True) if c], labels[cut])
            paths, labels = [p for p, c in zip(paths, cut, strict=True) if not c], labels[~cut]
        files["train"] = (paths, labels)

        splits: dict[str, BatchDataset] = {}
        size = sum(len(p) for p, _ in files.values()) * self.in_channels * self.image_size**2
        self.in_memory = size <= self.memory
        for name, (paths, labels) in files.items():
            split = ImageFiles(paths, labels, self.in_channels, self.image_size)
            if self.in_memory:
                images, labels, _, _ = split[-1, torch.arange(len(paths))]
                splits[name] = InMemoryImages(images, labels)
            else:
                splits[name] = split
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

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.given_statistics = True

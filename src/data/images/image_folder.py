"""A user's own folder of images."""

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import functional as F

from ...counter import uniform
from ...errors import UserError
from ..base import SPLIT_SEED
from ..loading import BatchDataset
from .base import ImageData, InMemoryImages

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
MODES = {1: "L", 3: "RGB"}  # Pillow's names
AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of a random crop, see `random_crop`
ATTEMPTS = 10
LONGEST = 16  # times the shorter side: of longer images only the middle is read
DRAWS = 2 * ATTEMPTS + 2
GAP = 2  # how much larger than wanted a JPEG file is at least decoded, as in Pillow's `thumbnail`
CROP_STREAM = 0x63726F70  # added to the seed, so that crops share no random numbers with flips and the like


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


def list_images(folder: Path) -> list[str]:
    """Image files under a folder, relative to it, with / between the parts, sorted part by part."""
    found: list[str] = []
    for where, _, names in os.walk(folder, onerror=_raise):  # its errors would else mean fewer images
        inside = Path(where).relative_to(folder).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        found += [prefix + name for name in names if os.path.splitext(name)[1].lower() in IMG_EXTENSIONS]
    return sorted(found, key=lambda name: name.split("/"))


def _raise(error: OSError) -> NoReturn:
    raise error


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):  # Pillow would cut their levels off at 255
                raise UserError(f"{path} has more than 8 bits a channel (mode {image.mode}): save it with 8")
            yield image
    except UserError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image ({error}): mend or delete it") from error


def load_image(path: Path, in_channels: int, image_size: int, resize: int | None = None) -> Tensor:
    """A file as uint8 `c h w`: the shorter side is scaled to `resize`, then the centre is cut out.

    Args:
        path: the file.
        in_channels: 1 (grey) or 3 (colour).
        image_size: height and width of the result, in pixels.
        resize: pixels of the shorter side before the cut; None: `image_size`.

    Raises:
        UserError: the file is no readable image; it is named.
    """
    with _opened(path) as image:
        width, height = image.size
        if max(width, height) > LONGEST * min(width, height):  # scaled whole, a line of pixels would fill the memory
            w, h = (min(side, LONGEST * min(width, height)) for side in (width, height))
            image = image.crop(((width - w) // 2, (height - h) // 2, (width + w) // 2, (height + h) // 2))
        tensor = F.pil_to_tensor(image.convert(MODES[in_channels]))
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


def load_crop(path: Path, in_channels: int, image_size: int, random: Sequence[float]) -> Tensor:
    """A random part of a file, scaled to `image_size`, as uint8 `c h w`; see `random_crop`.

    A JPEG file whose part is at least 4, 8 or 16 times as large as wanted is decoded at 1/2, 1/4 or 1/8 of its size,
    which takes less time (inverse cosine transforms of 4, 2 or 1 instead of 8 points).

    Raises:
        UserError: the file is no readable image; it is named.
    """
    with _opened(path) as image:
        width, height = image.size
        top, left, h, w = random_crop(height, width, random)
        scale = next(s for s in (8, 4, 2, 1) if min(h, w) >= GAP * s * image_size or s == 1)
        if scale > 1:
            image.draft(None, (width // scale, height // scale))  # other formats stay as they are
        x, y = image.size[0] / width, image.size[1] / height
        size = (image_size, image_size)
        if x < 1:  # the part's edges lie between pixels, which Pillow's scaling alone can do
            part = image.resize(size, Image.Resampling.BILINEAR, (left * x, top * y, (left + w) * x, (top + h) * y))
        else:
            part = image.crop((left, top, left + w, top + h))
        if part.mode != MODES[in_channels]:
            part = part.convert(MODES[in_channels])
    pixels: Tensor = F.pil_to_tensor(part)
    if pixels.shape[1:] == size:
        return pixels
    return torch.nn.functional.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0]


def place_of(name: bytes, split: str) -> float:
    """A number in [0, 1) that depends on the file's name alone, so that new files do not move the others."""
    text = f"{SPLIT_SEED} {split} ".encode() + name
    return int.from_bytes(hashlib.sha256(text).digest()[:6]) / 2**48


class ImageFiles:
    """The same batches as `InMemoryImages`, decoded from files when asked for.

    Args:
        root: folder.
        names: the files, relative to it, as one array of bytes: workers share its memory, which they would not with
            a million Python objects, whose counters of references are written at each use.
        labels: int64 of shape `n`.
        in_channels, image_size, resize: see `load_image`.
        crop_seed: of the random crops in training; None: training images are cut as in evaluation.
    """

    def __init__(
        self, root: Path, names: NDArray[np.bytes_], labels: Tensor, *, in_channels: int, image_size: int,
        resize: int | None = None, crop_seed: int | None = None,
    ) -> None:  # fmt: skip
        self.root, self.names, self.labels = root, names, labels
        self.in_channels, self.image_size, self.resize = in_channels, image_size, resize
        self.crop_seed = crop_seed

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor, Tensor, int]:
        epoch, indices = key
        images = torch.empty((len(indices), self.in_channels, self.image_size, self.image_size), dtype=torch.uint8)
        paths = [self.root / os.fsdecode(name) for name in self.names[indices.numpy()]]
        if epoch >= 0 and self.crop_seed is not None:
            random = uniform(self.crop_seed + CROP_STREAM, epoch, indices, DRAWS).tolist()
            for image, path, numbers in zip(images, paths, random, strict=True):
                image.copy_(load_crop(path, self.in_channels, self.image_size, numbers))
        else:
            for image, path in zip(images, paths, strict=True):
                image.copy_(load_image(path, self.in_channels, self.image_size, self.resize))
        return images, self.labels[indices], indices, epoch


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
            found = list_images(folder / name) if (folder / name).is_dir() else []
            if not found:
                raise UserError(f"{folder / name} holds no image ({', '.join(IMG_EXTENSIONS)})")
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

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"resize": self.resize}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.given_statistics = True

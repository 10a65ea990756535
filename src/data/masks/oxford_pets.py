"""Oxford-IIIT Pets with their trimaps."""

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ...errors import UserError
from ..download import fetch
from ..splits import carve
from .base import FileSegmentation
from .files import read_list


class OxfordPets(FileSegmentation):
    """7,349 photographs of cats and dogs of 37 breeds, with pet, background and the border between them.

    Parkhi, Vedaldi, Zisserman, Jawahar 2012, "Cats and Dogs", CVPR. The official splits: 3,669 images are the test
    split, and `val_size` of the 3,680 others are for validation. The border, a few pixels wide, is where the
    authors leave open what a pixel is; here it is a class of its own, so that the figures are of three classes.

    The files are in torchvision's layout, `root/oxford-iiit-pet/{images,annotations}`. Mean and spread are those of
    torchvision's weights for ImageNet.

    Args:
        others: see `FileSegmentation`.
    """

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    classes = ("pet", "background", "border")
    colours = ((230, 90, 60), (0, 0, 0), (255, 230, 120))
    objects = (0,)
    archives: ClassVar[dict[str, tuple[str, str]]] = {
        "images": ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c"),
        "annotations": (
            "https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
            "95a8c909bbe2e81eed6a22bccdf3f68f",
        ),
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.num_classes != 3:
            raise UserError(f"data.num_classes={self.num_classes} must be 3: pet, background and border")

    @property
    def folder(self) -> Path:
        return self.root / "oxford-iiit-pet"

    def list_of(self, split: str) -> Path:
        """The authors' list of a split."""
        return self.folder / "annotations" / f"{split}.txt"

    def download(self) -> None:
        listed = all(self.list_of(split).is_file() for split in ("trainval", "test"))
        for name, (address, md5) in self.archives.items():
            if not (self.folder / name).is_dir() or (name == "annotations" and not listed):
                archive = fetch([address], self.folder / Path(address).name, md5)
                with tarfile.open(archive) as tar:
                    tar.extractall(self.folder, filter="data")

    def codes(self) -> Mapping[int, int]:
        return {1: 0, 2: 1, 3: 2}

    def list_pairs(self) -> dict[str, list[tuple[Path, Path]]]:
        """The files by the authors' lists `trainval.txt` and `test.txt`."""
        found = {}
        for split in ("trainval", "test"):
            lines = read_list(self.list_of(split), self.folder / "annotations").splitlines()
            names = [line.split()[0] for line in lines if line.strip() and line[0] != "#"]
            found[split] = [
                (self.folder / "images" / f"{name}.jpg", self.folder / "annotations" / "trimaps" / f"{name}.png")
                for name in names
            ]
        train, val = carve(found["trainval"], self.val_size)
        return {"train": train, "val": val, "test": found["test"]}

"""ImageNet, from the user's own copy."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models import ResNet18_Weights

from ...errors import UserError
from ..base import SPLIT_SEED
from ..folders import find_splits
from ..reading import folders_in, list_files
from .files import ENDINGS
from .image_folder import ImageFolder

ILSVRC = 1000  # classes of the challenge


def synset_names(wnids: Sequence[str], lines: str) -> list[str]:
    """The first synonym of each synset; a synset that `lines` leaves out, and one whose name another has, shows its ID.

    Args:
        wnids: WordNet IDs, as "n01440764".
        lines: an ID, a space or a tabulator, and the synonyms, separated by commas, on each line.
    """
    known = dict(line.split(maxsplit=1) for line in lines.splitlines() if len(line.split(maxsplit=1)) == 2)
    names = {wnid: known.get(wnid, wnid).split(",")[0].strip() for wnid in wnids}
    times = Counter(names.values())
    return [name if times[name] == 1 else f"{name} ({wnid})" for wnid, name in names.items()]


class ImageNet(ImageFolder):
    """1,281,167 + 50,000 photographs in 1,000 classes (ILSVRC 2012), from the user's own copy: no free download exists.

    Russakovsky et al. 2015, arXiv:1409.0575. The files are `root/train/WNID/IMAGE` and `root/val/WNID/IMAGE`. The
    labels of the official test set are secret, so the official validation set is the test set here, and validation is
    cut from training by a checksum of each file's name. Other choices of classes in the same folders (ImageNet-100) go
    with `num_classes`. Labels follow the sorted IDs; names come from `LOC_synset_mapping.txt` or `words.txt` in `root`,
    or for 1,000 classes from torchvision. Mean and spread are those of torchvision's weights.

    Args:
        others: see `ImageFolder`.
    """

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.given_statistics = True

    def name_classes(self, folders: Sequence[str]) -> list[str]:
        if self.fake:
            return list(folders)
        for name in ("LOC_synset_mapping.txt", "words.txt"):
            if (self.root / name).is_file():
                return synset_names(folders, (self.root / name).read_text(encoding="utf-8"))
        if len(folders) == ILSVRC and all(re.fullmatch(r"n\d{8}", wnid) for wnid in folders):
            return list(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
        return list(folders)

    def find_splits(self) -> dict[str, Path]:
        """The folders `train` and `val`; the latter is the test split.

        Raises:
            UserError: one of them is missing, or the validation images are not sorted into classes.
        """
        found = find_splits(self.root)
        if not {"train", "val"} <= set(found):
            raise UserError(
                f"{self.root} must hold the folders train and val: name the one that does, data.root=FOLDER"
            )
        val = found["val"]
        if not folders_in(val) and list_files(val, ENDINGS):
            raise UserError(
                f"{val} holds images without class folders: move each into {val.name}/WNID, its class by the devkit's "
                "ILSVRC2012_validation_ground_truth.txt, as the usual script valprep.sh does"
            )
        return {"train": found["train"], "test": val}

    def fake_splits(self) -> dict[str, tuple[Tensor, Tensor]]:
        """As `ImageData` makes them, with patterns of 7x7 patches: a thousand patterns of full size are a gigabyte."""
        generator = torch.Generator().manual_seed(SPLIT_SEED)
        shape = (self.num_classes, self.in_channels, 7, 7)
        patterns = torch.randint(0, 128, shape, generator=generator, dtype=torch.uint8)

        def make(n: int) -> tuple[Tensor, Tensor]:
            labels = torch.randint(self.num_classes, (n,), generator=generator)
            images = F.interpolate(patterns[labels], (self.image_size, self.image_size))
            return images + torch.randint(0, 128, images.shape, generator=generator, dtype=torch.uint8), labels

        return {"train": make(2 * self.batch_size), "val": make(self.batch_size), "test": make(self.batch_size)}

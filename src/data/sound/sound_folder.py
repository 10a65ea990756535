"""A user's own folder of sounds."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import UserError
from ..images.image_folder import class_folders, find_splits, place_of
from ..reading import list_files
from .base import ENDINGS, Files, SoundData


class SoundFolder(SoundData):
    """Sounds in one folder per class.

    Either `root/train/CLASS/SOUND`, with `val` and `test` beside `train` where the user has them, or
    `root/CLASS/SOUND`. A split that is not there is cut from the training sounds by a checksum of each file's name, so
    that a file that is added moves no other. Of each file the first `seconds` are heard; channels are averaged, and
    another sample rate is converted.

    Args:
        share: of the training sounds, for each split that has to be cut, about.
        classes: names in the order of the labels; by default the sorted folder names. A checkpoint gives its own.
        sound: see `SoundData`.
    """

    def __init__(self, *, share: float = 0.1, classes: Sequence[str] | None = None, **sound: Any) -> None:
        super().__init__(**sound)
        if not 0 < share < 0.5:
            raise UserError(f"data.share={share} must be between 0 and 0.5")
        self.share = share
        if classes is not None:
            self.classes = list(classes)
        elif not self.fake:
            self.classes = class_folders(find_splits(self.root))
        if len(self.classes) != self.num_classes:
            raise UserError(f"{self.root} has {len(self.classes)} classes, not data.num_classes={self.num_classes}")

    def list_folder(self, folder: Path) -> tuple[list[bytes], list[int]]:
        """Sorted sound files of each class, relative to `root`, and their labels.

        Raises:
            UserError: a class has no sound, or a folder is of no known class.
        """
        names: list[bytes] = []
        labels: list[int] = []
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and entry.name[0] != "." and entry.name not in self.classes:
                classes = ", ".join(self.classes) if len(self.classes) <= 20 else f"({len(self.classes)} of them)"
                raise UserError(f"{entry} is none of the training classes {classes}")
        for label, name in enumerate(self.classes):
            found = list_files(folder / name, ENDINGS) if (folder / name).is_dir() else []
            if not found:
                raise UserError(f"{folder / name} holds no sound ({', '.join(ENDINGS)}): put some there or delete it")
            prefix = (folder / name).relative_to(self.root).as_posix()
            names += [os.fsencode(f"{prefix}/{sound}") for sound in found]
            labels += [label] * len(found)
        return names, labels

    def list_files(self) -> tuple[Path, dict[str, Files]]:
        lists = {split: self.list_folder(folder) for split, folder in find_splits(self.root).items()}
        files = {split: (np.array(names), torch.tensor(labels)) for split, (names, labels) in lists.items()}
        names, labels = files.pop("all") if "all" in files else files.pop("train")
        for split in ("val", "test"):  # the second of two cuts is from what the first has left
            if split not in files:
                cut = np.array([place_of(name, split) < self.share for name in names.tolist()])
                if not 0 < int(cut.sum()) < len(names):
                    raise UserError(
                        f"{len(names)} sounds in {self.root} are too few to cut the {split} split from: add some, or "
                        f"make a folder {split} beside train"
                    )
                files[split] = names[cut], labels[torch.from_numpy(cut)]
                names, labels = names[~cut], labels[torch.from_numpy(~cut)]
        return self.root, {"train": (names, labels), **files}

"""A user's own folder of sounds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..folders import Files, class_folders, find_classes, find_splits, labelled_files
from ..splits import cut_missing
from .base import SoundData
from .files import ENDINGS

MADE_CLASSES = 10  # of made data


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

    @classmethod
    def declare_num_classes(cls, root: str, fake: bool = False) -> int:
        """The folders of classes; ten of made data."""
        return MADE_CLASSES if fake else len(find_classes(root))

    def list_files(self) -> tuple[Path, dict[str, Files]]:
        listed = {
            split: labelled_files(self.root, folder, self.classes, ENDINGS, "sound")
            for split, folder in find_splits(self.root).items()
        }
        return self.root, cut_missing(listed, self.share, self.root, "sound")

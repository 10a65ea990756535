"""A user's own folder of sounds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..folders import Files
from ..own_folder import OwnFolder, count_classes, require_share
from .base import SoundData, SoundDescription

MADE_CLASSES = 10  # of made data


class FolderDescription(SoundDescription):
    """Sound files; `seen`: by which some of the training sounds are known again, see `torchatlas.data.seen`."""

    seen: list[str]


class SoundFolder(OwnFolder, SoundData):
    """Sounds in one folder per class, or with the classes in their names.

    Either `root/train/CLASS/SOUND`, with `val` and `test` beside `train` where the user has them, or
    `root/CLASS/SOUND`; with `label_from` without the folders of classes. A split that is not there is cut from the
    training sounds by a checksum of each file's name, so that a file that is added moves no other; a class of which
    nothing would be left to train is not cut. Of each file the first `seconds` are heard, see `load_sound`.

    Args:
        share: of the training sounds, for each split that has to be cut, about.
        label_from: a regular expression whose first group is the class in the name of each file, or else in its path
            below the folder of the split; None: the folders are the classes.
        classes: names in the order of the labels; by default the sorted names of the folders, or what `label_from`
            finds. A checkpoint gives its own.
        sound: see `SoundData`.
    """

    noun = "sound"

    def __init__(
        self, *, share: float = 0.1, label_from: str | None = None, classes: Sequence[str] | None = None, **sound: Any
    ) -> None:
        super().__init__(**sound)
        require_share(share)
        self.share, self.label_from = share, label_from
        if classes is not None:
            self.classes = list(classes)
        elif not self.fake:
            self.classes = self.find_folders()
        self.folders = list(self.classes)
        if len(self.classes) != self.num_classes:
            raise UserError(f"{self.root} has {len(self.classes)} classes, not data.num_classes={self.num_classes}")

    @classmethod
    def declare_num_classes(cls, root: str, label_from: str | None = None, fake: bool = False) -> int:
        """The classes that folders or names of files say; ten of made data."""
        return MADE_CLASSES if fake else count_classes(root, label_from, cls.endings)

    def list_files(self) -> tuple[Path, dict[str, Files]]:
        return self.root, self.list_splits()

    def describe(self) -> FolderDescription:
        return {**super().describe(), "seen": list(self.seen)}  # type: ignore[typeddict-item]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.folders, self.seen = list(self.classes), state_dict.get("seen", ())

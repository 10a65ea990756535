"""A user's own folder of samples with classes: what those of images and of sounds share."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from ..errors import UserError
from .folders import Files, class_folders, find_classes, find_splits, labelled_files, note_beside
from .label_from import find_labels, find_named_splits, named_files
from .reading import LeftOut
from .seen import count_seen, remember, tell_seen
from .splits import cut_missing


class OwnFolder:
    """A folder of samples, in one folder for each class or with the classes in their names.

    Attributes:
        noun: what a sample is, for messages.
        endings: of its files.
        root: the folder.
        share: of the training samples, for each split that has to be cut, about.
        label_from: a regular expression whose first group is the class in a file's name; None: folders are classes.
        folders: the classes, by the names of their folders or as the files say them, in the order of the labels.
        whole: whether all samples are the test split, so that a folder is judged of which nothing was trained.
        seen: by which some of the training samples are known again, see `seen`.
    """

    noun: ClassVar[str]
    endings: ClassVar[tuple[str, ...]]
    root: Path
    share: float
    label_from: str | None
    folders: Sequence[str]
    whole = False
    seen: Sequence[str] = ()

    def find_folders(self) -> list[str]:
        """The classes, where nobody has said them."""
        if self.label_from is None:
            return class_folders(self.find_splits())
        return find_labels(self.root, self.label_from, self.endings)

    def find_splits(self) -> dict[str, Path]:
        """Folders of the splits; see the functions of `folders` and `label_from`."""
        return find_splits(self.root) if self.label_from is None else find_named_splits(self.root)

    def files_of(self, folder: Path, left: LeftOut, complete: bool) -> Files:
        """Sorted files of a split, relative to `root`, and their labels; see `labelled_files`."""
        if self.label_from is None:
            return labelled_files(
                self.root, folder, self.folders, self.endings, self.noun, left, complete=complete
            )  # fmt: skip
        return named_files(
            self.root, folder, self.folders, self.endings, self.noun, self.label_from, left, complete=complete
        )  # fmt: skip

    def list_splits(self) -> dict[str, Files]:
        """The files of each split; what is left out is said.

        Raises:
            UserError: there are too few, or not of all classes in training.
        """
        left = LeftOut()
        folders = self.find_splits()
        note_beside(self.root, folders, left)
        listed = {
            split: self.files_of(folder, left, complete=not self.whole and split in ("train", "all"))
            for split, folder in folders.items()
        }
        left.say(self.root)
        if self.whole:
            whole = joined(listed.values())
            tell_seen(self.root, whole[0].tolist(), self.seen)
            return {"test": whole}
        files = cut_missing(listed, self.share, self.root, self.noun)
        if not self.seen:
            self.seen = remember(self.root, files["train"][0].tolist())
        return files

    def judge_all(self) -> None:
        """See `DataModule.judge_all`."""
        self.whole = True

    def is_new(self) -> bool:
        """See `DataModule.is_new`."""
        folders = self.find_splits()
        if "all" not in folders or not self.seen:
            return False
        names, _ = self.files_of(folders["all"], LeftOut(), complete=False)
        return count_seen(self.root, names.tolist(), self.seen) == 0


def count_classes(root: str, label_from: str | None, endings: Sequence[str]) -> int:
    """What a config declares: the folders of classes, or the classes that the files' names say."""
    return len(find_classes(root) if label_from is None else find_labels(root, label_from, endings))


def joined(files: Iterable[Files]) -> Files:
    """The files of several splits as one."""
    names, labels = zip(*files, strict=True)
    return np.concatenate(names), torch.cat(labels)


def require_share(share: float) -> None:
    """Refuse a share that leaves nothing."""
    if not 0 < share < 0.5:
        raise UserError(f"data.share={share} must be between 0 and 0.5")

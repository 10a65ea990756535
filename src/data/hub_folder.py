"""A data set of Hugging Face whose images or sounds are unpacked, once, to a folder that is read as a user's own is."""

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

from .hub import Files
from .own_folder import OwnFolder

log = logging.getLogger(__name__)


class HubFolder(OwnFolder):
    """What such data sets share; a subclass is also of the class that reads the files.

    The splits are those that are called train, validation and test; what is not there is cut from the training files
    as of a user's own folder. Classes have the names of their ClassLabel, in its order, or are the values of the
    column, sorted. A folder of classes of these names can be judged in place of the data set.

    Args:
        name, subset: see `hub.load`.
        label: name of the column of the classes.
        classes: names in the order of the labels; None: those of the data set. A checkpoint gives its own.
        others: see the other class; of them `column`, by its name, is the column of the files, None: the only one of
            its kind.

    Attributes:
        feature: the kind of the column, see `hub.column_of`.
        column: its key in the config.
        made_classes: how many classes made data have.
        own: whether `root` is a user's own folder, which is judged.
    """

    feature: ClassVar[str]
    column: ClassVar[str]
    made_classes: ClassVar[int]
    free: ClassVar[tuple[str, ...]] = ("name",)
    own = False

    def __init__(
        self, *, name: str | None = None, subset: str | None = None, label: str = "label",
        classes: Sequence[str] | None = None, fake: bool = False, **others: Any,
    ) -> None:  # fmt: skip
        self.files = Files(name, subset, others.pop(self.column, None), self.feature, self.column, label)
        if classes is None and not fake:
            classes = self.files.classes()
        super().__init__(classes=classes, fake=fake, **others)  # type: ignore[call-arg]
        self.place = self.root

    @classmethod
    def declare_num_classes(
        cls, name: str | None = None, subset: str | None = None, label: str = "label",
        classes: Sequence[str] | None = None, fake: bool = False,
    ) -> int:  # fmt: skip
        """Those of the data set; ten of made data."""
        if classes is not None:
            return len(classes)
        return cls.made_classes if fake else len(Files(name, subset, None, cls.feature, cls.column, label).classes())

    def download(self) -> None:
        if not self.own:
            self.files.unpack(self.place, self.folders)
            self.root = self.files.folder(self.place)

    def setup(self, stage: str | None = None) -> None:
        if not self.fake and not self.own:  # type: ignore[attr-defined]
            self.root = self.files.folder(self.place)
        super().setup(stage)  # type: ignore[misc]

    def is_new(self) -> bool:
        """See `DataModule.is_new`; the data set itself is never new."""
        return self.has_classes() and super().is_new()

    def judge_all(self) -> None:
        """See `DataModule.judge_all`; a folder of classes that was named is judged in place of the data set."""
        super().judge_all()
        self.own = self.has_classes()
        if self.own:
            log.info("%s has folders of these classes: its files are judged, and not those of the data set", self.root)

    def has_classes(self) -> bool:
        """Whether `root` has folders of the classes."""
        if not self.root.is_dir():
            return False
        return any((folder / name).is_dir() for folder in self.find_splits().values() for name in self.folders)

"""Images of a data set of Hugging Face."""

from collections.abc import Sequence
from typing import Any

from ..hub import Files
from .image_folder import MADE_CLASSES, ImageFolder


class HFImages(ImageFolder):
    """Images with classes, of a data set of Hugging Face: on the hub, saved on this machine, or a folder of its files.

    The splits are those that are called train, validation and test; what is not there is cut from the training images
    as `ImageFolder` does. Classes have the names of their ClassLabel, in its order, or are the values of the column,
    sorted. The files are unpacked once, to a folder of their own in `root`, and all else is as of `ImageFolder`.

    Args:
        name, subset: see `hub.load`.
        image, label: names of the columns; image None: the only one with images.
        classes: names in the order of the labels; None: those of the data set. A checkpoint gives its own.
        others: see `ImageFolder`.
    """

    free = ("name",)

    def __init__(
        self, *, name: str | None = None, subset: str | None = None, image: str | None = None, label: str = "label",
        classes: Sequence[str] | None = None, fake: bool = False, **others: Any,
    ) -> None:  # fmt: skip
        self.files = Files(name, subset, image, "Image", "image", label)
        if classes is None and not fake:
            classes = self.files.classes()
        super().__init__(classes=classes, fake=fake, **others)
        self.place = self.root

    @classmethod
    def declare_num_classes(  # type: ignore[override]
        cls, name: str | None = None, subset: str | None = None, label: str = "label",
        classes: Sequence[str] | None = None, fake: bool = False,
    ) -> int:  # fmt: skip
        """Those of the data set; ten of made data."""
        if classes is not None:
            return len(classes)
        return MADE_CLASSES if fake else len(Files(name, subset, None, "Image", "image", label).classes())

    def download(self) -> None:
        self.files.unpack(self.place, self.classes)
        self.root = self.files.folder(self.place)

    def setup(self, stage: str | None = None) -> None:
        if not self.fake:
            self.root = self.files.folder(self.place)
        super().setup(stage)

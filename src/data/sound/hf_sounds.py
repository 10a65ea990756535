"""Sounds of a data set of Hugging Face."""

from collections.abc import Sequence
from typing import Any

from ..hub import Files
from .sound_folder import MADE_CLASSES, SoundFolder


class HFSounds(SoundFolder):
    """Sounds with classes, of a data set of Hugging Face: on the hub, saved on this machine, or a folder of its files.

    Splits and classes are found as in `HFImages`. The files are unpacked once, to a folder of their own in `root`, and
    all else is as of `SoundFolder`.

    Args:
        name, subset: see `hub.load`.
        audio, label: names of the columns; audio None: the only one with sounds.
        classes: names in the order of the labels; None: those of the data set. A checkpoint gives its own.
        others: see `SoundFolder`.
    """

    free = ("name",)

    def __init__(
        self, *, name: str | None = None, subset: str | None = None, audio: str | None = None, label: str = "label",
        classes: Sequence[str] | None = None, fake: bool = False, **others: Any,
    ) -> None:  # fmt: skip
        self.files = Files(name, subset, audio, "Audio", "audio", label)
        if classes is None and not fake:
            classes = self.files.classes()
        if classes is None:
            classes = [str(k) for k in range(others["num_classes"])]
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
        return MADE_CLASSES if fake else len(Files(name, subset, None, "Audio", "audio", label).classes())

    def download(self) -> None:
        self.files.unpack(self.place, self.classes)
        self.root = self.files.folder(self.place)

    def setup(self, stage: str | None = None) -> None:
        if not self.fake:
            self.root = self.files.folder(self.place)
        super().setup(stage)

"""A user's own pair of folders: images, and a mask for each."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ...errors import UserError
from ..reading import LeftOut
from ..seen import count_seen, remember, tell_seen
from ..splits import place_of
from .base import COUNTED, FileSegmentation, SegmentationDescription, voc_colours
from .codes import (
    COLOUR,
    IGNORED,
    Colours,
    Pair,
    class_names,
    colour_of,
    describe_code,
    find_codes,
    given_codes,
)
from .layout import find_mask_splits, pair_files, say_how_they_lie

log = logging.getLogger(__name__)
SHOWN = 20  # classes that the log names


def training_pairs(root: Path) -> list[Pair]:
    """At most `COUNTED` pairs of image and mask, evenly spaced, in which the classes are looked up."""
    splits = find_mask_splits(root)
    pairs = pair_files(*splits["all" if "all" in splits else "train"])
    return pairs[:: -(-len(pairs) // COUNTED)]


class MaskFolderDescription(SegmentationDescription):
    """A user's masks.

    Attributes:
        codes: each value or colour with its class, see `StoredMask`.
        seen: by which some of the training images are known again, see `torchatlas.data.seen`.
    """

    codes: list[list[int]]
    seen: list[str]


class MaskFolder(FileSegmentation):
    """Images in one folder and masks in another.

    Either `root/images` and `root/masks`, or both in `root/train`, with `val` and `test` beside it where the user has
    them, or both with `train`, `val` and `test` in them; names like `labels`, `annotations` or `PedMasks` do too. A
    mask has the name of its image, perhaps with `_mask` or the like behind it; then both may lie in one folder. In
    files that are twice as wide as high, as those of pix2pix, the mask is the right half.

    Masks have one channel, or three equal ones, whose values are the classes and 255 is ignored; or 0 and 255 alone,
    the classes 0 and 1; or are coloured, a colour for each class. Indices of palettes are values where all palettes
    agree; else their colours are the classes. What values or colours mean can be said in `colours`.

    A split that is not there is cut from the training images by a checksum of each file's name, so that a file that is
    added moves no other. Mean and spread are computed once from the training images. They travel in the checkpoint, and
    so does what the values or colours mean: of other masks, one that has none of them is refused.

    Args:
        share: of the training images, for each split that has to be cut, about.
        colours: names of the classes, in their order, with the value or the colour [red, green, blue] of each, or
            its many values, as in {person: 1..255}; the name "ignored" is of pixels that do not count. None: they are
            looked up in the training masks.
        classes: names in the order of the classes; None: those of `colours`, or numbers or colours.
        statistics_samples: images, evenly spaced, from which mean and spread are computed.
        others: see `FileSegmentation`.
    """

    whole = False  # whether all images are the test split, so that a folder is judged of which nothing was trained
    seen: Sequence[str] = ()

    def __init__(
        self,
        *,
        share: float = 0.1,
        colours: Colours | None = None,
        classes: Sequence[str] | None = None,
        statistics_samples: int = 500,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 < share < 0.5:
            raise UserError(f"data.share={share} must be between 0 and 0.5")
        self.share, self.statistics_samples = share, statistics_samples
        self._codes: dict[int, int] = given_codes(colours) if colours else {}
        self.named = classes
        if colours and classes is None:
            self.named = class_names(colours)
        if self._codes or (self.named is None and not self.fake):
            self.name_classes()
        elif self.named is not None:
            self.classes = list(self.named)
        if len(self.classes) != self.num_classes:
            raise UserError(f"{self.root} has {len(self.classes)} classes, not data.num_classes={self.num_classes}")

    @classmethod
    def declare_num_classes(cls, root: str, colours: Colours | None = None, fake: bool = False) -> int:
        """The classes that `colours` names, or that the training masks show; two of made data."""
        if colours:
            return len(class_names(colours))
        if fake:
            return 2
        return len(set(find_codes(training_pairs(Path(root).expanduser())).values()) - {IGNORED})

    def codes(self) -> Mapping[int, int]:
        """Looked up in the masks here at the latest, where neither the user nor a checkpoint has said them."""
        if not self._codes:
            self.name_classes()
        return self._codes

    def name_classes(self) -> None:
        """Names and colours of the classes, from the masks where the user has said nothing."""
        if looked_up := not self._codes:
            self._codes = find_codes(training_pairs(self.root), tell=True)
            if 1 in self._codes:
                self._codes |= {k: k for k in range(self.num_classes)}  # more classes than these masks show
        paints = {k: colour_of(code) for code, k in sorted(self._codes.items(), reverse=True) if code >= COLOUR}
        valued = {k for code, k in self._codes.items() if code < COLOUR} - {IGNORED}
        number = len({*paints, *valued} - {IGNORED})
        self.colours = [paints.get(k, colour) for k, colour in enumerate(voc_colours(number))]
        self.classes = [str(k) if valued else ",".join(map(str, colour)) for k, colour in enumerate(self.colours)]
        if self.named is not None:
            self.classes = list(self.named)
        if looked_up:
            log.info(
                "the masks have %d classes by %s: %s", len(self.classes), "value" if valued else "colour",
                "; ".join(self.classes[:SHOWN]) + "; ..." * (len(self.classes) > SHOWN),
            )  # fmt: skip

    def list_pairs(self) -> dict[str, list[Pair]]:
        """The files of each split.

        Raises:
            UserError: a folder is empty, an image has no mask, or there are too few to cut splits from.
        """
        left = LeftOut()
        pairs = {split: pair_files(*folders, left) for split, folders in find_mask_splits(self.root).items()}
        left.say(self.root)
        if self.whole:
            every = [pair for some in pairs.values() for pair in some]
            tell_seen(self.root, self.names_of(every), self.seen)
            say_how_they_lie(every)
            return {"test": every}
        train = pairs.pop("all") if "all" in pairs else pairs.pop("train")
        for split in ("val", "test"):
            if split in pairs:
                continue
            cut = [place_of(name, split) < self.share for name in self.names_of(train)]
            if not 0 < sum(cut) < len(cut):
                raise UserError(
                    f"{len(train)} images in {self.root} are too few to cut the {split} split from: add some, or put "
                    f"images and masks for it into {self.root / split}"
                )
            pairs[split] = [pair for pair, chosen in zip(train, cut, strict=True) if chosen]
            train = [pair for pair, chosen in zip(train, cut, strict=True) if not chosen]
        pairs = {"train": train, **pairs}
        say_how_they_lie([pair for some in pairs.values() for pair in some])
        if not self.seen:
            self.seen = remember(self.root, self.names_of(train))
        return pairs

    def names_of(self, pairs: Sequence[Pair]) -> list[bytes]:
        """The images, relative to the folder."""
        return [os.fsencode(image.relative_to(self.root).as_posix()) for image, _ in pairs]

    def judge_all(self) -> None:
        """See `DataModule.judge_all`."""
        self.whole = True

    def is_new(self) -> bool:
        """See `DataModule.is_new`."""
        splits = find_mask_splits(self.root)
        if "all" not in splits or not self.seen:
            return False
        return count_seen(self.root, self.names_of(pair_files(*splits["all"])), self.seen) == 0

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        super().setup(stage)
        if not self.fake and not self.given_statistics:
            self.compute_statistics()
        self.pixel_reader.tell()

    def compute_statistics(self) -> None:
        """Mean and spread per channel of (at most `statistics_samples`) training images, on the scale 0..1."""
        train = self.splits["train"]
        total = torch.zeros(2, self.in_channels, dtype=torch.float64)
        count = 0
        for indices in torch.arange(0, len(train), -(-len(train) // self.statistics_samples)).split(32):
            x = train[-1, indices][0].double() / 255
            total += torch.stack([x.sum((0, 2, 3)), x.square().sum((0, 2, 3))])
            count += x[:, 0].numel()
        self.take_statistics(*(total / count))

    def describe(self) -> MaskFolderDescription:  # type: ignore[override]  # see `SegmentationData`
        codes = [list(pair) for pair in sorted(self._codes.items())]
        return {**super().describe(), "codes": codes, "seen": list(self.seen)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Values and colours of masks mean what they did in the training.

        Raises:
            UserError: masks have been read already, and meant something else.
        """
        super().load_state_dict(state_dict)
        codes: dict[int, int] = dict(state_dict["codes"])
        if self.splits and codes != self._codes:
            changed = min(set(codes.items()) ^ set(self._codes.items()))[0]
            raise UserError(
                f"the masks in {self.root} are not those of the training, where {describe_code(changed)} meant "
                "another class or none: put the former ones back, or begin a new run"
            )
        self._codes, self.seen = codes, state_dict.get("seen", ())
        self.colours = [(red, green, blue) for red, green, blue in state_dict["colours"]]

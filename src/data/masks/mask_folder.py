"""A user's own pair of folders: images, and a mask for each."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ...errors import UserError
from ..folders import split_folders
from ..images.files import ENDINGS
from ..reading import list_files
from ..splits import place_of
from .base import COUNTED, FileSegmentation, SegmentationDescription, voc_colours
from .files import IGNORED, colour_code, describe_code, open_image, read_codes

log = logging.getLogger(__name__)
IMAGES = ("images", "image", "imgs", "img", "photos", "inputs")
MASKS = (
    "masks",
    "mask",
    "labels",
    "label",
    "annotations",
    "annotation",
    "targets",
    "groundtruth",
    "gt",
    "segmentations",
)
VOID = ("ignored", "void", "unlabelled", "unlabeled")  # names of data.colours for pixels that do not count
MOST_COLOURS = 64
MOST_VALUES = 200  # of masks with one channel; those that were smoothed have nearly all there are
LAYOUT = (
    "images in FOLDER/images and masks of the same names in FOLDER/masks, or both in train, val and test of FOLDER, or "
    "train, val and test in both"
)
Colours = Mapping[str, int | Sequence[int]]


def find_pair(folder: Path) -> tuple[Path, Path] | None:
    """The folders of images and of masks in a folder, by the usual names; None where one is missing."""
    inside = {entry.name.casefold(): entry for entry in sorted(folder.iterdir()) if entry.is_dir()}
    images, masks = (next((inside[name] for name in names if name in inside), None) for names in (IMAGES, MASKS))
    return (images, masks) if images and masks else None


def find_mask_splits(root: Path) -> dict[str, tuple[Path, Path]]:
    """The folders of images and masks of each split; one pair, "all", where there are no splits.

    Raises:
        UserError: the folder does not exist, or has no pair; a split has only one of the two; there is none to train.
    """
    if not root.is_dir():
        raise UserError(f"the folder {root} does not exist: data.root=FOLDER needs {LAYOUT}")
    if (pair := find_pair(root)) is not None:
        images, masks = map(split_folders, pair)
        if alone := sorted(set(images) ^ set(masks)):
            there, other = (images, pair[1]) if alone[0] in images else (masks, pair[0])
            raise UserError(f"{there[alone[0]]} has no folder beside it in {other}: data.root=FOLDER needs {LAYOUT}")
        if images and "train" not in images:
            raise UserError(f"{pair[0]} and {pair[1]} have no folder train: data.root=FOLDER needs {LAYOUT}")
        return {split: (images[split], masks[split]) for split in images} or {"all": pair}
    inside = split_folders(root)
    found = {split: pair for split, folder in inside.items() if (pair := find_pair(folder)) is not None}
    if "train" not in found:
        raise UserError(f"{root} has no pair of folders of images and masks: data.root=FOLDER needs {LAYOUT}")
    if missing := sorted(set(inside) - set(found)):
        raise UserError(f"{inside[missing[0]]} has no pair of folders of images and masks, as {root} needs: {LAYOUT}")
    return found


def pair_files(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """Each image with the mask of the same name, whatever their endings are; a mask's may end in `_mask`.

    Raises:
        UserError: there is no image, or one has no mask.
    """
    found = list_files(images, ENDINGS)
    if not found:
        raise UserError(f"{images} holds no image: data.root=FOLDER needs {LAYOUT}")
    by_stem = {os.path.splitext(name)[0]: masks / name for name in list_files(masks, ENDINGS)}
    pairs = []
    for name in found:
        stem = os.path.splitext(name)[0]
        mask = by_stem.pop(stem, None) or by_stem.pop(f"{stem}_mask", None)
        if mask is None:
            raise UserError(f"{images / name} has no mask: add {masks / stem}.png, or move the image elsewhere")
        pairs.append((images / name, mask))
    if by_stem:
        log.warning("%d masks in %s have no image and are left out", len(by_stem), masks)
    return pairs


def training_masks(root: Path) -> list[Path]:
    """At most `COUNTED` masks, evenly spaced, in which the classes are looked up."""
    splits = find_mask_splits(root)
    masks = [mask for _, mask in pair_files(*splits["all" if "all" in splits else "train"])]
    return masks[:: -(-len(masks) // COUNTED)]


def find_codes(masks: Sequence[Path]) -> dict[int, int]:
    """The class of each code in masks, see `segmentation.read_codes`.

    Two values 0 and 255 are classes 0 and 1. Other values are the classes themselves, and 255 is ignored. Colours are
    classes in the order of red, green and blue, so that black is the first.

    Args:
        masks: the files.

    Raises:
        UserError: less than two classes, more colours or values than masks have, or values with large gaps.
    """
    found: dict[int, Path] = {}
    for path in masks:
        for code in torch.from_numpy(read_codes(path).astype("int64")).unique().tolist():
            found.setdefault(code, path)
        if len(found) > 256:
            raise UserError(f"{path} has many colours, as photographs and JPEG files have: save masks as PNG")
    codes = sorted(found)
    coloured = [code for code in codes if code >= 1 << 24]
    if coloured and len(coloured) < len(codes):
        plain = next(code for code in codes if code < 1 << 24)
        raise UserError(
            f"{found[coloured[0]]} is in colour and {found[plain]} has one channel: save all masks in the same way"
        )
    if len(coloured) > MOST_COLOURS:
        raise UserError(
            f"the masks have {len(coloured)} colours, as after scaling or JPEG: save them as PNG without smoothing, or "
            "name the right ones, data.colours={road: [128,64,128], ...}"
        )
    if coloured or codes == [0, IGNORED]:
        classes = {code: k for k, code in enumerate(codes)}
    else:
        known = [code for code in codes if code != IGNORED]
        if known and (len(codes) > MOST_VALUES or len(known) <= known[-1] / 2):
            values = ", ".join(map(str, codes[:20])) + ", ..." * (len(codes) > 20)
            raise UserError(
                f"the masks have the values {values}, which are not classes counted from 0: save them as PNG if "
                "smoothing or JPEG has made them, or say what they mean, data.colours={background: 0, road: 127, ...}"
            )
        classes = {k: k for k in range(known[-1] + 1)} if known else {}
    if len(classes) < 2:
        raise UserError(
            f"the masks have {describe_code(codes[0])} alone, where at least two classes are needed: name the folder "
            "with the right masks, data.root=FOLDER"
        )
    return classes if coloured or codes == [0, IGNORED] else {**classes, IGNORED: IGNORED}


def given_codes(colours: Colours) -> dict[int, int]:
    """The class of each code from `data.colours`, in their order; names of `VOID` are ignored.

    Raises:
        UserError: a value that is neither a level nor a colour, or less than two classes.
    """
    codes: dict[int, int] = {}
    classes = 0
    for name, value in colours.items():
        levels = [value] if isinstance(value, int) else list(value)
        if len(levels) not in (1, 3) or not all(isinstance(v, int) and 0 <= v <= 255 for v in levels):
            raise UserError(
                f"data.colours: {name} is {value}, which must be a value from 0 to 255, or [red,green,blue]"
            )
        ignored = str(name).casefold() in VOID
        codes[levels[0] if len(levels) == 1 else colour_code(levels)] = IGNORED if ignored else classes
        classes += not ignored
    if classes < 2 or len(codes) < len(colours):
        raise UserError(
            f"data.colours names {len(codes)} different colours, where each of at least 2 classes needs one"
        )
    return codes


class MaskFolderDescription(SegmentationDescription):
    """A user's masks; `codes` are each value or colour with its class, see `read_codes`."""

    codes: list[list[int]]


class MaskFolder(FileSegmentation):
    """Images in one folder and masks in another.

    Either `root/images` and `root/masks`, or both in `root/train`, with `val` and `test` beside it where the user has
    them, or both with `train`, `val` and `test` in them; names like `labels` or `annotations` do too. A mask has the
    name of its image. Masks are files of one channel or with a palette, whose values are the classes and 255 is
    ignored; or have 0 and 255 alone, the classes 0 and 1; or are coloured, a colour for each class. What values or
    colours mean can be said in `colours`.

    A split that is not there is cut from the training images by a checksum of each file's name, so that a file that is
    added moves no other. Mean and spread are computed once from the training images. They travel in the checkpoint, and
    so does what the values or colours mean: of other masks, one that has none of them is refused.

    Args:
        share: of the training images, for each split that has to be cut, about.
        colours: names of the classes, in their order, with the value or the colour [red, green, blue] of each; the name
            "ignored" is of pixels that do not count. None: they are looked up in the training masks.
        classes: names in the order of the classes; None: those of `colours`, or numbers or colours.
        statistics_samples: images, evenly spaced, from which mean and spread are computed.
        others: see `FileSegmentation`.
    """

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
            self.named = [str(name) for name in colours if str(name).casefold() not in VOID]
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
            codes = given_codes(colours)
        elif fake:
            return 2
        else:
            codes = find_codes(training_masks(Path(root).expanduser()))
        return len(set(codes.values()) - {IGNORED})

    def codes(self) -> Mapping[int, int]:
        """Looked up in the masks here at the latest, where neither the user nor a checkpoint has said them."""
        if not self._codes:
            self.name_classes()
        return self._codes

    def name_classes(self) -> None:
        """Names and colours of the classes, from the masks where the user has said nothing."""
        looked_up = not self._codes
        masks = training_masks(self.root) if looked_up else []
        if looked_up:
            self._codes = find_codes(masks)
            if not any(code >= 1 << 24 for code in self._codes) and 1 in self._codes:
                self._codes |= {k: k for k in range(self.num_classes)}  # more classes than these masks show
        code_of = {k: code for code, k in self._codes.items() if k != IGNORED}
        self.classes = [str(k) for k in range(len(code_of))]
        self.colours = voc_colours(len(code_of))
        if all(code >= 1 << 24 for code in code_of.values()):
            self.colours = [(code >> 16 & 255, code >> 8 & 255, code & 255) for _, code in sorted(code_of.items())]
            self.classes = [",".join(map(str, colour)) for colour in self.colours]
        elif masks and (palette := open_image(masks[0]).getpalette()):
            triples = list(zip(palette[::3], palette[1::3], palette[2::3], strict=False))
            if len(triples) >= len(code_of):
                self.colours = [triples[code_of[k]] for k in range(len(code_of))]
        if self.named is not None:
            self.classes = list(self.named)

    def list_pairs(self) -> dict[str, list[tuple[Path, Path]]]:
        """The files of each split.

        Raises:
            UserError: a folder is empty, an image has no mask, or there are too few to cut splits from.
        """
        pairs = {split: pair_files(*folders) for split, folders in find_mask_splits(self.root).items()}
        train = pairs.pop("all") if "all" in pairs else pairs.pop("train")
        for split in ("val", "test"):
            if split in pairs:
                continue
            names = [os.fsencode(image.relative_to(self.root).as_posix()) for image, _ in train]
            cut = [place_of(name, split) < self.share for name in names]
            if not 0 < sum(cut) < len(cut):
                raise UserError(
                    f"{len(train)} images in {self.root} are too few to cut the {split} split from: add some, or put "
                    f"images and masks for it into {self.root / split}"
                )
            pairs[split] = [pair for pair, chosen in zip(train, cut, strict=True) if chosen]
            train = [pair for pair, chosen in zip(train, cut, strict=True) if not chosen]
        return {"train": train, **pairs}

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        super().setup(stage)
        if not self.fake and not self.given_statistics:
            self.compute_statistics()

    def compute_statistics(self) -> None:
        """Mean and spread per channel of (at most `statistics_samples`) training images, on the scale 0..1."""
        train = self.splits["train"]
        total = torch.zeros(2, self.in_channels, dtype=torch.float64)
        count = 0
        for indices in torch.arange(0, len(train), -(-len(train) // self.statistics_samples)).split(32):
            x = train[-1, indices][0].double() / 255
            total += torch.stack([x.sum((0, 2, 3)), x.square().sum((0, 2, 3))])
            count += x[:, 0].numel()
        mean, squares = total / count
        self.mean, self.std = mean.tolist(), (squares - mean**2).clamp(min=1e-4).sqrt().tolist()
        self.given_statistics = True

    def describe(self) -> MaskFolderDescription:  # type: ignore[override]  # see `SegmentationData`
        return {**super().describe(), "codes": [list(pair) for pair in sorted(self._codes.items())]}

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
        self._codes = codes
        self.colours = [(red, green, blue) for red, green, blue in state_dict["colours"]]

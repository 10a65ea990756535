"""Where a user's images and masks lie: in two folders, beside each other in one, or side by side in one file."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import UserError
from ..folders import split_folders
from ..images.files import ENDINGS
from ..images.reader import PixelReader
from ..reading import LeftOut, folders_in, list_files
from .codes import Pair

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
    "segmentation",
    "segmentationclass",
)
SHORT = 3  # letters; longer names may stand at the end of another, as in PNGImages and PedMasks
SUFFIXES = (
    "_mask", "_masks", "-mask", "_label", "_labels", "_seg", "_segmentation", "_gt", "_groundtruth", "_annotation",
    "_target", "_L",
)  # fmt: skip
JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
LOOKED_AT = 20  # files, evenly spaced, by which a folder of images with their masks side by side is known
LAYOUT = (
    "images in FOLDER/images and masks of the same names in FOLDER/masks, or both in train, val and test of FOLDER, or "
    "train, val and test in both; or NAME_mask.png beside NAME.jpg"
)


def find_pair(folder: Path) -> Pair | None:
    """The folders of images and of masks in a folder, by the usual names; None where one is missing."""
    inside = {entry.name.casefold(): entry for entry in folders_in(folder)}
    masks = _folder_called(inside, MASKS)
    images = _folder_called({name: entry for name, entry in inside.items() if entry != masks}, IMAGES)
    return (images, masks) if images and masks else None


def _folder_called(inside: Mapping[str, Path], names: Sequence[str]) -> Path | None:
    """The folder with one of these names, or the only one whose name ends in one; rather one with images in it."""
    exact = [inside[name] for name in names if name in inside]
    ends = tuple(name for name in names if len(name) > SHORT)
    ending = [entry for name, entry in inside.items() if name.endswith(ends) and entry not in exact]
    for entries in (exact, ending if len(ending) == 1 else []):
        for entry in entries:
            if list_files(entry, ENDINGS):
                return entry
    return exact[0] if exact else None


def find_mask_splits(root: Path) -> dict[str, Pair]:
    """The folders of images and masks of each split; one pair, "all", where there are no splits.

    Both folders are the same where images and masks lie in one, see `lie_together`.

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
    if not found:
        found = {split: (folder, folder) for split, folder in inside.items() if lie_together(folder)}
    if not found and not inside and lie_together(root):
        return {"all": (root, root)}
    if "train" not in found:
        raise UserError(f"{root} has no pair of folders of images and masks: data.root=FOLDER needs {LAYOUT}")
    if missing := sorted(set(inside) - set(found)):
        raise UserError(f"{inside[missing[0]]} has no pair of folders of images and masks, as {root} needs: {LAYOUT}")
    return found


def lie_together(folder: Path) -> bool:
    """Whether a folder has both images and their masks, in files beside each other or in one file side by side."""
    names = list_files(folder, ENDINGS)
    return bool(_masks_beside(names)) or _side_by_side(folder, names)


def _masks_beside(names: Sequence[str]) -> dict[str, str]:
    """The masks among files, NAME_mask.png beside NAME.jpg, by NAME."""
    stems = {os.path.splitext(name)[0] for name in names}
    masks: dict[str, str] = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        for suffix in SUFFIXES:
            if stem.endswith(suffix) and (image := stem.removesuffix(suffix)) in stems:
                masks[image] = name
    return masks


def _side_by_side(folder: Path, names: Sequence[str]) -> bool:
    """Whether images are twice as wide as high, as those of pix2pix (Isola et al. 2017, arXiv:1611.07004)."""
    some = names[:: -(-len(names) // LOOKED_AT)] if names else []
    sizes = [PixelReader().open(folder / name)[1] for name in some]
    return bool(sizes) and all(width == 2 * height for width, height in sizes)


def pair_files(images: Path, masks: Path, left: LeftOut | None = None) -> list[Pair]:
    """Each image with its mask, whatever their endings are.

    The mask has the name of the image, and may have one of `SUFFIXES` behind it; of a folder that both are in, it has
    one, or is the right half of the same file.

    Args:
        images, masks: the folders.
        left: gets what is left out of them.

    Raises:
        UserError: there is no image, or one has no mask.
    """
    found = list_files(images, ENDINGS, left)
    if not found:
        raise UserError(f"{images} holds no image: data.root=FOLDER needs {LAYOUT}")
    if images == masks:
        by_stem = {stem: masks / name for stem, name in _masks_beside(found).items()}
        if not by_stem:
            return [(images / name, images / name) for name in found]
        of_masks = {path.relative_to(masks).as_posix() for path in by_stem.values()}
        found = [name for name in found if name not in of_masks]
    else:
        names = list_files(masks, ENDINGS, left)
        _require_one_each(masks, names, "masks of one image: move the wrong one elsewhere")
        by_stem = {os.path.splitext(name)[0]: masks / name for name in names}
    _require_one_each(images, found, "images of one mask: give each a name and a mask of its own")
    pairs = []
    for name in found:
        stem = os.path.splitext(name)[0]
        key = next((stem + suffix for suffix in ("", *SUFFIXES) if stem + suffix in by_stem), None)
        if key is None:
            raise UserError(f"{images / name} has no mask: add {masks / stem}.png, or move the image elsewhere")
        pairs.append((images / name, by_stem.pop(key)))
    if by_stem:
        log.warning("%d masks in %s have no image and are left out", len(by_stem), masks)
    return pairs


def _require_one_each(folder: Path, names: Sequence[str], fault: str) -> None:
    """Refuse files that differ in their endings alone."""
    seen: dict[str, str] = {}
    for name in names:
        if (first := seen.setdefault(os.path.splitext(name)[0], name)) != name:
            raise UserError(f"{folder / first} and {folder / name} are two {fault}")


def say_how_they_lie(pairs: Sequence[Pair]) -> None:
    """Say in the log what nobody would guess."""
    if halves := sum(image == mask for image, mask in pairs):
        log.info(
            "%d files have an image and its mask side by side: the left half is the image, the right one the mask",
            halves,
        )
    if lossy := sum(mask.suffix.lower() in JPEG for _, mask in pairs):
        log.info(
            "%d masks are JPEG files, which change colours a little: a pixel has the class of the nearest one",
            lossy,
        )

"""Where a user's images and masks lie."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.masks import save

from torchatlas.data.masks.layout import find_mask_splits, pair_files, say_how_they_lie
from torchatlas.data.masks.mask_folder import MaskFolder
from torchatlas.errors import UserError

IMAGE = np.arange(48, dtype=np.uint8).reshape(6, 8)
MASK = IMAGE // 24


def mask_folder(root: Path) -> MaskFolder:
    data = MaskFolder(
        root=str(root), in_channels=1, image_size=8, num_classes=MaskFolder.declare_num_classes(str(root)),
        batch_size=2, share=0.3,
    )  # fmt: skip
    data.setup()
    return data


def contents(data: MaskFolder) -> Any:
    """Images and masks of all splits, in one order."""
    found = [split[-1, torch.arange(len(split))] for split in data.splits.values()]
    images, masks = (torch.cat([part[k] for part in found]) for k in (0, 1))
    order = images.flatten(1)[:, 0].argsort()
    return images[order], masks[order]


def pairs_of(root: Path) -> list[tuple[str, str]]:
    pairs = pair_files(*find_mask_splits(root)["all"])
    return [(image.relative_to(root).as_posix(), mask.relative_to(root).as_posix()) for image, mask in pairs]


LAYOUTS = {
    "usual": ("images/{}.png", "masks/{}.png"),
    "Penn-Fudan": ("PNGImages/{}.png", "PedMasks/{}_mask.png"),
    "VOC": ("JPEGImages/{}.bmp", "SegmentationClass/{}.png"),
    "beside": ("{}.bmp", "{}_mask.png"),
    "beside in folders": ("scans/{}.png", "scans/{}_gt.png"),
    "suffix in two folders": ("images/{}.png", "labels/{}_L.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_find_their_masks(layout: str, tmp_path: Path) -> None:
    root, (image, mask) = tmp_path / "data", LAYOUTS[layout]
    for k in range(9):
        name = f"image{k}"
        for pattern, pixels in ((image, IMAGE + np.uint8(k)), (mask, MASK)):
            path = root / pattern.format(name)
            save(path.parent, path.name, pixels)
    (root / "Annotation").mkdir()
    (root / "Annotation" / "notes.txt").write_text("no masks")
    assert pairs_of(root) == [(image.format(f"image{k}"), mask.format(f"image{k}")) for k in range(9)]
    images, masks = contents(mask_folder(root))
    assert torch.equal(images[:, 0, :6], torch.stack([torch.tensor(IMAGE + np.uint8(k)) for k in range(9)]))
    assert (masks[:, :6] == torch.tensor(MASK)).all()


def test_the_right_half_of_a_wide_file_is_its_mask(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As pix2pix has its pairs."""
    image, mask = np.arange(36, dtype=np.uint8).reshape(6, 6), np.repeat([0, 255], 18).reshape(6, 6)
    for split, n in (("train", 4), ("val", 2), ("test", 2)):
        for k in range(n):
            save(tmp_path / split, f"{k}.png", np.concatenate([image + k, mask], 1))
    with caplog.at_level(logging.INFO):
        data = mask_folder(tmp_path)
    assert {split: len(dataset) for split, dataset in data.splits.items()} == {"train": 4, "val": 2, "test": 2}
    assert "8 files have an image and its mask side by side: the left half is the image" in caplog.text
    images, masks, *_ = data.splits["train"][-1, torch.arange(4)]
    assert torch.equal(images[:, 0, :6, :6], torch.stack([torch.tensor(image + k) for k in range(4)]))
    assert (masks[:, :6, :6] == torch.tensor(mask // 255)).all()
    assert (masks[:, 6:] == 255).all()


def test_masks_in_jpeg_files_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        say_how_they_lie([(Path("1.png"), Path("1.jpg")), (Path("2.png"), Path("2_mask.png"))])
    assert caplog.messages[0].startswith("1 masks are JPEG files")


def test_folders_without_masks_are_refused(tmp_path: Path) -> None:
    for k in range(3):
        save(tmp_path / "one", f"{k}.png", IMAGE)
    with pytest.raises(UserError, match=r"no pair of folders.*or NAME_mask.png beside NAME.jpg"):
        find_mask_splits(tmp_path / "one")
    save(tmp_path / "one", "1_mask.png", MASK)
    with pytest.raises(UserError, match=r"one/0.png has no mask"):
        pairs_of(tmp_path / "one")
    for name in ("old_masks", "new_masks", "images"):
        save(tmp_path / "two" / name, "0.png", IMAGE)
    with pytest.raises(UserError, match="no pair of folders"):
        find_mask_splits(tmp_path / "two")

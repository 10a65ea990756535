"""Slices of membranes."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from torchatlas.data.masks import isbi2012
from torchatlas.data.masks.isbi2012 import ISBI2012
from torchatlas.errors import UserError


@pytest.fixture
def slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """30 slices of 16x16 pixels in which membranes are darker, and whose brightness tells their number."""
    monkeypatch.setattr(isbi2012, "SIDE", 16)
    rng = np.random.default_rng(0)
    pages: dict[str, list[Image.Image]] = {"image": [], "label": []}
    for kind in pages:
        (tmp_path / "png" / "isbi_membrane" / "train" / kind).mkdir(parents=True)
    for n in range(30):
        label = (rng.random((16, 16)) < 0.7).astype(np.uint8) * 255
        image = (60 + n + 60 * (label > 0) + rng.integers(0, 60, label.shape)).astype(np.uint8)
        for kind, pixels in (("image", image), ("label", label)):
            pages[kind].append(Image.fromarray(pixels))
            pages[kind][-1].save(tmp_path / "png" / "isbi_membrane" / "train" / kind / f"{n}.png")
    (tmp_path / "tif").mkdir()
    for kind, name in ISBI2012.volumes.items():
        first, *rest = (page.copy() for page in pages[kind])  # Pillow keeps PNG's settings in what it has saved
        first.save(tmp_path / "tif" / name, save_all=True, append_images=rest)
    return tmp_path


def isbi(root: Path, **options: Any) -> ISBI2012:
    data = ISBI2012(root=str(root), in_channels=1, image_size=16, num_classes=2, batch_size=1, val_size=3, **options)
    data.prepare_data()
    data.setup()
    return data


def test_isbi_is_split_into_blocks_of_slices(slices: Path) -> None:
    data, volume = isbi(slices / "png"), isbi(slices / "tif")
    files = slices / "png" / "isbi_membrane" / "train"
    for split, numbers in (("train", range(17)), ("val", range(17, 20)), ("test", range(20, 30))):
        here, there = data.splits[split], volume.splits[split]
        assert torch.equal(here.images, there.images)
        assert torch.equal(here.masks, there.masks)
        assert len(here) == len(numbers)
        for k, n in enumerate(numbers):
            assert np.array_equal(here.images[k, 0], np.asarray(Image.open(files / "image" / f"{n}.png")))
            assert np.array_equal(here.masks[k] == 1, np.asarray(Image.open(files / "label" / f"{n}.png")) == 0)


def test_the_threshold_is_the_best_one_of_the_training_slices(slices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isbi2012, "SMOOTHING", (0.0, 1.0))
    data = isbi(slices / "png")

    def dice(split: str, spread: float, level: int) -> tuple[float, float]:
        levels = np.stack([
            np.round(ndimage.gaussian_filter(image[0].float().numpy(), spread)) for image in data.splits[split].images
        ])  # fmt: skip
        found, true = levels < level, data.splits[split].masks.numpy() == 1
        ious = [(a & b).sum() / (a | b).sum() for a, b in ((found, true), (~found, ~true))]
        return 2 * (found & true).sum() / (found.sum() + true.sum()), sum(ious) / 2

    best = max(itertools.product((0.0, 1.0), range(1, 256)), key=lambda choice: dice("train", *choice)[0])
    for split in ("val", "test"):
        found = data.baselines[split]
        assert (found["threshold_dice"], found["threshold_mean_iou"]) == pytest.approx(dice(split, *best))
        assert "majority_mean_iou" in found


def test_isbi_says_what_is_missing(slices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ISBI2012, "addresses", ())
    with pytest.raises(UserError, match=r"could not be downloaded.*isbi_membrane/train/image/0.png"):
        isbi(slices / "empty")
    monkeypatch.setattr(isbi2012, "SIDE", 512)
    with pytest.raises(UserError, match=r"has 30 slices, of 16x16 pixels, where 30 of 512x512 are right"):
        isbi(slices / "png")

"""Masks of a user's files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from torchatlas.analysis.tiling import predict_whole
from torchatlas.data.masks.base import SegmentationData
from torchatlas.errors import UserError
from torchatlas.models.unet import UNet
from torchatlas.predict.masks import names_of, segment_files
from torchatlas.tasks.segmentation import Segmentation


def trained_on() -> SegmentationData:
    data = SegmentationData(in_channels=1, image_size=32, full_size=64, num_classes=2)
    described = {
        "classes": ["ground", "cell"], "colours": [[0, 0, 0], [250, 90, 60]], "full_size": 64, "mean": [0.5],
        "std": [0.25],
    }  # fmt: skip
    data.load_state_dict(described)
    return data


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Images below the folder `images`."""
    generator = np.random.default_rng(0)
    paths = []
    for name, shape in (("a.png", (37, 61)), ("b/a.png", (3, 5)), ("b/c.jpg", (90, 64, 3)), ("b/c.png", (16, 16, 3))):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(path)
        paths.append(path)
    return paths


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_masks_of_files_of_any_size(
    pictures: list[Path], tmp_path: Path, padding: Any, caplog: pytest.LogCaptureFixture
) -> None:
    network = UNet(padding=padding)
    task, out = Segmentation(network).eval(), tmp_path / "masks"
    rows = list(
        segment_files(task, trained_on(), str(tmp_path / "images"), output=str(out), tile=60, probabilities=True)
    )
    assert "1 of 4 images are larger than the 64 pixels of training" in caplog.text
    assert names_of(pictures) == ["a", "b/a", "b/c_jpg", "b/c_png"]
    for path, row, name in zip(pictures, rows, names_of(pictures), strict=True):
        with (
            Image.open(path) as image,
            Image.open(row["mask"]) as mask,
            Image.open(out / f"{name}_overlay.png") as over,
        ):
            assert mask.mode == "P"
            assert mask.size == over.size == image.size
            assert (mask.getpalette() or [])[:6] == [0, 0, 0, 250, 90, 60]
            classes, grey = np.asarray(mask), np.asarray(image.convert("L"))
            painted = np.asarray(over.convert("RGB"))
        x = (torch.tensor(grey)[None, None] / 255 - 0.5) / 0.25
        with torch.no_grad():
            logits = predict_whole(network, x)[0]
        decided = (logits[0] - logits[1]).abs() > 1e-3
        assert (torch.tensor(classes) == logits.argmax(0))[decided].all()
        assert row["share_ground"] + row["share_cell"] == pytest.approx(1, abs=1e-5)
        assert row["share_cell"] == pytest.approx(float((classes == 1).mean()), abs=1e-5)
        assert (painted[classes == 0] == grey[classes == 0][:, None]).all()
        with np.load(out / f"{name}.npz") as saved:
            assert saved["probabilities"].shape == (2, *classes.shape)
            np.testing.assert_allclose(saved["probabilities"], logits.softmax(0).numpy(), atol=2e-3)


def test_resized_masks_have_the_size_of_the_file(pictures: list[Path], tmp_path: Path) -> None:
    task, data, large, small = Segmentation(UNet()), trained_on(), str(pictures[2]), str(pictures[0])
    (row,) = segment_files(task, data, large, output=str(tmp_path / "masks"), resize=45)
    with Image.open(row["mask"]) as mask:
        assert mask.size == (64, 90)
    assert "mask" not in (plain := next(segment_files(task, data, small)))
    assert next(segment_files(task, data, small, resize=90)) == plain  # it is smaller, as it may be in training


def test_a_torn_image_keeps_no_other_from_being_segmented(pictures: list[Path], tmp_path: Path) -> None:
    task = Segmentation(UNet())
    (tmp_path / "images" / "torn.png").write_text("no image")
    rows = list(segment_files(task, trained_on(), str(tmp_path / "images"), output=str(tmp_path / "new" / "masks")))
    assert len(rows) == len(pictures) + 1
    for row in rows:
        if Path(row["file"]).name == "torn.png":
            assert "cannot be read as an image" in row["error"]
        else:
            assert Path(row["mask"]).is_file()
    with pytest.raises(UserError, match=r"torn\.png cannot be written"):
        next(segment_files(task, trained_on(), str(pictures[0]), output=str(tmp_path / "images" / "torn.png")))


def test_what_cannot_be_segmented_is_refused(pictures: list[Path], tmp_path: Path) -> None:
    task = Segmentation(UNet())
    (tmp_path / "x.png").write_text("no image")
    for arguments, word in (
        ({"tile": 0}, "tile=0"),
        ({"overlap": -1}, "overlap=-1"),
        ({"resize": 0}, "resize=0"),
        ({"probabilities": True}, "output=FOLDER"),
        ({"given": str(tmp_path / "x.png")}, "cannot be read as an image"),
    ):
        with pytest.raises(UserError, match=word):
            list(segment_files(task, trained_on(), **{"given": str(tmp_path / "images"), **arguments}))


def test_images_over_the_limit_of_pillow_are_predicted_and_painted(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In tiles, and painted in bands, as any other image."""
    task = Segmentation(UNet(padding="same")).eval()

    def files(name: str) -> list[bytes]:
        list(segment_files(task, trained_on(), str(pictures[2]), output=str(tmp_path / name), tile=32))
        return [path.read_bytes() for path in sorted((tmp_path / name).iterdir())]

    expected = files("usual")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr("torchatlas.predict.masks.BAND", 7)
    assert files("large") == expected
    assert len(expected) == 2


def test_photographs_are_upright_and_what_was_done_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    levels = np.random.default_rng(0).integers(0, 256, (24, 40, 2), dtype=np.uint8)
    Image.fromarray(np.rot90(levels).copy(), "LA").save(tmp_path / "photo.png", exif=exif)
    data = SegmentationData(in_channels=1, image_size=32, full_size=64, num_classes=2, ground="black")
    task = Segmentation(UNet(padding="same")).eval()
    with caplog.at_level("INFO"):
        (row,) = segment_files(task, data, str(tmp_path / "photo.png"), output=str(tmp_path / "masks"))
    assert caplog.messages == [
        "of 1 image files that were read: 1 turned as the camera has noted; 1 with transparent places, laid over black "
        "(data.ground)"
    ]
    with Image.open(row["mask"]) as mask:
        assert mask.size == (40, 24)
        seen = torch.from_numpy(np.rint(levels[..., 0] * (levels[..., 1] / 255.0)))
        x = (seen.float()[None, None] - 127.5) / 63.75
        agree = predict_whole(task.network, x)[0].argmax(0).numpy() == np.asarray(mask)
    assert agree.mean() > 0.99  # levels are rounded


def test_masks_of_the_user_beside_the_images_stay(pictures: list[Path], tmp_path: Path) -> None:
    task, own = Segmentation(UNet(padding="same")).eval(), pictures[0].with_name("a_mask.png")
    own.write_bytes(pictures[0].read_bytes())
    before = own.read_bytes()
    with pytest.raises(UserError, match=r"a_mask\.png is there already, beside the images, and would be overwritten"):
        list(segment_files(task, trained_on(), str(pictures[0]), output=str(pictures[0].parent)))
    assert own.read_bytes() == before
    own.unlink()
    (row,) = segment_files(task, trained_on(), str(pictures[0]), output=str(pictures[0].parent))
    assert row["mask"] == str(own)

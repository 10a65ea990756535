"""Oxford-IIIT Pet, VOC 2012 and CamVid are read by their lists."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.masks import save

from torchatlas.data.masks import camvid
from torchatlas.data.masks.oxford_pets import OxfordPets
from torchatlas.data.masks.voc2012 import VOC2012
from torchatlas.errors import UserError


def test_published_sets_are_read_by_their_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def files(images: Path, masks: Path, names: list[str], values: list[int]) -> None:
        for k, name in enumerate(names):
            image, mask = name.split()
            save(images, image, np.full((6, 8, 3), 10 * k))
            save(masks, mask, np.array(values)[np.arange(48).reshape(6, 8) % len(values)])

    def read(kind: Any, classes: int, **options: Any) -> Any:
        data = kind(root=str(tmp_path), in_channels=3, image_size=8, num_classes=classes, batch_size=2, **options)
        data.prepare_data()
        data.setup()
        return data

    pets, names = tmp_path / "oxford-iiit-pet", [f"Cat_{i}" for i in range(6)]
    files(pets / "images", pets / "annotations" / "trimaps", [f"{n}.jpg {n}.png" for n in names], [1, 2, 3])
    (pets / "annotations" / "trainval.txt").write_text("".join(f"{n} 1 1 1\n" for n in names[:4]))
    (pets / "annotations" / "test.txt").write_text("".join(f"{n} 1 1 1\n" for n in names[4:]))
    data = read(OxfordPets, 3, val_size=1)
    assert [len(data.splits[s]) for s in ("train", "val", "test")] == [3, 1, 2]
    assert data.splits["test"].masks[0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert data.splits["test"].masks[0, 6:].unique().tolist() == [255]

    voc = tmp_path / "VOCdevkit" / "VOC2012"
    files(voc / "JPEGImages", voc / "SegmentationClass", [f"{i}.jpg {i}.png" for i in range(5)], [0, 20, 255])
    (voc / "ImageSets" / "Segmentation").mkdir(parents=True)
    for split, chosen in (("train", "0\n1\n2\n"), ("val", "3\n4\n")):
        (voc / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(chosen)
    data = read(VOC2012, 21, val_size=1)
    assert [len(data.splits[s]) for s in ("train", "val", "test")] == [2, 1, 2]
    assert data.splits["test"].masks[1, 0, :4].tolist() == [0, 20, 255, 0]
    assert data.colours[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert data.colours[20] == (0, 64, 128)

    monkeypatch.setattr(camvid, "NUMBERS", {"train": 2, "val": 1, "test": 1})
    for split, n in camvid.NUMBERS.items():
        pairs = [f"{split}_{i}.png {split}annot_{i}.png" for i in range(n)]
        files(tmp_path / "CamVid" / split, tmp_path / "CamVid" / f"{split}annot", pairs, [0, 10, 11])
        lines = [f"/SegNet/CamVid/{split}/{p.split()[0]} /SegNet/CamVid/{split}annot/{p.split()[1]}" for p in pairs]
        (tmp_path / "CamVid" / f"{split}.txt").write_text("\n".join(lines))
    data = read(camvid.CamVid, 11)
    assert [len(data.splits[s]) for s in ("train", "val", "test")] == [2, 1, 1]
    assert data.splits["val"].masks[0, 0, :4].tolist() == [0, 10, 255, 0]

    def refuse(*_: Any) -> Any:
        raise UserError("asked for")

    for kind, classes, path, folder in (
        (OxfordPets, 3, pets / "annotations" / "test.txt", pets / "annotations"),
        (VOC2012, 21, voc / "ImageSets" / "Segmentation" / "val.txt", voc),
        (camvid.CamVid, 11, tmp_path / "CamVid" / "test.txt", tmp_path / "CamVid"),
    ):
        path.unlink()
        options = {"root": str(tmp_path), "in_channels": 3, "image_size": 8, "batch_size": 2, "val_size": 1}
        incomplete = kind(num_classes=classes, **options)  # type: ignore[operator]
        with pytest.raises(UserError, match=f"{path.name} is missing: move {folder}, "):
            incomplete.setup()
        for name in ("fetch", "fetch_checked"):
            monkeypatch.setattr(sys.modules[kind.__module__], name, refuse, raising=False)  # type: ignore[attr-defined]
        with pytest.raises(UserError, match="asked for"):
            incomplete.prepare_data()

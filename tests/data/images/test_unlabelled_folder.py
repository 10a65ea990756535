"""Folders of images without classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from torchatlas.data.images.unlabelled_folder import UnlabelledFolder
from torchatlas.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for i in range(24):
        where = root / ("deep/er" if i % 2 else "flat")
        where.mkdir(parents=True, exist_ok=True)
        size = (20 + i, 33, 3) if i % 3 else (17, 40)
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(where / f"{i:02}.png")
    (root / "flat" / "notes.txt").write_text("no picture")
    (root / "flat" / "._00.png").write_text("what another system leaves")
    return root


def unlabelled(root: Path, **options: Any) -> UnlabelledFolder:
    sizes = {"in_channels": 3, "image_size": 12, "batch_size": 4, "share": 0.25}
    data = UnlabelledFolder(root=str(root), **{**sizes, **options})
    data.setup()
    return data


def test_unlabelled_folder(folder: Path) -> None:
    def contents(data: UnlabelledFolder) -> dict[str, set[bytes]]:
        read = {name: split[-1, torch.arange(len(split))][0] for name, split in data.splits.items()}
        return {name: {image.numpy().tobytes() for image in images} for name, images in read.items()}

    data = unlabelled(folder)
    images, labels, *_ = data.splits["train"][-1, torch.arange(4)]
    assert images.shape == (4, 3, 12, 12)
    assert images.dtype == torch.uint8
    assert labels.tolist() == [0, 0, 0, 0]
    assert "classification" not in data.tasks
    parts = contents(data)
    assert sum(map(len, parts.values())) == 24 == len(set().union(*parts.values()))
    assert parts == contents(unlabelled(folder, memory=0)) == contents(unlabelled(folder, seed=5))

    Image.new("RGB", (30, 30), "red").save(folder / "new.png")
    more = contents(unlabelled(folder))
    assert all(parts[name] <= more[name] for name in parts)  # a new file moves no other
    for name in ("Train", "Val", "test"):
        (folder / name).mkdir()
        Image.new("RGB", (30, 30), "blue").save(folder / name / "a.png")
    assert {name: len(split) for name, split in unlabelled(folder, batch_size=1).splits.items()} == {
        "train": 1, "val": 1, "test": 1,
    }  # fmt: skip


def test_unlabelled_folder_names_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not exist: name one with images, data\.root=FOLDER"):
        unlabelled(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no image \(\.jpg"):
        unlabelled(tmp_path / "empty")
    Image.new("RGB", (9, 9)).save(tmp_path / "empty" / "one.png")
    with pytest.raises(UserError, match=r"1 images in .* are too few"):
        unlabelled(tmp_path / "empty")
    with pytest.raises(UserError, match=r"data\.batch_size=100 is more than the"):
        next(iter(unlabelled(folder, batch_size=100).train_dataloader()))
    (folder / "flat" / "torn.png").write_bytes(b"not a picture")
    with pytest.raises(UserError, match=r"torn\.png cannot be read as an image"):
        unlabelled(folder)

"""SVHN in its official format, against torchvision's reader."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from helpers.data import ready
from helpers.images import rows

from torchatlas.data.download import md5_of
from torchatlas.data.images.svhn import SVHN
from torchatlas.errors import UserError


@pytest.fixture
def svhn(official: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    folder, address = official
    rng = np.random.default_rng(0)
    split_list = {}
    for split, n in (("train", 30), ("test", 11), ("extra", 20)):
        pixels = rng.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
        labels = rng.permutation(np.arange(n) % 10 + 1).astype(np.uint8)[:, None]
        name = f"{split}_32x32.mat"
        scipy.io.savemat(folder / name, {"X": pixels, "y": labels}, do_compression=True)
        split_list[split] = [address + name, name, md5_of(folder / name)]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", split_list)
    monkeypatch.setattr(SVHN, "addresses", (address,))
    return folder


def make_svhn(root: Path, **options: Any) -> SVHN:
    return SVHN(root=str(root), in_channels=3, image_size=32, num_classes=10, val_size=5, batch_size=4, **options)


def test_svhn_is_what_torchvision_reads(svhn: Path, tmp_path: Path) -> None:
    data = ready(make_svhn(tmp_path / "here"))
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"train_32x32.mat", "test_32x32.mat"}
    for train in (True, False):
        images, labels = data.read_images(train)
        expected = torchvision.datasets.SVHN(str(svhn), "train" if train else "test")
        assert torch.equal(images, torch.from_numpy(expected.data))
        assert labels.tolist() == expected.labels.tolist()
    assert {s: len(d) for s, d in data.splits.items()} == {"train": 25, "val": 5, "test": 11}
    assert not rows(data.splits["val"].images) & rows(data.splits["train"].images)

    more = ready(make_svhn(tmp_path / "here", extra=True))
    extra = torchvision.datasets.SVHN(str(svhn), "extra")
    assert torch.equal(more.read_images(True)[0][30:], torch.from_numpy(extra.data))
    assert more.read_images(True)[1][30:].tolist() == extra.labels.tolist()
    assert len(more.splits["train"]) == 45
    assert torch.equal(more.splits["test"].images, data.splits["test"].images)


def test_svhn_with_a_wrong_checksum_is_refused(svhn: Path, tmp_path: Path) -> None:
    (svhn / "test_32x32.mat").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"test_32x32\.mat is not in .*wrong checksum"):
        make_svhn(tmp_path / "here").prepare_data()
    (svhn / "test_32x32.mat").unlink()
    with pytest.raises(UserError, match=r"test_32x32\.mat is not in .*404"):
        make_svhn(tmp_path / "here", extra=True).prepare_data()

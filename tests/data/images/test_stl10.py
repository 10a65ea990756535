"""STL-10 in its official format, against torchvision's reader."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from helpers.data import ready

from torchatlas.data.download import md5_of
from torchatlas.data.images.stl10 import STL10
from torchatlas.errors import UserError


@pytest.fixture
def stl10(official: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    folder, address = official
    rng = np.random.default_rng(0)
    made = {}
    for split, n in (("train", 12), ("test", 7), ("unlabeled", 3)):
        made[f"{split}_X.bin"] = rng.integers(0, 256, (n, 3, 96, 96), dtype=np.uint8).tobytes()
        made[f"{split}_y.bin"] = rng.permutation(np.arange(n) % 10 + 1).astype(np.uint8).tobytes()
    archive = folder / "stl10_binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in {**made, "../outside": b"harm", "../../train_X.bin": b"harm"}.items():
            member = tarfile.TarInfo(f"stl10_binary/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in made.items()}
    reader = torchvision.datasets.STL10
    monkeypatch.setattr(reader, "tgz_md5", md5_of(archive))
    monkeypatch.setattr(reader, "train_list", [[n, md5[n]] for n in ("train_X.bin", "train_y.bin", "unlabeled_X.bin")])
    monkeypatch.setattr(reader, "test_list", [[n, md5[n]] for n in ("test_X.bin", "test_y.bin")])
    monkeypatch.setattr(STL10, "addresses", (address + archive.name,))
    (folder / "stl10_binary").mkdir()
    for name, content in made.items():  # where torchvision reads
        (folder / "stl10_binary" / name).write_bytes(content)
    return folder


def make_stl10(root: Path) -> STL10:
    return STL10(root=str(root), in_channels=3, image_size=96, num_classes=10, val_size=3, batch_size=4)


def test_stl10_is_what_torchvision_reads(stl10: Path, tmp_path: Path) -> None:
    data = ready(make_stl10(tmp_path / "a" / "here"))
    for train in (True, False):
        images, labels = data.read_images(train)
        expected = torchvision.datasets.STL10(str(stl10), "train" if train else "test")
        assert torch.equal(images, torch.from_numpy(expected.data))
        assert labels.tolist() == expected.labels.tolist()
    assert {s: len(d) for s, d in data.splits.items()} == {"train": 9, "val": 3, "test": 7}
    unpacked = {p.relative_to(tmp_path / "a").as_posix() for p in (tmp_path / "a").rglob("*") if p.is_file()}
    names = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
    assert unpacked == {"here/stl10_binary.tar.gz", *(f"here/stl10_binary/{name}" for name in names)}


def test_stl10_with_a_torn_file_is_refused(stl10: Path, tmp_path: Path) -> None:
    make_stl10(tmp_path / "here").prepare_data()
    (tmp_path / "here" / "stl10_binary" / "test_X.bin").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"test_X\.bin has a wrong checksum"):
        make_stl10(tmp_path / "here").prepare_data()

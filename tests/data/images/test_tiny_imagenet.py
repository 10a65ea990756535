"""Tiny ImageNet, decoded once from its archive."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.data import ready
from helpers.images import WNIDS, WORDS, jpeg
from PIL import Image

from torchatlas.data.download import md5_of
from torchatlas.data.images.tiny_imagenet import TinyImageNet
from torchatlas.errors import UserError


@pytest.fixture
def tiny(official: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files of the archive, which is at the official address."""
    folder, address = official
    rng = np.random.default_rng(0)
    files = {"wnids.txt": "\n".join(WNIDS).encode(), "words.txt": WORDS.encode()}
    for wnid in WNIDS:
        for i in range(4):
            files[f"train/{wnid}/images/{wnid}_{i}.JPEG"] = jpeg(rng, 64, 64, grey=i == 1)
        files[f"train/{wnid}/{wnid}_boxes.txt"] = b"not read"
    for i in range(6):
        files[f"val/images/val_{i}.JPEG"] = jpeg(rng, 64, 64)
    annotations = "".join(f"val_{i}.JPEG\t{WNIDS[i % 3]}\t0\t0\t62\t62\n" for i in range(6))
    files["val/val_annotations.txt"] = annotations.encode()
    archive = folder / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name, content in files.items():
            opened.writestr(f"tiny-imagenet-200/{name}", content)
    monkeypatch.setattr(TinyImageNet, "addresses", (address + archive.name,))
    monkeypatch.setattr(TinyImageNet, "md5", md5_of(archive))
    monkeypatch.setattr(TinyImageNet, "number_of_classes", 3)
    monkeypatch.setattr(TinyImageNet, "per_class", {"train": 4, "test": 2})
    return files


def make_tiny(root: Path) -> TinyImageNet:
    return TinyImageNet(root=str(root), in_channels=3, image_size=64, num_classes=3, val_size=3, batch_size=4)


def unpack(files: dict[str, bytes], root: Path) -> None:
    for name, content in files.items():
        path = root / "tiny-imagenet-200" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_tiny_imagenet_is_decoded_once_from_its_archive(tiny: dict[str, bytes], tmp_path: Path) -> None:
    root = tmp_path / "here"
    data = ready(make_tiny(root))
    assert {path.name for path in root.iterdir()} == {"tiny-imagenet-200.zip", "tiny-imagenet-200.safetensors"}
    assert data.classes == ["goldfish", "tabby", "crane"]
    assert {s: len(d) for s, d in data.splits.items()} == {"train": 9, "val": 3, "test": 6}
    wnids = sorted(WNIDS)
    named = {f"train/{w}/images/{w}_{i}.JPEG": (True, 4 * wnids.index(w) + i) for w in wnids for i in range(4)}
    named |= {f"val/images/val_{i}.JPEG": (False, i) for i in range(6)}
    for name, (train, place) in named.items():
        images, labels = data.read_images(train)
        expected = np.array(Image.open(io.BytesIO(tiny[name])).convert("RGB"))
        assert torch.equal(images[place], torch.from_numpy(expected).permute(2, 0, 1))
        assert wnids[labels[place]] == (name.split("/")[1] if train else WNIDS[place % 3])

    (root / "tiny-imagenet-200.zip").unlink()
    again = ready(make_tiny(root))  # neither the archive nor the address is needed any more
    assert not (root / "tiny-imagenet-200.zip").exists()
    assert again.classes == data.classes
    assert torch.equal(again.splits["train"].images, data.splits["train"].images)
    decoded = root / "tiny-imagenet-200.safetensors"
    whole = decoded.read_bytes()
    for torn in (whole[:-1000], b"", whole[:20]):
        decoded.write_bytes(torn)
        make_tiny(root).prepare_data()
        assert decoded.read_bytes() == whole


def test_tiny_imagenet_is_read_from_an_unpacked_folder(tiny: dict[str, bytes], tmp_path: Path) -> None:
    unpack(tiny, tmp_path)
    data = ready(make_tiny(tmp_path))
    assert not (tmp_path / "tiny-imagenet-200.zip").exists()
    archive = ready(make_tiny(tmp_path / "other"))
    assert data.classes == archive.classes
    for one, two in zip(
        (*data.read_images(True), *data.read_images(False)),
        (*archive.read_images(True), *archive.read_images(False)),
        strict=True,
    ):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wnids.txt", None, "has no readable wnids.txt"),
        ("words.txt", None, "has no readable words.txt"),
        ("val/images/val_3.JPEG", None, r"has no readable val/images/val_3\.JPEG"),
        ("val/images/val_3.JPEG", b"no picture", r"val/images/val_3\.JPEG in .* cannot be read as an image"),
        ("val/images/val_3.JPEG", jpeg(np.random.default_rng(0), 32, 64), r"val_3\.JPEG in .* is not of 64x64"),
        ("val/val_annotations.txt", b"val_0.JPEG\tn02123045\t0\t0\t1\t1\n", "names 1 test images, not the official 6"),
        ("wnids.txt", b"n02123045\nn01443537", "names 8 train images, not the official 12"),
    ],
)
def test_tiny_imagenet_names_what_is_wrong(
    tiny: dict[str, bytes], tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    unpack(tiny, tmp_path)
    path = tmp_path / "tiny-imagenet-200" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"{message}.*: move .*tiny-imagenet-200 elsewhere"):
        make_tiny(tmp_path).prepare_data()
    assert not list(tmp_path.glob("*.safetensors*"))


def test_tiny_imagenet_with_a_wrong_checksum_is_refused(
    tiny: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TinyImageNet, "md5", "0" * 32)
    with pytest.raises(UserError, match=r"tiny-imagenet-200\.zip is not in .*wrong checksum"):
        make_tiny(tmp_path / "here").prepare_data()

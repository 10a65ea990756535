"""Image data sets in their official formats, against torchvision's readers; random crops of files."""

import functools
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.stats
import torch
import torchvision
import torchvision.transforms.v2.functional as TF
from hydra.utils import instantiate
from PIL import Image
from sklearn.datasets import load_sample_image
from torchvision.transforms import InterpolationMode, v2

from torchatlas.counter import uniform
from torchatlas.data.download import md5_of
from torchatlas.data.images import image_folder
from torchatlas.data.images.image_folder import (
    DRAWS,
    ImageFolder,
    find_classes,
    list_images,
    load_crop,
    load_image,
    random_crop,
)
from torchatlas.data.images.imagenet import ImageNet, synset_names
from torchatlas.data.images.stl10 import STL10
from torchatlas.data.images.svhn import SVHN
from torchatlas.data.images.tiny_imagenet import TinyImageNet
from torchatlas.errors import UserError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def official(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which a server on this machine serves it."""
    folder = tmp_path / "official"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as http:
        thread = threading.Thread(target=functools.partial(http.serve_forever, poll_interval=0.01))
        thread.start()
        yield folder, f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()
        thread.join()


def ready(data: Any) -> Any:
    data.prepare_data()
    data.setup()
    return data


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


# --- SVHN


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
        images, labels = data.read(train)
        expected = torchvision.datasets.SVHN(str(svhn), "train" if train else "test")
        assert torch.equal(images, torch.from_numpy(expected.data))
        assert labels.tolist() == expected.labels.tolist()
    assert {s: len(d) for s, d in data.splits.items()} == {"train": 25, "val": 5, "test": 11}
    assert not rows(data.splits["val"].images) & rows(data.splits["train"].images)

    more = ready(make_svhn(tmp_path / "here", extra=True))
    extra = torchvision.datasets.SVHN(str(svhn), "extra")
    assert torch.equal(more.read(True)[0][30:], torch.from_numpy(extra.data))
    assert more.read(True)[1][30:].tolist() == extra.labels.tolist()
    assert len(more.splits["train"]) == 45
    assert torch.equal(more.splits["test"].images, data.splits["test"].images)


def test_svhn_with_a_wrong_checksum_is_refused(svhn: Path, tmp_path: Path) -> None:
    (svhn / "test_32x32.mat").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"test_32x32\.mat is not in .*wrong checksum"):
        make_svhn(tmp_path / "here").prepare_data()
    (svhn / "test_32x32.mat").unlink()
    with pytest.raises(UserError, match=r"test_32x32\.mat is not in .*404"):
        make_svhn(tmp_path / "here", extra=True).prepare_data()


# --- STL-10


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
        images, labels = data.read(train)
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


# --- Tiny ImageNet

WNIDS = ("n02123045", "n01443537", "n03126707")
WORDS = "n01443537\tgoldfish, Carassius auratus\nn02123045\ttabby, tabby cat\nn03126707\tcrane\nn02012849\tcrane\n"


def jpeg(rng: np.random.Generator, height: int, width: int, *, grey: bool = False) -> bytes:
    """A file with large patches, so that it is much the same whatever decodes it."""
    pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    (image.convert("L") if grey else image).save(stream, "JPEG", quality=92)
    return stream.getvalue()


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
        images, labels = data.read(train)
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
        (*data.read(True), *data.read(False)), (*archive.read(True), *archive.read(False)), strict=True
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
    with pytest.raises(UserError, match=f"{message}.*: delete .*tiny-imagenet-200"):
        make_tiny(tmp_path).prepare_data()
    assert not list(tmp_path.glob("*.safetensors*"))


def test_tiny_imagenet_with_a_wrong_checksum_is_refused(
    tiny: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TinyImageNet, "md5", "0" * 32)
    with pytest.raises(UserError, match=r"tiny-imagenet-200\.zip is not in .*wrong checksum"):
        make_tiny(tmp_path / "here").prepare_data()


# --- ImageNet

SIZES = ((48, 64), (64, 48), (50, 50), (40, 90))  # height and width


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, n in (("train", 12), ("val", 3)):
        for wnid in WNIDS:
            (tmp_path / "ilsvrc" / split / wnid).mkdir(parents=True)
            for i in range(n):
                (tmp_path / "ilsvrc" / split / wnid / f"{i}.JPEG").write_bytes(jpeg(rng, *SIZES[i % 4], grey=i == 2))
    return tmp_path / "ilsvrc"


def make_imagenet(root: Path, **options: Any) -> ImageNet:
    given = {
        "in_channels": 3, "image_size": 32, "resize": 40, "num_classes": 3, "batch_size": 6, "share": 0.25, "memory": 0,
        "random_resized_crop": True, "flip": True,
    }  # fmt: skip
    return ImageNet(root=str(root), **{**given, **options})


def test_imagenet_tests_on_the_official_validation_images(imagenet: Path) -> None:
    data = ready(make_imagenet(imagenet))
    assert not data.in_memory
    names = {split: {name.decode() for name in dataset.names} for split, dataset in data.splits.items()}
    assert names["test"] == {p.relative_to(imagenet).as_posix() for p in (imagenet / "val").rglob("*.JPEG")}
    assert names["train"] | names["val"] == {
        p.relative_to(imagenet).as_posix() for p in (imagenet / "train").rglob("*.JPEG")
    }
    assert not names["train"] & names["val"]
    assert 2 <= len(names["val"]) <= 18
    for dataset in data.splits.values():
        assert [sorted(WNIDS)[k] for k in dataset.labels] == [name.decode().split("/")[1] for name in dataset.names]
    assert data.mean == pytest.approx([0.485, 0.456, 0.406])
    assert data.describe()["resize"] == 40


def test_imagenet_names_its_classes(imagenet: Path) -> None:
    data = make_imagenet(imagenet)
    assert data.classes == sorted(WNIDS)
    (imagenet / "words.txt").write_text(WORDS)
    assert make_imagenet(imagenet).classes == ["goldfish", "tabby", "crane"]
    (imagenet / "LOC_synset_mapping.txt").write_text("n01443537 gold fish, Carassius\nn02123045 cat\n")
    assert make_imagenet(imagenet).classes == ["gold fish", "cat", "n03126707"]
    assert synset_names(["n02012849", "n03126707", "n9"], WORDS) == ["crane (n02012849)", "crane (n03126707)", "n9"]
    for name in ("words.txt", "LOC_synset_mapping.txt"):
        (imagenet / name).unlink()
    names = data.name_classes([f"n{k:08d}" for k in range(1000)])
    assert (names[0], names[1], names[281], names[999]) == ("tench", "goldfish", "tabby", "toilet tissue")


def test_imagenet_names_what_is_wrong(imagenet: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        make_imagenet(imagenet / "nowhere")
    with pytest.raises(UserError, match="must hold the folders train and val"):
        make_imagenet(imagenet / "train")
    with pytest.raises(UserError, match=r"has 3 classes, not data.num_classes=1000"):
        make_imagenet(imagenet, num_classes=1000)
    with pytest.raises(UserError, match=r"data\.resize=16 must be a whole number from data\.image_size=32"):
        make_imagenet(imagenet, resize=16)
    (imagenet / "val" / "n00000001").mkdir()
    with pytest.raises(UserError, match="n00000001 is none of the training classes n01443537, n02123045, n03126707"):
        make_imagenet(imagenet).setup()
    (imagenet / "val").rename(imagenet / "sorted")
    with pytest.raises(UserError, match="must hold the folders train and val"):
        make_imagenet(imagenet)
    (imagenet / "val").mkdir()
    for k, path in enumerate((imagenet / "sorted").rglob("*.JPEG")):
        path.rename(imagenet / "val" / f"ILSVRC2012_val_{k:08d}.JPEG")
    with pytest.raises(UserError, match="val holds images without class folders: move each into val/WNID"):
        make_imagenet(imagenet)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named(imagenet: Path, workers: int) -> None:
    for wnid in WNIDS:
        for path in (imagenet / "train" / wnid).iterdir():
            path.write_bytes(path.read_bytes()[:200])
    data = ready(make_imagenet(imagenet, num_workers=workers))
    with pytest.raises(UserError, match=r"train/n\d+/\d+\.JPEG cannot be read as an image \(.*\): mend or delete it"):
        next(iter(data.train_dataloader()))


def test_evaluation_scales_and_cuts_the_centre_as_torchvision(imagenet: Path) -> None:
    data = ready(make_imagenet(imagenet))
    images, labels, indices, epoch = next(iter(data.test_dataloader()))
    assert epoch == -1
    transform = v2.Compose([v2.Resize(40), v2.CenterCrop(32)])
    for image, label, index in zip(images, labels, indices, strict=True):
        path = imagenet / data.splits["test"].names[index].decode()
        assert path.parent.name == sorted(WNIDS)[label]
        opened = Image.open(path).convert("RGB")
        assert torch.equal(image, transform(TF.pil_to_tensor(opened)))
        assert (image.int() - TF.pil_to_tensor(transform(opened)).int()).abs().max() <= 2
        assert torch.equal(image, load_image(path, 3, 32, 40))


# --- random crops


def test_random_crops_have_torchvisions_distribution() -> None:
    height, width, n = 75, 100, 1500
    crops = [random_crop(height, width, numbers) for numbers in uniform(0, 0, torch.arange(n), DRAWS).tolist()]
    blank = torch.empty(3, height, width)
    reference = [
        torchvision.transforms.RandomResizedCrop.get_params(blank, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(n)
    ]

    def figures(crops: list[tuple[int, int, int, int]]) -> dict[str, list[float]]:
        assert all(t >= 0 and s >= 0 and t + h <= height and s + w <= width for t, s, h, w in crops)
        return {
            "area": [h * w for _, _, h, w in crops],
            "ratio": [w / h for _, _, h, w in crops],
            "vertical": [t / max(1, height - h) for t, _, h, _ in crops],
            "horizontal": [s / max(1, width - w) for _, s, _, w in crops],
        }

    ours, theirs = figures(crops), figures(reference)
    for key in ours:
        assert scipy.stats.ks_2samp(ours[key], theirs[key]).pvalue > 1e-3, key
    assert 0.07 * height * width < min(ours["area"]) < 0.12 * height * width
    assert max(ours["area"]) > 0.9 * height * width
    assert 0.7 < min(ours["ratio"]) < 0.8
    assert 1.25 < max(ours["ratio"]) < 1.4


@pytest.mark.parametrize(("height", "width"), [(10, 1000), (1000, 10)])
def test_an_image_that_no_crop_fits_gives_its_centre(height: int, width: int) -> None:
    expected = torchvision.transforms.RandomResizedCrop.get_params(
        torch.empty(3, height, width), (0.08, 1.0), (3 / 4, 4 / 3)
    )
    for numbers in uniform(0, 0, torch.arange(20), DRAWS).tolist():
        assert random_crop(height, width, numbers) == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_a_crop_is_decoded_cut_and_scaled(tmp_path: Path, channels: int) -> None:
    """Where no part is twice the wanted size, exactly torchvision's `resized_crop`; Pillow's within two levels."""
    path = tmp_path / "photograph.jpg"
    Image.fromarray(load_sample_image("china.jpg")).resize((160, 107)).save(path, quality=92)
    opened = Image.open(path).convert("RGB" if channels == 3 else "L")
    for numbers in uniform(0, 0, torch.arange(20), DRAWS).tolist():
        image = load_crop(path, channels, 64, numbers)
        place = random_crop(107, 160, numbers)
        assert torch.equal(image, TF.resized_crop(TF.pil_to_tensor(opened), *place, [64, 64], antialias=True))
        pillow = TF.resized_crop(opened, *place, [64, 64], interpolation=InterpolationMode.BILINEAR)
        assert (image.int() - TF.pil_to_tensor(pillow).int()).abs().max() <= 2


def test_a_large_crop_of_a_jpeg_file_is_decoded_at_a_fraction_of_its_size(tmp_path: Path) -> None:
    """The result is near that of the whole file, three times closer than one that is shifted by a pixel."""
    photograph = Image.fromarray(load_sample_image("china.jpg"))
    photograph.save(tmp_path / "photograph.jpg", quality=95)
    photograph.save(tmp_path / "photograph.png")
    opened = TF.pil_to_tensor(Image.open(tmp_path / "photograph.jpg").convert("RGB"))
    height, width = opened.shape[1:]
    drafted = 0
    for numbers in uniform(0, 0, torch.arange(20), DRAWS).tolist():
        image = load_crop(tmp_path / "photograph.jpg", 3, 40, numbers).float()
        place = random_crop(height, width, numbers)
        whole = TF.resized_crop(opened, *place, [40, 40], antialias=True).float()
        error, shift = (image - whole).abs().mean(), (whole.roll(1, 2) - whole)[:, :, 1:].abs().mean()
        assert error < shift / 3
        if min(place[2:]) >= 4 * 40:
            drafted += 1
            assert error > 0  # else nothing was saved
        else:
            assert error == 0
        png = load_crop(tmp_path / "photograph.png", 3, 40, numbers).float()
        assert (png - whole).abs().mean() < 2
    assert drafted > 10


def test_crops_are_a_function_of_seed_epoch_and_index(imagenet: Path) -> None:
    data, other = ready(make_imagenet(imagenet)), ready(make_imagenet(imagenet, seed=1))
    train = data.splits["train"]
    index = torch.arange(8)
    images = train[3, index][0]
    assert torch.equal(train[3, torch.tensor([5, 2])][0], images[[5, 2]])
    assert torch.equal(ready(make_imagenet(imagenet)).splits["train"][3, index][0], images)
    for changed in (train[4, index][0], other.splits["train"][3, index][0]):
        assert all(not torch.equal(a, b) for a, b in zip(changed, images, strict=True))
    path = imagenet / train.names[0].decode()
    assert torch.equal(train[-1, index][0][0], load_image(path, 3, 32, 40))
    crop = uniform(image_folder.CROP_STREAM, 3, index, DRAWS)
    assert torch.equal(images[0], load_crop(path, 3, 32, crop[0].tolist()))
    flip = uniform(0, 3, index, DRAWS)
    assert not torch.isin(crop, flip).any()  # what the device draws for flips is something else


def test_workers_decode_the_same_batches(imagenet: Path) -> None:
    def batches(workers: int) -> list[Any]:
        loader = ready(make_imagenet(imagenet, num_workers=workers)).train_dataloader()
        loader.sampler.set_epoch(2)
        return list(loader)

    alone = batches(0)
    assert len(alone) > 2
    for workers in (1, 2):
        for one, two in zip(alone, batches(workers), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one[:3], two[:3], strict=True))
            assert one[3] == two[3] == 2


def test_a_users_folder_can_be_cropped_the_same_way(imagenet: Path) -> None:
    given = {"root": str(imagenet), "in_channels": 3, "image_size": 24, "num_classes": 3, "batch_size": 4}
    plain = ready(ImageFolder(**given, resize=30))
    assert plain.in_memory
    path = imagenet / "train" / sorted(WNIDS)[0] / "0.JPEG"
    assert any(torch.equal(load_image(path, 3, 24, 30), image) for image in plain.splits["train"].images)
    cropped = ready(ImageFolder(**given, random_resized_crop=True))
    assert not cropped.in_memory
    assert not torch.equal(
        cropped.splits["train"][0, torch.arange(4)][0], cropped.splits["train"][1, torch.arange(4)][0]
    )
    assert torch.equal(cropped.splits["val"][-1, torch.arange(2)][0], cropped.splits["val"][-1, torch.arange(2)][0])


def test_images_are_listed_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.JPG", "a/c/d.jpeg", "a.b/x.png", "notes.txt", "a/.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = sorted(
        p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg")
    )
    assert list_images(tmp_path) == [path.as_posix() for path in expected]
    with pytest.raises(OSError, match="nowhere"):
        list_images(tmp_path / "nowhere")


def test_made_imagenet_can_be_learned(compose: Callable[..., Any]) -> None:
    """Each of the made images is nearest to another one of its class."""
    overrides = ("data.fake=true", "data.batch_size=16", "data.num_classes=5", "data.image_size=96", "data.resize=96")
    data = ready(instantiate(compose("model=resnet18", "data=imagenet", *overrides).data, _convert_="all"))
    images, labels = data.splits["train"].images.flatten(1).float(), data.splits["train"].labels
    distance = torch.cdist(images, images).fill_diagonal_(torch.inf)
    assert (labels[distance.argmin(1)] == labels).all()
    assert images.min() >= 0
    assert images.max() > 200


def test_images_with_more_than_8_bits_are_refused(tmp_path: Path) -> None:
    """Pillow would cut their levels off at 255."""
    Image.fromarray(np.full((8, 8), 30_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UserError, match=r"deep.png has more than 8 bits a channel \(mode I;16\): save it with 8"):
        load_image(tmp_path / "deep.png", 1, 8)


def test_of_a_very_long_image_the_middle_is_read(tmp_path: Path) -> None:
    """Scaled as a whole it would fill the memory."""
    levels = np.zeros((1, 20_001), dtype=np.uint8)
    levels[0, 9_900:10_100] = 200
    Image.fromarray(levels).save(tmp_path / "line.png")
    image = load_image(tmp_path / "line.png", 1, 64)
    assert image.shape == (1, 64, 64)
    assert image.min() == image.max() == 200


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("car", "plane", "train"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "a.png")
    assert find_classes(tmp_path) == ["car", "plane", "train"]

"""A user's folder of images, and random crops of files against torchvision's."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import torchvision
import torchvision.transforms.v2.functional as TF
from PIL import Image
from sklearn.datasets import load_sample_image
from torchvision.transforms import InterpolationMode

from torchatlas.counter import uniform
from torchatlas.data.images.files import DRAWS, load_crop, load_image, random_crop
from torchatlas.data.images.image_folder import ImageFolder
from torchatlas.errors import UserError

# --- a user's own folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, n in (("train", 12), ("val", 3), ("test", 4)):
        for k, name in enumerate(("cat", "dog")):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 100, (20, 30, 3), dtype=np.uint8) + 100 * k
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "set" / split / name / f"{i}.png")
    return tmp_path / "set"


def image_folder(root: Path, **options: Any) -> ImageFolder:
    sizes = {"in_channels": 3, "image_size": 16, "num_classes": 2, "batch_size": 4, "share": 0.25}
    data = ImageFolder(root=str(root), **{**sizes, **options})
    data.setup()
    return data


def test_image_folder(folder: Path, compose: Callable[..., Any]) -> None:
    config = compose("model=resnet18", "data=image_folder", f"data.root={folder}")
    assert config.data.num_classes == 2
    in_memory, on_disk = image_folder(folder), image_folder(folder, memory=0)
    assert in_memory.classes == ["cat", "dog"]
    assert {s: len(d) for s, d in in_memory.splits.items()} == {"val": 6, "test": 8, "train": 24}
    for a, b in zip(in_memory.loader("test"), on_disk.loader("test"), strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
    pixels = in_memory.splits["train"].images.double() / 255
    assert in_memory.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), rel=1e-6)
    assert in_memory.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist(), rel=1e-4)
    assert on_disk.mean == pytest.approx(in_memory.mean)
    normal = in_memory.normalize(in_memory.splits["train"].images)
    torch.testing.assert_close(normal.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)


def test_image_folder_without_splits_is_split_by_a_fixed_seed(folder: Path) -> None:
    def contents(data: ImageFolder) -> dict[str, set[bytes]]:
        return {split: {image.numpy().tobytes() for image in d.images} for split, d in data.splits.items()}

    one, two = (contents(image_folder(folder / "train", seed=s)) for s in (0, 1))
    assert one == two
    assert all(2 <= len(one[split]) <= 10 for split in ("val", "test"))
    assert len(one["train"] | one["val"] | one["test"]) == 24 == sum(map(len, one.values()))
    shutil.copy(folder / "val" / "cat" / "0.png", folder / "train" / "cat" / "00.png")
    more = contents(image_folder(folder / "train"))
    assert all(one[split] <= more[split] for split in one)  # a new file moves no other
    assert sum(map(len, more.values())) == 25


def test_image_folder_takes_other_names_of_splits(folder: Path) -> None:
    (folder / "train").rename(folder / "Training")
    (folder / "test").rename(folder / "Testing")
    data = image_folder(folder)
    assert data.classes == ["cat", "dog"]
    assert {s: len(d) for s, d in data.splits.items()} == {"val": 6, "test": 8, "train": 24}


def test_image_folder_names_what_is_wrong(folder: Path) -> None:
    (folder / "test" / "dog" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(
        UserError, match=r"0\.png cannot be read as an image \(its content is of no known format of images\): mend"
    ):
        image_folder(folder)
    (folder / "val" / "bird").mkdir()
    with pytest.raises(UserError, match="bird is none of the training classes cat, dog"):
        image_folder(folder)
    (folder / "train" / "emu").mkdir()
    with pytest.raises(UserError, match="emu holds no image"):
        image_folder(folder, num_classes=3)
    with pytest.raises(UserError, match=r"has 3 classes, not data.num_classes=2"):
        image_folder(folder)
    with pytest.raises(UserError, match="does not exist"):
        image_folder(folder / "nowhere")
    with pytest.raises(UserError, match="0 class folders where at least 2"):
        image_folder(folder / "train" / "cat")


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


def test_images_with_more_than_8_bits_are_scaled_to_8(tmp_path: Path) -> None:
    """Pillow would cut their levels off at 255."""
    Image.fromarray(np.full((8, 8), 30_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert load_image(tmp_path / "deep.png", 1, 8).unique().tolist() == [117]  # of 255, as 30,000 of 65,535


def test_of_a_very_long_image_the_middle_is_read(tmp_path: Path) -> None:
    """Scaled as a whole it would fill the memory."""
    levels = np.zeros((1, 20_001), dtype=np.uint8)
    levels[0, 9_900:10_100] = 200
    Image.fromarray(levels).save(tmp_path / "line.png")
    image = load_image(tmp_path / "line.png", 1, 64)
    assert image.shape == (1, 64, 64)
    assert image.min() == image.max() == 200

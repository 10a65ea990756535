"""ImageNet: its folders, names and crops of files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as TF
from helpers.data import ready
from helpers.images import WNIDS, WORDS, jpeg
from hydra.utils import instantiate
from PIL import Image
from torchvision.transforms import v2

from torchatlas.counter import uniform
from torchatlas.data.images.files import CROP_STREAM, DRAWS, load_crop, load_image
from torchatlas.data.images.image_folder import ImageFolder
from torchatlas.data.images.imagenet import ImageNet, synset_names
from torchatlas.errors import UserError

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
    with pytest.raises(
        UserError, match=r"train/n\d+/\d+\.JPEG cannot be read as an image \(.*\): mend it, or move it elsewhere"
    ):
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
    crop = uniform(CROP_STREAM, 3, index, DRAWS)
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


def test_made_imagenet_can_be_learned(compose: Callable[..., Any]) -> None:
    """Each of the made images is nearest to another one of its class."""
    overrides = ("data.fake=true", "data.batch_size=16", "data.num_classes=5", "data.image_size=96", "data.resize=96")
    data = ready(instantiate(compose("model=resnet18", "data=imagenet", *overrides).data, _convert_="all"))
    images, labels = data.splits["train"].images.flatten(1).float(), data.splits["train"].labels
    distance = torch.cdist(images, images).fill_diagonal_(torch.inf)
    assert (labels[distance.argmin(1)] == labels).all()
    assert images.min() >= 0
    assert images.max() > 200

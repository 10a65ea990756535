"""Images with masks: geometry moves both alike, weights of borders are the paper's, files say what they mean."""

import itertools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from scipy import ndimage
from torch import Tensor

from torchatlas.counter import uniform
from torchatlas.data.images.augment import inverse_affine, warp
from torchatlas.data.images.digits import Digits
from torchatlas.data.masks import camvid, isbi2012, joint_augment
from torchatlas.data.masks.base import JOINT_STREAM, PairedFiles, SegmentationData, fit_pair
from torchatlas.data.masks.border_weights import balancing_weights, border_term, border_weights
from torchatlas.data.masks.digit_scenes import DigitScenes
from torchatlas.data.masks.isbi2012 import ISBI2012
from torchatlas.data.masks.joint_augment import (
    DRAWS,
    FIELD_STREAM,
    fetch,
    fetch_whole,
    grid_displacements,
    places,
    smooth_displacements,
)
from torchatlas.data.masks.mask_folder import MaskFolder, count_mask_classes
from torchatlas.data.masks.oxford_pets import OxfordPets
from torchatlas.data.masks.voc2012 import VOC2012
from torchatlas.errors import UserError
from torchatlas.run.restore import restored_data


class Shapes(SegmentationData):
    """Random images and blobs of four classes, the last of them ignored."""

    mean, std = (0.0,), (1 / 255,)  # levels stay levels
    side = 24

    def read_splits(self) -> dict[str, tuple[Tensor, Tensor]]:
        rng = np.random.default_rng(0)
        images = torch.from_numpy(rng.integers(0, 256, (8, 1, self.side, self.side), dtype=np.uint8))
        fields = np.stack([ndimage.gaussian_filter(rng.random((self.side, self.side)), 2) for _ in range(8)])
        masks = np.digitize(fields, np.quantile(fields, (0.4, 0.7, 0.95))).astype(np.uint8)
        masks[masks == 3] = 255
        pairs = images, torch.from_numpy(masks)
        return {"train": pairs, "val": pairs, "test": pairs}


def shapes(**options: Any) -> Shapes:
    data = Shapes(**{"in_channels": 1, "image_size": 24, "num_classes": 3, "batch_size": 4, **options})
    data.setup()
    return data


def still(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """No corner, no flips, no turns."""
    return torch.zeros(n, 2).long(), torch.zeros(n, 2).bool(), torch.zeros(n).long()


# --- geometry


@pytest.mark.parametrize("size", [7, 24, 33])
def test_without_motion_nothing_changes_bit_by_bit(size: int) -> None:
    images = torch.randint(256, (3, 2, size, size), dtype=torch.uint8)
    for shifts in (None, torch.zeros(3, 2, size, size)):
        where = places(size, *still(3), shifts=shifts)
        assert torch.equal(fetch_whole(images, where), images)
        assert torch.equal(fetch(images, where, "bilinear"), images)
        assert torch.equal(fetch(images, where, "nearest"), images)


def test_flips_turns_and_cuts_are_those_of_whole_arrays() -> None:
    images = torch.randint(256, (1, 3, 12, 9), dtype=torch.uint8)
    for right, down, turn in itertools.product((False, True), (False, True), range(4)):
        where = places(5, torch.tensor([[6, 2]]), torch.tensor([[right, down]]), torch.tensor([turn]))
        expected = images[..., 6:11, 2:7].rot90(-turn, (2, 3))  # torch turns the other way
        expected = expected.flip([d for d, flipped in ((3, right), (2, down)) if flipped])
        assert torch.equal(fetch_whole(images, where), expected)


def test_places_between_pixels_equal_scipy_and_are_mirrored_outside() -> None:
    torch.manual_seed(3)
    images = torch.randint(256, (2, 1, 17, 17), dtype=torch.uint8)
    shifts = 9 * torch.randn(2, 2, 17, 17)
    where = places(17, *still(2), shifts=shifts)
    rows, columns = np.mgrid[:17, :17]
    for i in range(2):
        coordinates = np.stack([rows + shifts[i, 1].numpy(), columns + shifts[i, 0].numpy()])
        for order, mode in ((1, "bilinear"), (0, "nearest")):
            got = fetch(images.float(), where, mode)[i, 0].numpy()
            expected = ndimage.map_coordinates(images[i, 0].float().numpy(), coordinates, order=order, mode="reflect")
            np.testing.assert_allclose(got, expected, atol=0.02)


def test_affine_motion_is_that_of_classification() -> None:
    images = torch.randint(256, (4, 1, 32, 32), dtype=torch.uint8)
    angle, size, slant = (
        torch.tensor([0.0, 20, -90, 45]),
        torch.tensor([1.0, 1.3, 1.0, 0.8]),
        torch.tensor([0.0, 5, 0, 9]),
    )
    moved = torch.tensor([3.0, -2, 0, 1]), torch.tensor([0.0, 1, 2, -3])
    matrices = inverse_affine(angle, moved, size, (slant, torch.zeros(4)))
    got = fetch(images, places(32, *still(4), matrices=matrices), "bilinear")
    middle = (slice(None), slice(None), slice(12, 20), slice(12, 20))  # nothing from outside, where that one is black
    assert (got[middle].int() - warp(images, matrices, "bilinear")[middle].int()).abs().max() <= 1


def test_simards_field_is_scipys_gaussian_filter() -> None:
    indices = torch.tensor([4, 9])
    got = smooth_displacements(7, 2, indices, 20, alpha=34.0, sigma=3.0)
    noise = 2 * uniform(7 + FIELD_STREAM, 2, indices, 800).view(2, 2, 20, 20).double().numpy() - 1
    expected = [[34 * ndimage.gaussian_filter(axis, 3.0, mode="reflect") for axis in sample] for sample in noise]
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-4)


def test_unets_field_is_gaussian_at_nine_nodes_and_bicubic_between() -> None:
    field = grid_displacements(uniform(0, 0, torch.arange(3000), 18), 9, 10.0)
    nodes = field[..., ::4, ::4].flatten(1)
    assert nodes.mean(0).abs().max() < 4 * 10 / 3000**0.5
    assert (nodes.std(0) - 10).abs().max() < 4 * 10 / 6000**0.5
    assert (torch.corrcoef(nodes.T) - torch.eye(18)).abs().max() < 0.1

    def keys(x: float) -> float:
        x, a = abs(x), -0.75
        return (a + 2) * x**3 - (a + 3) * x**2 + 1 if x < 1 else a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0

    weights = np.zeros((9, 3))
    for i, k in itertools.product(range(9), range(-2, 6)):
        weights[i, min(max(k, 0), 2)] += keys(i / 4 - k)
    expected = weights @ field[0, 1, ::4, ::4].double().numpy() @ weights.T
    np.testing.assert_allclose(field[0, 1].numpy(), expected, atol=1e-4)


ALL = {
    "flip": True, "vertical_flip": True, "quarter_turns": True, "elastic_std": 3.0, "elastic_sigma": 3.0,
    "augment": {"rotation": 30.0, "translate": 0.2, "scale": 0.2, "shear": 5.0}, "image_size": 16, "full_size": 24,
}  # fmt: skip


@pytest.mark.parametrize("elastic", [None, "unet", "simard"])
def test_images_masks_and_weights_move_together(elastic: str | None) -> None:
    data = shapes(elastic=elastic, border_weights=True, **ALL)
    train: Any = data.splits["train"]
    indices = torch.tensor([1, 3, 6])
    train.images = train.masks[:, None].clone()  # the image is its mask as grey levels
    train.weights = train.masks.float()
    _, weights, mask = data.transform(train[5, indices])
    assert mask.shape == (3, 16, 16)
    assert torch.equal(weights.long(), mask)

    own = uniform(data.seed + JOINT_STREAM, 5, indices, DRAWS)
    where = data.draw_places(train.sizes[indices], uniform(0, 5, indices, data.augment.draws), own, 5, indices)
    assert torch.equal(fetch(train.images[indices], where, "nearest")[:, 0].long(), mask)
    one_hot = torch.stack([train.masks == k for k in (0, 1, 2, 255)], 1)[indices].float()
    share = fetch(one_hot, where, "bilinear")
    named = torch.tensor([0, 1, 2, 255])[share.argmax(1)]
    assert (mask != named).float().mean() < 0.1
    sure = share.amax(1) > 0.999  # all four neighbours are of one class
    assert sure.float().mean() > 0.3
    assert torch.equal(mask[sure], named[sure])
    # Half a pixel: the nearest pixel has at least a quarter of the bilinear weight.
    classes = torch.tensor([0, 1, 2, 255])
    assert share.gather(1, torch.searchsorted(classes, mask)[:, None]).min() > 0.249


def test_augmentation_is_a_function_of_seed_epoch_and_index() -> None:
    data, again, other = shapes(elastic="simard", **ALL), shapes(elastic="simard", **ALL), shapes(seed=1, **ALL)
    x, mask = data.transform(data.splits["train"][2, torch.tensor([0, 5, 7])])
    for i, index in enumerate((0, 5, 7)):
        alone = again.transform(again.splits["train"][2, torch.tensor([index])])
        torch.testing.assert_close(alone[0][0], x[i], atol=1, rtol=0)
        assert (alone[1][0] != mask[i]).float().mean() < 0.02
    for changed in (data.transform(data.splits["train"][3, torch.tensor([0, 5, 7])]),
                    other.transform(other.splits["train"][2, torch.tensor([0, 5, 7])])):  # fmt: skip
        assert (changed[1] != mask).float().mean() > 0.1
    x, mask = data.transform(next(iter(data.loader("val"))))  # whole, and as they are
    assert torch.equal(x.round().to(torch.uint8), data.splits["val"].images[:4])
    assert torch.equal(mask, data.splits["val"].masks[:4].long())


def test_parts_are_cut_at_all_places_of_the_image_and_not_of_what_is_filled() -> None:
    data = shapes(image_size=8, full_size=24)
    data.splits["train"].sizes[:] = torch.tensor([20, 10])
    sizes = torch.tensor([[20, 10]]).expand(4000, 2)
    indices = torch.arange(4000)
    where = data.draw_places(sizes, uniform(0, 1, indices, 3), uniform(1, 1, indices, DRAWS), 1, indices)
    corners = {tuple(corner) for corner in where[:, :, 0, 0].int().tolist()}
    assert corners == {(x, y) for x in range(3) for y in range(13)}


def test_colours_of_the_image_change_alone() -> None:
    plain, bright = shapes(), shapes(augment={"brightness": 0.9})
    batches = [data.transform(data.splits["train"][1, torch.arange(4)]) for data in (plain, bright)]
    assert torch.equal(batches[0][1], batches[1][1])
    assert not torch.equal(batches[0][0], batches[1][0])


def test_what_would_change_images_without_their_masks_is_refused() -> None:
    for key, value in (("cutout", 4), ("policy", "randaugment"), ("mixup", 0.2)):
        with pytest.raises(UserError, match=f"data.augment.{key}.*augment=affine"):
            shapes(augment={key: value})
    with pytest.raises(UserError, match="elastic=wave must be unet, simard or null"):
        shapes(elastic="wave")
    with pytest.raises(UserError, match=r"class 2, outside data.num_classes=2"):
        shapes(num_classes=2)


# --- weights of borders, baselines


def test_border_weights_are_equation_2() -> None:
    mask = shapes().read_splits()["train"][1][0].numpy()
    mask = np.where(mask == 255, 0, mask)
    cells = []
    for value in (1, 2):
        labels, number = ndimage.label(mask == value)
        cells += [np.argwhere(labels == k) for k in range(1, number + 1)]
    assert len(cells) > 3
    expected = np.zeros(mask.shape)
    for y, x in np.argwhere(mask == 0):
        d1, d2 = sorted(np.sqrt(((cell - (y, x)) ** 2).sum(1)).min() for cell in cells)[:2]
        expected[y, x] = 10 * np.exp(-((d1 + d2) ** 2) / (2 * 1.5**2))
    got = border_term(mask, (1, 2), w0=10.0, sigma=1.5)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert got.max() > 1
    weights = border_weights(mask, (0.5, 2.0, 3.0), (1, 2), w0=10.0, sigma=1.5)
    np.testing.assert_allclose(weights - got, np.array([0.5, 2.0, 3.0])[mask], atol=1e-6)
    assert not border_term(mask * 0, (1, 2), w0=10.0, sigma=1.5).any()  # without objects there are no borders
    assert not border_term((mask == 5).astype(np.uint8), (1,), w0=10.0, sigma=1.5).any()


def test_border_weights_are_in_training_alone_and_balanced_over_the_split() -> None:
    data = shapes(border_weights=True, border_w0=0.0)
    _, weights, mask = data.transform(data.splits["train"][0, torch.arange(8)])
    known = mask < 255
    assert float(weights[known].mean()) == pytest.approx(1)
    for k in range(3):
        assert float(weights[mask == k].sum() / weights[known].sum()) == pytest.approx(1 / 3)
    assert len(data.transform(data.splits["val"][-1, torch.arange(2)])) == 2
    assert balancing_weights([30, 0, 10]) == [40 / 60, 2.0, 2.0]  # of a rare class that is in none of the masks counted


def test_the_constant_answer_is_the_most_frequent_class_without_ignored_pixels() -> None:
    data = shapes()
    masks = data.splits["val"].masks
    share = float((masks == 0).sum() / (masks != 255).sum())
    found = data.baselines["val"]
    assert found == {"majority_pixel_accuracy": pytest.approx(share), "majority_mean_iou": pytest.approx(share / 3)}


# --- scenes of digits


def test_scenes_have_the_digits_of_their_split_and_no_threshold_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"in_channels": 1, "image_size": 64, "num_classes": 11, "val_size": 3, "test_size": 3}
    data, fewer = DigitScenes(train_size=24, **options), DigitScenes(train_size=2, **options)
    data.setup()
    fewer.setup()
    train: Any = data.splits["train"]
    assert torch.equal(train.images[:2], fewer.splits["train"].images)
    assert torch.equal(train.masks[:2], fewer.splits["train"].masks)
    assert not torch.equal(train.images[:3], data.splits["test"].images)
    assert set(train.masks.unique().tolist()) == set(range(11))
    ink = train.masks > 0
    assert 0.08 < float(ink.float().mean()) < 0.25
    best = 0.0
    for level, sign in itertools.product(range(0, 256, 16), (1, -1)):
        found = sign * train.images[:, 0].int() > sign * level
        best = max(best, 2 * float((found & ink).sum()) / float(found.sum() + ink.sum()))
    assert best < 0.5

    whole = Digits.read_splits

    def one_each(self: Digits) -> dict[str, tuple[Tensor, Tensor]]:
        chosen = zip(whole(self).items(), (3, 5, 7), strict=True)
        return {split: (images[labels == k], labels[labels == k]) for (split, (images, labels)), k in chosen}

    monkeypatch.setattr(Digits, "read_splits", one_each)
    apart = DigitScenes(train_size=3, **options).read_splits()
    assert [set(masks.unique().tolist()) for _, masks in apart.values()] == [{0, 4}, {0, 6}, {0, 8}]


# --- membranes


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


# --- files


def test_images_are_fitted_into_a_square_without_losing_a_pixel() -> None:
    image = np.arange(2 * 6 * 4, dtype=np.uint8).reshape(2, 6, 4)
    mask = np.arange(24, dtype=np.uint8).reshape(6, 4)
    pixels, classes, size = fit_pair(image, mask, 9)
    assert size == (6, 4)
    assert np.array_equal(pixels[:, :6, :4], image)
    assert np.array_equal(classes[:6, :4], mask)
    assert (classes == 255).sum() == 81 - 24
    assert np.array_equal(pixels[:, :6, 4:8], image[..., ::-1])  # mirrored, as often as needed
    assert np.array_equal(pixels[:, 6:, :4], image[:, 5:2:-1])
    wide = np.repeat(np.repeat(mask, 3, 0), 3, 1)
    pixels, classes, size = fit_pair(wide[None], wide, 6)
    assert size == (6, 4)
    assert np.array_equal(classes[:, :4], mask)


def save(folder: Path, name: str, pixels: Any, palette: list[int] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    if palette:
        image.putpalette(palette)
    image.save(folder / name)


COLOURS = np.array([[0, 0, 0], [0, 128, 0], [200, 0, 0]], dtype=np.uint8)
CODINGS: dict[str, Callable[[Any, Path, str], None]] = {
    "indexed": lambda mask, folder, name: save(folder, name, mask),
    "palette": lambda mask, folder, name: save(folder, name, mask, COLOURS.flatten().tolist()),
    "coloured": lambda mask, folder, name: save(folder, name, COLOURS[mask]),
    "levels": lambda mask, folder, name: save(folder, name, np.array([10, 90, 200])[mask]),
}
MEANING = {"levels": {"ground": 10, "leaf": 90, "berry": 200}}


def write(root: Path, coding: str, n: int, prefix: str = "") -> list[Any]:
    """Images of several sizes with masks of three classes; the mask's levels are in the image's first channel."""
    rng = np.random.default_rng(0)
    masks = []
    for i in range(n):
        mask = rng.integers(0, 3, (10 + i % 3, 12 - i % 2))
        mask[0, :3] = 0, 1, 2
        save(root / "images", f"{prefix}{i}.png", np.stack([80 * mask] * 3, -1))
        CODINGS[coding](mask, root / "Labels", f"{prefix}{i}.png")
        masks.append(mask)
    return masks


def mask_folder(root: Path, **options: Any) -> MaskFolder:
    colours = options.get("colours")
    options = {"num_classes": count_mask_classes(str(root), False, colours), **options}
    data = MaskFolder(**{"root": str(root), "in_channels": 3, "image_size": 16, "batch_size": 2, **options})
    data.setup()
    return data


@pytest.mark.parametrize("coding", CODINGS)
def test_masks_say_their_classes_in_four_ways(coding: str, tmp_path: Path) -> None:
    masks = write(tmp_path, coding, 12)
    data = mask_folder(tmp_path, share=0.3, colours=MEANING.get(coding))
    lazy = mask_folder(tmp_path, share=0.3, colours=MEANING.get(coding), memory=0)
    assert sum(map(len, data.splits.values())) == 12
    assert min(map(len, data.splits.values())) > 0
    assert (data.in_memory, lazy.in_memory) == (True, False)
    for split, dataset in data.splits.items():
        i = torch.arange(len(dataset))
        for here, there in zip(dataset[-1, i], lazy.splits[split][-1, i], strict=True):
            assert here is there or np.array_equal(here, there)
        assert torch.equal(lazy.splits[split].masks_of(i), dataset.masks)
        known = dataset.masks != 255
        assert torch.equal(dataset.images[:, 0][known], 80 * dataset.masks[known])
        assert int(known.sum()) == int(dataset.sizes.prod(1).sum())
    assert sum(map(sum, (data.count_pixels(s) for s in data.splits))) == sum(mask.size for mask in masks)
    if coding in ("palette", "coloured"):
        assert np.array_equal(data.colours, COLOURS)
    if coding == "levels":
        assert data.classes == ["ground", "leaf", "berry"]
    levels = data.splits["train"].images.double() / 255
    assert data.mean == pytest.approx(levels.mean((0, 2, 3)).tolist())
    assert data.std == pytest.approx(levels.std((0, 2, 3), correction=0).tolist())
    weighed = [mask_folder(tmp_path, share=0.3, colours=MEANING.get(coding), memory=m, border_weights=True,
                           border_sigma=1.0).splits["train"][0, torch.arange(3)][2] for m in (2**30, 0)]  # fmt: skip
    assert torch.equal(*weighed)


def test_splits_of_the_users_own_and_binary_masks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    for split, n in (("Training", 5), ("valid", 2), ("test", 3)):
        for i in range(n):
            save(tmp_path / split / "Imgs" / "sub", f"{i}.png", rng.integers(0, 256, (8, 8)))
            save(tmp_path / split / "annotations" / "sub", f"{i}_mask.png", 255 * rng.integers(0, 2, (8, 8)))
    save(tmp_path / "test" / "annotations", "more.png", np.zeros((8, 8)))
    with caplog.at_level(logging.WARNING):
        data = mask_folder(tmp_path, image_size=8)
    assert "1 masks in" in caplog.text
    assert {split: len(dataset) for split, dataset in data.splits.items()} == {"train": 5, "val": 2, "test": 3}
    assert data.splits["train"].masks.unique().tolist() == [0, 1]


def test_folders_of_splits_may_lie_within_those_of_images_and_masks(tmp_path: Path) -> None:
    write(tmp_path, "indexed", 9)
    for kind in ("images", "Labels"):
        files = sorted((tmp_path / kind).iterdir())
        for split, part in (("Train", files[:6]), ("val", files[6:7]), ("test", files[7:])):
            (tmp_path / kind / split).mkdir()
            for file in part:
                file.rename(tmp_path / kind / split / file.name)
    data = mask_folder(tmp_path)
    assert {split: len(dataset) for split, dataset in data.splits.items()} == {"train": 6, "val": 1, "test": 2}
    (tmp_path / "Labels" / "test").rename(tmp_path / "Labels" / "other")
    with pytest.raises(UserError, match=r"images/test has no folder beside it in .*Labels"):
        mask_folder(tmp_path)


def test_masks_of_another_folder_mean_what_they_did_in_training(tmp_path: Path) -> None:
    """Colours that are looked up anew there would be other classes."""
    write(tmp_path / "one", "coloured", 12)
    data = mask_folder(tmp_path / "one", share=0.3)
    about = data.describe()
    for colours, name in ((COLOURS[[0, 2, 0]], "fewer"), (COLOURS + np.uint8(7), "others")):
        for i, mask in enumerate(write(tmp_path / name, "coloured", 12)):
            save(tmp_path / name / "Labels", f"{i}.png", colours[mask])
    config = {"_target_": "torchatlas.data.masks.mask_folder.MaskFolder", "root": "", "in_channels": 3,
              "image_size": 16, "num_classes": 3, "batch_size": 2, "share": 0.3, "colours": None,
              "classes": None}  # fmt: skip
    other: Any = restored_data({"config": {"data": dict(config)}, "data": about}, str(tmp_path / "fewer"))
    other.setup()
    assert other.splits["train"].masks.unique().tolist() == [0, 2, 255]  # that lie between looked up ones
    assert np.array_equal(other.colours, COLOURS)
    other = restored_data({"config": {"data": dict(config)}, "data": about}, str(tmp_path / "others"))
    with pytest.raises(UserError, match=r"\d.png has the colour 7,7,7, which is of no class: masks may have 0,0,0"):
        other.setup()
    data.load_state_dict(about)
    changed = mask_folder(tmp_path / "others", share=0.3)
    with pytest.raises(UserError, match="where the colour 0,0,0 meant another class or none"):
        changed.load_state_dict(about)


def test_the_config_counts_the_classes(tmp_path: Path, compose: Callable[..., Any]) -> None:
    OmegaConf.register_new_resolver("count_mask_classes", count_mask_classes, replace=True, use_cache=True)
    write(tmp_path, "indexed", 12)
    assert compose("model=mlp", "data=mask_folder", f"data.root={tmp_path}").data.num_classes == 3
    given = "data.colours={ground: 0, plant: 1, void: 2}"
    assert compose("model=mlp", "data=mask_folder", given, f"data.root={tmp_path}").data.num_classes == 2
    data = mask_folder(tmp_path, colours={"ground": 0, "plant": 1, "void": 2}, share=0.3)
    assert data.classes == ["ground", "plant"]


def test_masks_that_cannot_be_are_refused_in_a_sentence(tmp_path: Path) -> None:
    def folder(name: str, coding: str = "indexed", n: int = 12) -> Path:
        write(tmp_path / name, coding, n)
        return tmp_path / name

    with pytest.raises(UserError, match=r"does not exist: data.root=FOLDER needs images in"):
        mask_folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no pair of folders"):
        mask_folder(tmp_path)
    root = folder("missing")
    (root / "Labels" / "2.png").unlink()
    with pytest.raises(UserError, match=r"images/2.png has no mask: add .*Labels/2.png"):
        mask_folder(root)
    root = folder("empty", n=1)
    (root / "images" / "0.png").unlink()
    with pytest.raises(UserError, match="holds no image"):
        mask_folder(root)
    root = folder("sizes")
    save(root / "Labels", "1.png", np.ones((4, 5)))
    with pytest.raises(UserError, match=r"1.png is of 5x4 pixels and its image .*1.png of 11x11"):
        mask_folder(root, share=0.3)
    root = folder("alone")
    for i in range(12):
        save(root / "Labels", f"{i}.png", np.zeros((10, 12)))
    with pytest.raises(UserError, match="the value 0 alone, where at least two classes"):
        mask_folder(root)
    root = folder("deep")
    Image.fromarray(np.zeros((10, 12), dtype=np.uint16)).save(root / "Labels" / "0.png")
    with pytest.raises(UserError, match=r"0.png has more than 8 bits"):
        mask_folder(root)
    with pytest.raises(UserError, match=r"values 10, 90, 200.*data.colours="):
        mask_folder(folder("levels", "levels"))
    root = folder("smoothed")
    for values in ((200, 255), range(256)):
        for i in range(12):
            save(root / "Labels", f"{i}.png", np.resize(np.array(values), (16, 16)))
        with pytest.raises(UserError, match="smoothing or JPEG"):
            mask_folder(root)
    for i in range(12):
        save(root / "Labels", f"{i}.png", np.resize([1, 255], (16, 16)))
    assert count_mask_classes(str(root), False) == 2
    given = {"ground": [0, 0, 0], "leaf": [0, 128, 0]}
    with pytest.raises(UserError, match=r"\d.png has the colour 200,0,0, which is of no class.*0,128,0"):
        mask_folder(folder("unknown", "coloured"), colours=given, share=0.3)
    root = folder("photograph", "coloured")
    save(root / "Labels", "3.png", np.random.default_rng(0).integers(0, 256, (10, 12, 3)))
    with pytest.raises(UserError, match="colours, as after scaling or JPEG"):
        mask_folder(root)
    root = folder("mixed", "coloured")
    save(root / "Labels", "3.png", np.ones((10, 11)))
    with pytest.raises(UserError, match=r"is in colour and .*3.png has one channel"):
        mask_folder(root)
    with pytest.raises(UserError, match="too few to cut the val split"):
        mask_folder(folder("few", n=2), share=0.01)


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
        with pytest.raises(UserError, match=f"{path.name} is missing: delete {folder}, "):
            incomplete.setup()
        for name in ("fetch", "fetch_checked"):
            monkeypatch.setattr(sys.modules[kind.__module__], name, refuse, raising=False)  # type: ignore[attr-defined]
        with pytest.raises(UserError, match="asked for"):
            incomplete.prepare_data()


def test_photographs_are_upright_as_their_masks_are(tmp_path: Path) -> None:
    """Orientation 6: the camera was turned, and people see the image a quarter turn to the right."""
    levels, exif = np.arange(24, dtype=np.uint8).reshape(4, 6), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(levels).save(tmp_path / "image.png", exif=exif)
    for upright in (np.rot90(levels, -1), levels):  # the other mask was drawn on the pixels as they are stored
        save(tmp_path, "mask.png", upright)
        files = PairedFiles([(tmp_path / "image.png", tmp_path / "mask.png")], {k: k for k in range(24)}, 1, 6)
        image, mask, (h, w) = files.read(0)
        assert (h, w) == upright.shape
        assert np.array_equal(image[0, :h, :w], upright)
        assert np.array_equal(mask[:h, :w], upright)


def test_the_mirror_repeats_the_border() -> None:
    assert joint_augment.mirror(torch.arange(-7, 8), 3).tolist() == [0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]

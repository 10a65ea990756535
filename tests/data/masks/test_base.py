"""Images with masks: augmentation moves both alike; files are fitted and upright."""

from typing import Any

import pytest
import torch
from helpers.masks import shapes

from torchatlas.counter import uniform
from torchatlas.data.masks.base import JOINT_STREAM
from torchatlas.data.masks.joint_augment import DRAWS, fetch
from torchatlas.errors import UserError

# --- geometry

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


def test_the_constant_answer_is_the_most_frequent_class_without_ignored_pixels() -> None:
    data = shapes()
    masks = data.splits["val"].masks
    share = float((masks == 0).sum() / (masks != 255).sum())
    found = data.baselines["val"]
    assert found == {"majority_pixel_accuracy": pytest.approx(share), "majority_mean_iou": pytest.approx(share / 3)}


# --- files

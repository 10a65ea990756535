"""Geometry that moves images and masks alike, against scipy."""

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from torchatlas.counter import uniform
from torchatlas.data.images.geometry import inverse_affine, warp
from torchatlas.data.masks import joint_augment
from torchatlas.data.masks.joint_augment import (
    FIELD_STREAM,
    fetch,
    fetch_whole,
    grid_displacements,
    places,
    smooth_displacements,
)


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


# --- files


def test_the_mirror_repeats_the_border() -> None:
    assert joint_augment.mirror(torch.arange(-7, 8), 3).tolist() == [0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]

"""Boxes have the places and sizes of torchvision and the papers."""

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from helpers.images import B, pictures, worst

from torchatlas.counter import uniform
from torchatlas.data.images import boxes


def test_erase_equals_torchvision() -> None:
    images = pictures()
    places = [torch.randint(0, n, (B,)) for n in (14, 12, 9, 9)]
    zero = torch.zeros(1, 1, 1, dtype=torch.uint8)
    erase = lambda image, *box: TF.erase(image, *box, zero)  # noqa: E731
    assert worst(boxes.erase(images, *places), images, erase, *(b.tolist() for b in places)) == 0


def test_random_erasing_has_torchvisions_sizes() -> None:
    n = 4000
    random = uniform(0, 0, torch.arange(n), 23)
    erased = boxes.random_erasing(torch.ones(n, 1, 32, 32), random, probability=0.4)[:, 0] == 0
    area, heights, widths = erased.flatten(1).sum(1), erased.any(2).sum(1), erased.any(1).sum(1)
    hit = area > 0
    assert hit.float().mean() == pytest.approx(0.4, abs=0.03)
    assert torch.equal(area[hit], (heights * widths)[hit])  # one box
    assert 0.015 * 1024 < area[hit].min() < 0.03 * 1024
    assert 0.3 * 1024 < area[hit].max() < 0.36 * 1024
    ratio = (heights / widths)[hit]
    assert 0.2 < ratio.min() < 0.4
    assert 2.7 < ratio.max() < 4
    assert max(heights.max(), widths.max()) < 32
    assert erased[hit][:, 0].any()  # reaches each border
    assert erased[hit][:, -1].any()
    centre = (erased[hit] * torch.arange(32.0)).sum((1, 2)) / area[hit]
    assert centre.mean() == pytest.approx(15.5, abs=0.5)


def test_cutout_is_a_square_around_any_pixel() -> None:
    n = 20_000
    random = uniform(0, 0, torch.arange(n), 2)
    for size in (4, 5):
        erased = boxes.cutout(torch.ones(n, 2, 10, 10), random, size=size) == 0
        assert torch.equal(erased[:, 0], erased[:, 1])
        top, left = (random * 10).long().unbind(1)
        for i in range(50):
            expected = torch.zeros(30, 30, dtype=torch.bool)
            y, x = 10 + int(top[i]) - size // 2, 10 + int(left[i]) - size // 2
            expected[y : y + size, x : x + size] = True
            assert torch.equal(erased[i, 0], expected[10:20, 10:20])
    assert len(set((10 * top + left).tolist())) == 100

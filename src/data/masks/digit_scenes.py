"""Scenes of handwritten digits on textured ground, made from scikit-learn's."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...counter import uniform
from ...errors import UserError
from ..base import SPLIT_SEED
from ..images.digits import Digits
from .base import SegmentationData

SIDE = 64  # pixels
MOST, FEWEST = 5, 2  # digits in a scene
PLACES = 9  # in a grid of 3x3, so that digits hide one another in part only
DIGIT = 8  # pixels of scikit-learn's images
WAVES = 4
NOISE = ((4, 40.0), (8, 30.0), (16, 22.0), (64, 10.0))  # sides of the grids, and strengths in levels
SPLITS = {"train": 0, "val": 1, "test": 2}  # their parts of the counter
CHUNK = 250  # scenes that are made at once


class DigitScenes(SegmentationData):
    """Several digits on textured ground, in 64x64 grey pixels, and which digit each pixel is of; nothing to download.

    Each scene has 2 to 5 real digits (of `Digits`, whose splits are apart: the scenes of a split have only its digits),
    magnified 2 to 3.5 times, turned by up to 20 degrees and placed at random, later ones over earlier ones. The ground
    is a sum of plane waves and of smooth noise at several scales. The ink of each digit is brighter or darker than the
    ground under it by 55 to 120 levels, of its own random choice, so that no threshold finds the digits.
    A pixel is of a digit where its ink covers at least half. Classes: background, then the digits 0 to 9.

    Each scene is a function of its split and its number alone.

    Args:
        train_size, test_size: number of scenes; `val_size` those for validation.
        others: see `SegmentationData`.
    """

    mean, std = (0.504,), (0.198,)
    classes = ("background", *map(str, range(10)))
    colours = (
        (0, 0, 0), (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48), (145, 30, 180),
        (70, 240, 240), (240, 50, 230), (210, 245, 60), (250, 190, 212),
    )  # fmt: skip

    def __init__(self, *, train_size: int = 2000, test_size: int = 400, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.num_classes != len(self.classes):
            raise UserError(f"data.num_classes={self.num_classes} must be 11: background and ten digits")
        if min(train_size, test_size) < 1:
            raise UserError(f"data.train_size={train_size} and data.test_size={test_size} must be positive")
        self.numbers = {"train": train_size, "val": self.val_size, "test": test_size}

    def read_splits(self) -> dict[str, tuple[Tensor, Tensor]]:
        digits = Digits(in_channels=1, image_size=DIGIT, num_classes=10, val_size=144).read_splits()
        found = {}
        for name, number in self.numbers.items():
            made = [make_scenes(*digits[name], SPLITS[name], n) for n in torch.arange(number).split(CHUNK)]
            found[name] = torch.cat([images for images, _ in made]), torch.cat([masks for _, masks in made])
        return found


def make_scenes(digits: Tensor, labels: Tensor, split: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Scenes and their masks.

    Args:
        digits: uint8 `n 1 8 8`.
        labels: their classes, `n`.
        split: of the scenes, a part of the counter.
        numbers: of the scenes in their split, int64 `b`.

    Returns:
        uint8 `b 1 64 64` and `b 64 64`.
    """
    b = len(numbers)
    draws = iter(uniform(SPLIT_SEED, split, numbers, _DRAWS).split(_PARTS, dim=1))
    images = textured_ground(next(draws), next(draws))
    masks = torch.zeros(b, SIDE, SIDE, dtype=torch.uint8)
    amount = FEWEST + (next(draws)[:, 0] * (MOST - FEWEST + 1)).long()
    cells = next(draws).argsort(1)
    for k in range(MOST):
        random = next(draws)
        chosen = (random[:, 0] * len(labels)).long()
        cover = place_digits(digits[chosen], cells[:, k], random[:, 1:5]) * (k < amount)[:, None, None]
        under = (cover * images).sum((1, 2)) / cover.sum((1, 2)).clamp(min=1)
        step = 55 + 65 * random[:, 5]
        down = (random[:, 6] < 0.5) & (under > 80) | (under > 175)  # where there is no room, the other way
        ink = (under + torch.where(down, -step, step)).clamp(0, 255)[:, None, None]
        images = cover * ink + (1 - cover) * images
        masks = torch.where(cover >= 0.5, (labels[chosen] + 1)[:, None, None], masks).to(torch.uint8)
    return images.round().to(torch.uint8)[:, None], masks


def textured_ground(waves: Tensor, noise: Tensor) -> Tensor:
    """Levels from 0 to 255, `b 64 64`.

    Args:
        waves: numbers in [0, 1), `b 17`: the mean level; direction, wavelength, phase and strength of each wave.
        noise: numbers in [0, 1) for the grids of `NOISE`, smoothed by bicubic interpolation.
    """
    along = torch.arange(SIDE, dtype=torch.float32)
    level = 70 + 115 * waves[:, 0, None, None].expand(-1, SIDE, SIDE)
    for wave in waves[:, 1:].unflatten(1, (WAVES, 4)).unbind(1):
        angle, length, phase, strength = (value[:, None, None] for value in wave.unbind(1))
        where = torch.cos(math.pi * angle) * along + torch.sin(math.pi * angle) * along[:, None]
        level = level + 14 * strength * torch.sin(2 * math.pi * (where / (5 + 35 * length) + phase))
    for (side, strength), values in zip(NOISE, noise.split([side**2 for side, _ in NOISE], dim=1), strict=True):
        grid = (2 * values - 1).view(-1, 1, side, side)
        level = level + strength * F.interpolate(grid, (SIDE, SIDE), mode="bicubic", align_corners=False)[:, 0]
    return level.clamp(0, 255)


def place_digits(digits: Tensor, cells: Tensor, random: Tensor) -> Tensor:
    """How much of each pixel the ink of a digit covers, from 0 to 1, `b 64 64`.

    Args:
        digits: uint8 `b 1 8 8`.
        cells: which of the 3x3 places, `b`.
        random: `b 4`: shift to the right and downwards, factor, angle.
    """
    shift = 5 * (2 * random[:, :2] - 1)
    x = (SIDE / 2 + 19 * (cells % 3 - 1) + shift[:, 0])[:, None, None]
    y = (SIDE / 2 + 19 * (cells // 3 - 1) + shift[:, 1])[:, None, None]
    factor = (2 + 1.5 * random[:, 2])[:, None, None]
    angle = (math.radians(20) * (2 * random[:, 3] - 1))[:, None, None]
    along = torch.arange(SIDE) + 0.5
    right, down = along - x, along[:, None] - y
    u = (torch.cos(angle) * right + torch.sin(angle) * down) / factor
    v = (torch.cos(angle) * down - torch.sin(angle) * right) / factor
    grid = torch.stack([u, v], -1) * (2 / DIGIT)
    levels = F.grid_sample(digits.float() / 255, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
    return (2 * levels[:, 0] - 0.4).clamp(0, 1)  # steep, so that strokes have edges


_PARTS = [1 + 4 * WAVES, sum(side**2 for side, _ in NOISE), 1, PLACES, *[7] * MOST]
_DRAWS = sum(_PARTS)

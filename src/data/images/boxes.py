"""Boxes in the images of a batch, and what is done in them: random erasing and Cutout."""

import math

import torch
from torch import Tensor

from ...counter import among

ATTEMPTS = 10  # of random erasing at a box that fits, as in torchvision


def boxes(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """True inside the boxes, `b 1 h w`."""
    h, w = images.shape[-2:]
    y, x = torch.arange(h, device=images.device), torch.arange(w, device=images.device)
    rows = (y >= top[:, None]) & (y < (top + height)[:, None])
    columns = (x >= left[:, None]) & (x < (left + width)[:, None])
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def erase(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Zeros in the box of each image, whole numbers of pixels; what lies outside of the image is cut off."""
    return images.masked_fill(boxes(images, top, left, height, width), 0)


def random_erasing(images: Tensor, random: Tensor, *, probability: float) -> Tensor:
    """Random Erasing (Zhong et al. 2017, arXiv:1708.04896, algorithm 1): zeros in a box of random size and shape.

    As in torchvision the box has 0.02 to 0.33 of the area and sides in a ratio of 0.3 to 3.3, uniform in its logarithm,
    and is filled with zeros; the paper has areas to 0.4 and random values.
    Of ten boxes the first that fits is taken; where none does, the image stays as it is.

    Args:
        images: `b c h w`.
        random: `b 23`: whether, place from above and from the left, ten areas, ten ratios.
        probability: share of the images.
    """
    h, w = images.shape[-2:]
    area = h * w * (0.02 + 0.31 * random[:, 3 : 3 + ATTEMPTS])
    low, high = math.log(0.3), math.log(3.3)
    ratio = torch.exp(low + (high - low) * random[:, 3 + ATTEMPTS :])
    heights, widths = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (heights < h) & (widths < w)
    first = fits.int().argmax(1, keepdim=True)  # of equal ones the first
    height, width = (sizes.gather(1, first)[:, 0] for sizes in (heights, widths))
    erased = fits.any(1) & (random[:, 0] < probability)
    top, left = (random[:, 1] * (h - height + 1)).floor(), (random[:, 2] * (w - width + 1)).floor()
    return erase(images, top, left, torch.where(erased, height, 0), width)


def cutout(images: Tensor, random: Tensor, *, size: int) -> Tensor:
    """Cutout (DeVries and Taylor 2017, arXiv:1708.04552): zeros in a square around a random pixel.

    The square may reach over the border, which the authors found critical.

    Args:
        images: `b c h w`.
        random: `b 2`: the pixel from above and from the left.
        size: side in pixels.
    """
    h, w = images.shape[-2:]
    top, left = among(random[:, 0], h) - size // 2, among(random[:, 1], w) - size // 2
    side = torch.full_like(top, size)
    return erase(images, top, left, side, side)

"""Whole batches turned, moved, scaled and sheared on the device of the network, each sample by a matrix of its own.

The result is what torchvision.transforms.v2.functional gives for each uint8 image alone: bilinear, it may be one level
of 255 apart, where floating-point sums are rounded otherwise; nearest, it is equal but for places half-way between two
pixels.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def inverse_affine(
    angle: Tensor, translate: tuple[Tensor, Tensor], scale: Tensor, shear: tuple[Tensor, Tensor],
    centre: tuple[float, float] = (0.0, 0.0),
) -> Tensor:  # fmt: skip
    """Matrices `b 2 3` that lead from a place in the result to one in the image.

    As in torchvision's `affine`, the image is sheared along x, then along y, then scaled, turned and moved. Its inverse
    is x = A (y - centre - translate) + centre. Places are in pixels from the middle of the image.

    Args:
        angle: degrees, clockwise.
        translate: pixels to the right, and downwards.
        scale: positive factor.
        shear: degrees along x, and along y.
        centre: the place that shear, scale and rotation leave where it is.
    """
    cos, sin = torch.cos(torch.deg2rad(angle)), torch.sin(torch.deg2rad(angle))
    along_x, along_y = (torch.tan(torch.deg2rad(degrees)) for degrees in shear)
    lower = (along_y * cos - sin) / scale, (along_y * sin + cos) / scale
    upper = cos / scale + along_x * lower[0], sin / scale + along_x * lower[1]
    x, y = centre[0] + translate[0], centre[1] + translate[1]
    rows = [torch.stack([a, b, c - (a * x + b * y)], -1) for (a, b), c in zip((upper, lower), centre, strict=True)]
    return torch.stack(rows, -2)


def warp(images: Tensor, matrices: Tensor, mode: Literal["nearest", "bilinear"] = "nearest") -> Tensor:
    """Fetch each pixel of the result from where `matrices` `b 2 3` say, see `inverse_affine`; black from outside."""
    h, w = images.shape[-2:]
    x = torch.arange(w, device=images.device) - (w - 1) / 2
    y = torch.arange(h, device=images.device)[:, None] - (h - 1) / 2
    half = torch.where(torch.arange(2, device=images.device) == 0, w / 2, h / 2)  # of the sides, x first
    # Not a matrix product: a run that allows TF32 or bfloat16 would round places to several pixels.
    a, b, c = (matrices.float() / half[:, None]).transpose(0, 1)[..., None, None].unbind(2)
    grid = (a * x + b * y).add_(c).permute(1, 2, 3, 0)
    sampled = F.grid_sample(images.float(), grid, mode=mode, padding_mode="zeros", align_corners=False)
    return sampled.round().to(torch.uint8)


def random_affine(
    images: Tensor, random: Tensor, *, rotation: float, translate: float, scale: float, shear: float
) -> Tensor:
    """Rotation, translation, scale and shear along x in one bilinear step, uniform as in torchvision's `RandomAffine`.

    Args:
        images: uint8 `b c h w`.
        random: `b 5`: angle, translation along x and along y, scale, shear.
        rotation: largest angle in degrees, either way.
        translate: largest translation, either way, as a share of the side; whole pixels, so that it does not blur.
        scale: largest distance of the factor from 1.
        shear: largest angle in degrees, either way.
    """
    h, w = images.shape[-2:]
    angle, right, downwards, size, slant = (2 * random - 1).unbind(1)
    matrices = inverse_affine(
        rotation * angle,
        ((right * (translate * w)).round(), (downwards * (translate * h)).round()),
        1 + scale * size,
        (shear * slant, torch.zeros_like(slant)),
    )
    return warp(images, matrices, "bilinear")

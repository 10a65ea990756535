"""Augmentation of images together with what belongs to their pixels, batched on the device of the network.

All geometry is one step: each pixel of the result has a place in the source, from which image and mask are fetched.
With the centred place u of a pixel of the result, its displacement d(u), the affine matrix A and translation t, the
flips and quarter turns Q, and the centre c of the part that is cut out, the place is Q (A (u + d(u)) + t) + c.

Images are bilinear; masks and pixel weights take the nearest pixel, so that no class comes to be that is not in the
mask, and a weight moves with its pixel. Beyond the source lies its mirror image, for all of them alike, so that no mask
says of black corners what they are. Where places are whole numbers (flips, quarter turns, crops) the pixels
are moved without arithmetic and stay the same bit by bit.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...counter import uniform
from ..images.geometry import inverse_affine

DRAWS = 2 + 2 * 3 * 3  # flip upside down, quarter turns, the displacements of U-Net's grid
FIELD_STREAM = 0x666C64  # added to the seed: the fields of single pixels share no numbers with anything else
TRUNCATE = 4.0  # spreads at which a Gaussian filter ends, as in SciPy


def grid_displacements(random: Tensor, size: int, std: float) -> Tensor:
    """Smooth displacements of U-Net (Ronneberger et al. 2015, arXiv:1505.04597, section 3.1).

    Vectors from a Gaussian distribution at the nodes of a coarse 3x3 grid, which spans the image from the first pixel
    to the last, and bicubic interpolation between them (Keys' kernel with a = -0.75, nodes repeated at the border).

    Args:
        random: numbers in [0, 1) of shape `b 18`.
        size: side s of the image in pixels.
        std: spread of the Gaussian in pixels; the paper's is 10 for images of 512.

    Returns:
        Pixels to the right and downwards, `b 2 s s`.
    """
    one, two = random.unflatten(1, (2, 9)).unbind(1)
    radius = (-2 * torch.log1p(-one)).sqrt()  # Box and Muller 1958
    normal = torch.stack([radius * torch.cos(2 * math.pi * two), radius * torch.sin(2 * math.pi * two)], 1)
    nodes = std * normal.unflatten(2, (3, 3))
    return F.interpolate(nodes, (size, size), mode="bicubic", align_corners=True)


def smooth_displacements(seed: int, epoch: int, indices: Tensor, size: int, *, alpha: float, sigma: float) -> Tensor:
    """Elastic distortions of Simard, Steinkraus and Platt 2003, "Best Practices for Convolutional Neural Networks".

    Each pixel gets displacements that are uniform in [-1, 1], which are smoothed by a Gaussian of spread `sigma`
    and multiplied by `alpha`; the field is not normalised before. The paper's values for digits are 34 and 4.

    Args:
        seed, epoch, indices: what the numbers are a function of, see `counter.uniform`.
        size: side s of the image in pixels.
        alpha: factor, in pixels.
        sigma: spread in pixels.

    Returns:
        Pixels to the right and downwards, `b 2 s s`.
    """
    noise = 2 * uniform(seed + FIELD_STREAM, epoch, indices, 2 * size * size).view(-1, 2, size, size) - 1
    matrix = _gaussian(size, sigma, indices.device)
    return alpha * (matrix @ noise @ matrix.T)


@functools.lru_cache(maxsize=8)
def _gaussian(size: int, sigma: float, device: torch.device) -> Tensor:
    """Filtering of `size` values as a matrix; beyond the border they are mirrored."""
    reach = int(TRUNCATE * sigma + 0.5)
    steps = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    places = mirror(torch.arange(size)[:, None] + steps, size)
    matrix = torch.zeros(size, size).scatter_add_(1, places, (kernel / kernel.sum()).expand(size, -1))
    return matrix.to(device)


def mirror(places: Tensor, size: int) -> Tensor:
    """Whole places beyond 0 .. size-1, mirrored at the borders as often as needed; the border pixel is repeated."""
    places = places.remainder(2 * size)
    return torch.minimum(places, 2 * size - 1 - places)


def affine_matrices(
    random: Tensor, size: int, *, rotation: float, translate: float, scale: float, shear: float
) -> Tensor:
    """`b 2 3` from a centred place in the result to one in the source, with parameters as in `augment.random_affine`.

    Args:
        random: `b 5`: angle, translation along x and along y, scale, shear.
        size: side of the result in pixels, of which translations are shares.
        rotation, shear: largest angles in degrees, either way.
        translate: largest translation, either way, as a share of the side.
        scale: largest distance of the factor from 1.
    """
    angle, right, downwards, factor, slant = (2 * random - 1).unbind(1)
    return inverse_affine(
        rotation * angle,
        ((right * (translate * size)).round(), (downwards * (translate * size)).round()),
        1 + scale * factor,
        (shear * slant, torch.zeros_like(slant)),
    )


def places(
    size: int,
    corner: Tensor,
    flips: Tensor,
    turns: Tensor,
    matrices: Tensor | None = None,
    shifts: Tensor | None = None,
) -> Tensor:
    """Where each pixel of the result comes from; see the module.

    Args:
        size: side s of the result.
        corner: int64 `b 2`: row and column of the source at which the part that is cut out begins.
        flips: bool `b 2`: whether the result is mirrored from left to right, and upside down.
        turns: int64 `b`: quarter turns clockwise, 0 to 3.
        matrices: A and t, `b 2 3`; None: the identity.
        shifts: d, `b 2 s s`; None: none.

    Returns:
        Column and row in the source, `b 2 s s`, whole numbers without matrices and shifts.
    """
    device = corner.device
    along = torch.arange(size, device=device) - (size - 1) / 2
    x, y = along.expand(1, size, size), along[:, None].expand(1, size, size)
    if shifts is not None:
        x, y = x + shifts[:, 0], y + shifts[:, 1]
    if matrices is not None:
        (a, b, c), (d, e, f) = (row.unbind(1) for row in matrices[..., None, None].unbind(1))
        x, y = a * x + b * y + c, d * x + e * y + f
    cos = ((1 - turns) * (turns < 3))[:, None, None]
    sin = ((2 - turns) * (turns % 2))[:, None, None]
    sign = 1.0 - 2.0 * flips.float()[..., None, None]
    x, y = sign[:, 0] * x, sign[:, 1] * y
    x, y = cos * x + sin * y, cos * y - sin * x  # the inverse of a clockwise turn, with y downwards
    centre = corner[..., None, None] + (size - 1) / 2
    return torch.stack([x + centre[:, 1], y + centre[:, 0]], 1)


def fetch_whole(values: Tensor, places: Tensor) -> Tensor:
    """Pixels at whole places, without arithmetic.

    Args:
        values: `b c h w` of any type.
        places: `b 2 s s`, see `places`.
    """
    h, w = values.shape[-2:]
    x, y = places.round().long().unbind(1)
    flat = (mirror(y, h) * w + mirror(x, w)).flatten(1)
    found = values.flatten(2).gather(2, flat[:, None].expand(-1, values.shape[1], -1))
    return found.view(*values.shape[:2], *x.shape[1:])


def fetch(values: Tensor, places: Tensor, mode: str) -> Tensor:
    """Pixels at places between pixels.

    Args:
        values: `b c h w`, of which those of whole types are rounded.
        places: `b 2 s s`, see `places`.
        mode: "bilinear" or "nearest".
    """
    sides = torch.arange(2, device=values.device)
    sides = torch.where(sides == 0, values.shape[-1], values.shape[-2])
    grid = (2 * places.permute(0, 2, 3, 1) + 1) / sides - 1
    found = F.grid_sample(values.float(), grid, mode=mode, padding_mode="reflection", align_corners=False)
    return found if values.is_floating_point() else found.round().to(values.dtype)

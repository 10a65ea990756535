"""Augmentation of whole batches on the device of the network, each sample with parameters of its own.

An operation takes uint8 images `b c h w` of one or three channels and parameters of shape `b`, and gives what the
function of torchvision.transforms.v2.functional gives for each image alone. `brightness`, `posterize`, `solarize`,
`autocontrast`, `equalize`, `invert` and `erase` are equal to it bit by bit. `contrast`, `saturation`, `hue`,
`sharpness` and bilinear `warp` may be one level of 255 apart, where floating-point sums are rounded otherwise. Nearest
`warp` is equal but for places half-way between two pixels. Nearest is what the policies use.

Which operation a sample gets, and how strong, is decided by numbers that are a function of (seed, epoch, index), see
`counter.uniform`, so that a resumed run sees the same pictures. No step waits for the device.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from scipy.special import betaincinv
from torch import Tensor

from ...errors import UserError, nearest

# --- colour


def _wide(values: Tensor) -> Tensor:
    """`b` as float32 `b 1 1 1`."""
    return values.float()[:, None, None, None]


def _blend(images: Tensor, others: Tensor, share: Tensor) -> Tensor:
    """The sum of share * images and (1 - share) * others, cut off to uint8; a share may lie outside of [0, 1]."""
    # 1 - share before it is rounded to float32: a share in float64 then gives torchvision's bits.
    return torch.addcmul(images * _wide(share), others, _wide(1 - share)).clamp(0, 255).to(torch.uint8)


def _luma(images: Tensor) -> Tensor:
    """Whole levels of luma `b 1 h w` in float32, with torchvision's weights."""
    if images.shape[1] == 1:
        return images.float()
    red, green, blue = images.float().split(1, dim=1)
    return torch.add(torch.add(red * 0.2989, green, alpha=0.587), blue, alpha=0.114).floor()


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Levels times `factor`: 0 is black, 1 changes nothing."""
    return (images.float() * _wide(factor)).clamp(0, 255).to(torch.uint8)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Distance from the image's mean luma times `factor`: 0 is even grey, 1 changes nothing."""
    return _blend(images.float(), _luma(images).mean((1, 2, 3), keepdim=True), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Distance of each pixel from its luma times `factor`; images of one channel stay as they are."""
    return images if images.shape[1] == 1 else _blend(images.float(), _luma(images), factor)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the colours by `shift` in [-0.5, 0.5] of the circle; images of one channel stay as they are.

    With the hue H in sixths of the circle, k = (n + H) mod 6 and n = 5, 3, 1 for red, green, blue, a channel is
    max - (max - min) * clamp(min(k, 4 - k), 0, 1).
    """
    if images.shape[1] == 1:
        return images
    x = images.float() * (1 / 255)
    high, low = x.amax(1), x.amin(1)
    span = high - low
    red, green, blue = (x / torch.where(span == 0, 1.0, span)[:, None]).unbind(1)  # grey has no hue: any will do
    is_red, is_green = x[:, 0] == high, x[:, 1] == high
    sixths = torch.where(is_red, green - blue, torch.where(is_green, 2 + blue - red, 4 + red - green))
    sixths = sixths + 6 * shift.float()[:, None, None]
    channels = []
    for n in (5, 3, 1):
        k = (n + sixths).remainder(6)
        channels.append(high - span * torch.minimum(k, 4 - k).clamp(0, 1))
    return (torch.stack(channels, 1) * 255.999).to(torch.uint8)  # torchvision's way from 0..1 to levels


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Distance from the smoothed image times `factor`; the outermost pixels, which lack neighbours, stay.

    As in Pillow, smoothing has weight 5/13 in the centre and 1/13 around it. Sums of whole levels are exact, and
    thirteenths never lie half-way between two levels: rounding has one result.
    """
    if min(images.shape[-2:]) < 3:
        return images
    x = images.float()
    inner = x[..., 1:-1, 1:-1]
    rows = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
    smooth = ((rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner) / 13).round()
    result = images.clone()
    result[..., 1:-1, 1:-1] = torch.addcmul(inner, smooth - inner, _wide(1 - factor)).clamp(0, 255).to(torch.uint8)
    return result


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the `bits` (0 to 8) highest bits of each level."""
    mask = (255 << (8 - bits.long().clamp(0, 8))) & 255
    return images & mask.to(torch.uint8)[:, None, None, None]


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the levels from `threshold` on."""
    return torch.where(images >= _wide(threshold), 255 - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch the levels of each channel over 0..255; a channel of one level stays as it is."""
    low, high = images.amin((2, 3), keepdim=True).float(), images.amax((2, 3), keepdim=True).float()
    even = low == high
    scale = torch.where(even, 1.0, (high - low) * (1 / 255))
    return ((images.float() - torch.where(even, 0.0, low)) / scale).clamp(0, 255).to(torch.uint8)


def equalize(images: Tensor) -> Tensor:
    """Make the levels of each channel equally frequent, in the whole-number steps of Pillow's `ImageOps.equalize`.

    A channel that has fewer than 255 pixels below its brightest level has no step and stays as it is.
    """
    levels = images.flatten(2).long()
    counts = torch.zeros(*levels.shape[:2], 256, dtype=torch.int32, device=images.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels, dtype=torch.int32))
    brightest = counts.gather(2, levels.amax(2, keepdim=True))
    step = (levels.shape[2] - brightest) // 255
    darker = counts.cumsum(2, dtype=torch.int32) - counts
    table = ((darker + step // 2) // step.clamp(min=1)).clamp(max=255)
    equal = table.to(torch.uint8).gather(2, levels).view_as(images)
    return torch.where((step > 0)[..., None], equal, images)


def invert(images: Tensor) -> Tensor:
    """255 minus each level."""
    return 255 - images


# --- geometry


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


def erase(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Zeros in the box of each image, whole numbers of pixels; what lies outside of the image is cut off."""
    return images.masked_fill(_boxes(images, top, left, height, width), 0)


def _boxes(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """True inside the boxes, `b 1 h w`."""
    h, w = images.shape[-2:]
    y, x = torch.arange(h, device=images.device), torch.arange(w, device=images.device)
    rows = (y >= top[:, None]) & (y < (top + height)[:, None])
    columns = (x >= left[:, None]) & (x < (left + width)[:, None])
    return (rows[:, :, None] & columns[:, None, :])[:, None]


# --- one operation out of many for each sample


class Kind(IntEnum):
    """The operations of the policies, under torchvision's names."""

    Identity = 0
    ShearX = 1
    ShearY = 2
    TranslateX = 3
    TranslateY = 4
    Rotate = 5
    Brightness = 6
    Color = 7
    Contrast = 8
    Sharpness = 9
    Posterize = 10
    Solarize = 11
    AutoContrast = 12
    Equalize = 13
    Invert = 14


# Of images, parameters `b` and inverse affine matrices `b 2 3`: nothing, all of geometry, then a colour operation each.
_OPERATIONS: tuple[Callable[[Tensor, Tensor, Tensor], Tensor], ...] = (
    lambda images, _, __: images,
    lambda images, _, matrices: warp(images, matrices),
    lambda images, factor, _: brightness(images, factor),
    lambda images, factor, _: saturation(images, factor),
    lambda images, factor, _: contrast(images, factor),
    lambda images, factor, _: sharpness(images, factor),
    lambda images, bits, _: posterize(images, bits),
    lambda images, threshold, _: solarize(images, threshold),
    lambda images, _, __: autocontrast(images),
    lambda images, _, __: equalize(images),
    lambda images, _, __: invert(images),
)


class Strengths(NamedTuple):
    """How strong a policy's operations are at its highest level; they grow in equal steps from the lowest.

    Attributes:
        levels: how many there are.
        shear: tangent of the angle.
        pixels: longest translation; None: 150/331 of the side.
        degrees: largest rotation.
        factor: largest distance of brightness, saturation, contrast and sharpness from 1.
        bits: most bits that posterizing takes away.
    """

    levels: int
    shear: float
    pixels: float | None
    degrees: float
    factor: float
    bits: int


# AutoAugment: arXiv:1805.09501, table 6; the translation is relative to the 331 pixels of its ImageNet images.
# RandAugment takes these operations (arXiv:1909.13719, section 3). TrivialAugment: the space Wide of arXiv:2103.10158.
STRENGTHS = {
    "autoaugment": Strengths(10, 0.3, None, 30.0, 0.9, 4),
    "randaugment": Strengths(31, 0.3, None, 30.0, 0.9, 4),
    "trivialaugment": Strengths(31, 0.99, 32.0, 135.0, 0.99, 6),
}

# The 25 sub-policies found on CIFAR-10 (arXiv:1805.09501, table 7): operation, probability, level of ten, twice.
CIFAR_POLICY = (
    (("Invert", 0.1, 0), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 0)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 0), ("Equalize", 0.6, 0)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
    (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)),
)


@functools.lru_cache(maxsize=64)
def _tables(policy: str, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What each operation takes: parameters `kind level sign` and inverse affine matrices `kind level sign 2 3`.

    They are computed once in float64 on the host, as torchvision computes them. The second of the two signs is minus.
    """
    s = STRENGTHS[policy]
    sign = torch.tensor([1.0, -1.0], dtype=torch.float64, device="cpu")

    def grown(start: float, end: float) -> Tensor:
        return torch.linspace(start, end, s.levels, device="cpu").double()

    def signed(end: float) -> Tensor:
        return grown(0.0, end)[:, None] * sign

    parameters = torch.zeros(len(Kind), s.levels, 2, dtype=torch.float64, device="cpu")
    for kind in (Kind.Brightness, Kind.Color, Kind.Contrast, Kind.Sharpness):
        parameters[kind] = 1 + signed(s.factor)
    parameters[Kind.Posterize] = (8 - grown(0.0, s.bits)).round()[:, None]
    parameters[Kind.Solarize] = 255 * grown(1.0, 0.0)[:, None]

    zero = torch.zeros(s.levels, 2, dtype=torch.float64, device="cpu")
    shear = torch.rad2deg(torch.atan(signed(s.shear)))
    corner = (-width / 2, -height / 2)
    right, downwards = (signed(side * 150 / 331 if s.pixels is None else s.pixels).trunc() for side in (width, height))
    matrices = inverse_affine(zero, (zero, zero), zero + 1, (zero, zero)).repeat(len(Kind), 1, 1, 1, 1)
    matrices[Kind.ShearX] = inverse_affine(zero, (zero, zero), zero + 1, (shear, zero), corner)
    matrices[Kind.ShearY] = inverse_affine(zero, (zero, zero), zero + 1, (zero, shear), corner)
    matrices[Kind.TranslateX] = inverse_affine(zero, (right, zero), zero + 1, (zero, zero))
    matrices[Kind.TranslateY] = inverse_affine(zero, (zero, downwards), zero + 1, (zero, zero))
    matrices[Kind.Rotate] = inverse_affine(-signed(s.degrees), (zero, zero), zero + 1, (zero, zero))
    dtype = torch.float32 if device.type == "mps" else torch.float64  # which MPS does not have
    return parameters.to(device, dtype), matrices.float().to(device)


def operate(policy: str, images: Tensor, kind: Tensor, level: Tensor, minus: Tensor) -> Tensor:
    """Apply to each image the one operation that was chosen for it.

    On a CPU each operation gets the images that have it. Elsewhere it gets all of them and the others' results are not
    taken: to learn which images have it, the host would have to wait for the device.

    Args:
        policy: whose strengths.
        images: uint8 `b c h w`.
        kind: values of `Kind`, `b`.
        level: from 0, less than the policy's number of levels, `b`.
        minus: whether the strength is negative, where the operation has signs, `b`.
    """
    parameters, matrices = _tables(policy, *images.shape[-2:], images.device)
    place = kind, level, minus.long()
    parameter, matrix = parameters[place], matrices[place]
    which = torch.where(kind == Kind.Identity, 0, (kind - Kind.Rotate + 1).clamp(min=1))  # of _OPERATIONS
    if _everywhere(images.device):
        for i, operation in enumerate(_OPERATIONS[1:], start=1):
            images = torch.where((which == i)[:, None, None, None], operation(images, parameter, matrix), images)
        return images
    order = which.argsort(stable=True)
    sizes = torch.bincount(which, minlength=len(_OPERATIONS)).tolist()
    parts = [x.index_select(0, order).split(sizes) for x in (images, parameter, matrix)]
    done = [f(*part) if len(part[0]) else part[0] for f, *part in zip(_OPERATIONS, *parts, strict=True)]
    return torch.cat(done).index_select(0, order.argsort())


def _everywhere(device: torch.device) -> bool:
    return device.type != "cpu"


def _among(random: Tensor, number: int) -> Tensor:
    """Numbers in [0, 1) to whole ones from 0 to number - 1."""
    return (random * number).long()


def randaugment(images: Tensor, random: Tensor, *, magnitude: int) -> Tensor:
    """RandAugment (Cubuk et al. 2019, arXiv:1909.13719): operations of one level, one after another.

    Args:
        images: uint8 `b c h w`.
        random: `b 2n` for n operations: which one, and its sign.
        magnitude: the level, 0 to 30.
    """
    for choice, sign in random.unflatten(1, (-1, 2)).permute(1, 2, 0):
        kind = _among(choice, Kind.Invert)  # all but Invert
        images = operate("randaugment", images, kind, torch.full_like(kind, magnitude), sign < 0.5)
    return images


def trivialaugment(images: Tensor, random: Tensor) -> Tensor:
    """TrivialAugment Wide (Müller and Hutter 2021, arXiv:2103.10158): one operation of a random level.

    Args:
        images: uint8 `b c h w`.
        random: `b 3`: which operation, its level, its sign.
    """
    kind, level = _among(random[:, 0], Kind.Invert), _among(random[:, 1], STRENGTHS["trivialaugment"].levels)
    return operate("trivialaugment", images, kind, level, random[:, 2] < 0.5)


def autoaugment(images: Tensor, random: Tensor) -> Tensor:
    """AutoAugment's policy for CIFAR-10 (Cubuk et al. 2018, arXiv:1805.09501): one of 25 pairs of operations.

    Args:
        images: uint8 `b c h w`.
        random: `b 5`: which pair, then for each of the two whether it is applied, and its sign.
    """
    kinds, probabilities, levels = _cifar_policy(images.device)
    pair = _among(random[:, 0], len(CIFAR_POLICY))
    for i in range(2):
        applied = random[:, 1 + 2 * i] < probabilities[pair, i]
        kind = torch.where(applied, kinds[pair, i], int(Kind.Identity))
        images = operate("autoaugment", images, kind, levels[pair, i], random[:, 2 + 2 * i] < 0.5)
    return images


@functools.lru_cache(maxsize=8)
def _cifar_policy(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """`CIFAR_POLICY` as operations, probabilities and levels, each `25 2`."""
    kinds = torch.tensor([[Kind[name] for name, _, _ in pair] for pair in CIFAR_POLICY], device=device)
    probabilities = torch.tensor([[probability for _, probability, _ in pair] for pair in CIFAR_POLICY], device=device)
    levels = torch.tensor([[level for _, _, level in pair] for pair in CIFAR_POLICY], device=device)
    return kinds, probabilities, levels


# --- parameters from random numbers


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


def colour_jitter(images: Tensor, random: Tensor, strengths: Mapping[str, float]) -> Tensor:
    """Brightness, contrast, saturation and hue, in this order, each uniform around no change.

    Args:
        images: uint8 `b c h w`.
        random: `b 4`.
        strengths: of those four, by name: the largest distance of the factor (at least 0) from 1; for hue the
            largest shift. An operation of strength 0 is left out.
    """
    for name, u in zip(("brightness", "contrast", "saturation", "hue"), random.unbind(1), strict=True):
        strength = strengths[name]
        if strength and name == "hue":
            images = hue(images, strength * (2 * u - 1))
        elif strength:
            low = max(0.0, 1 - strength)
            operation = {"brightness": brightness, "contrast": contrast, "saturation": saturation}[name]
            images = operation(images, low + (1 + strength - low) * u)
    return images


ATTEMPTS = 10  # of random erasing at a box that fits, as in torchvision


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
    top, left = _among(random[:, 0], h) - size // 2, _among(random[:, 1], w) - size // 2
    side = torch.full_like(top, size)
    return erase(images, top, left, side, side)


# --- pairs of images


@functools.lru_cache(maxsize=8)
def _beta_quantiles(alpha: float, device: torch.device) -> Tensor:
    """The inverse distribution function of Beta(alpha, alpha) at 4097 even steps from 0 to 1."""
    quantiles = betaincinv(alpha, alpha, torch.linspace(0, 1, 4097, dtype=torch.float64, device="cpu").numpy())
    return torch.from_numpy(quantiles).float().to(device)


def beta(random: Tensor, alpha: float) -> Tensor:
    """Uniform numbers `b` to numbers of the distribution Beta(alpha, alpha), by its inverse distribution function.

    A sampler by rejection would need a number of draws that is not known; this needs one for each sample. The function
    is linear between its 4097 values, and has at most 1/4096 of probability out of place.
    """
    quantiles = _beta_quantiles(alpha, random.device)
    place = random * (len(quantiles) - 1)
    low = place.long()
    return torch.lerp(quantiles[low], quantiles[low + 1], place - low)


def cutmix_boxes(images: Tensor, random: Tensor, share: Tensor) -> Tensor:
    """CutMix's boxes (Yun et al. 2019, arXiv:1905.04899, equation 2): true inside, `b 1 h w`.

    Args:
        images: `b c h w`.
        random: `b 2`: the box's centre from above and from the left.
        share: of the image that is kept, λ, `b`; sides are sqrt(1 - λ) of the image's, and are cut off at its border.
    """
    h, w = images.shape[-2:]
    half = 0.5 * torch.sqrt(1 - share)
    half_height, half_width = (half * h).long(), (half * w).long()
    top, left = _among(random[:, 0], h) - half_height, _among(random[:, 1], w) - half_width
    return _boxes(images, top, left, 2 * half_height, 2 * half_width)


def mix(
    images: Tensor, labels: Tensor, random: Tensor, *, mixup: float, cutmix: float, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2017, arXiv:1710.09412) or CutMix (Yun et al. 2019, arXiv:1905.04899).

    Each image is mixed with the next one of the batch (the last with the first), and its label likewise: the share λ
    is the sample's own. In CutMix the label's share is the area that is left after the box is cut off at the border.

    Args:
        images: float `b c h w`.
        labels: int64 `b`.
        random: `b 4`: Mixup or CutMix, which the first sample's decides for the batch; λ; the box's centre.
        mixup, cutmix: α of λ ~ Beta(α, α); 0: not this one. One at least is positive.
        num_classes: k.

    Returns:
        Images `b c h w` and soft labels, float32 `b k`.
    """
    weight = share = None
    if mixup:
        share = beta(random[:, 1], mixup)
        weight = share[:, None, None, None]
    if cutmix:
        box = cutmix_boxes(images, random[:, 2:], beta(random[:, 1], cutmix))
        kept = 1 - box.float().mean((1, 2, 3))
        if share is None or weight is None:
            weight, share = (~box).float(), kept
        else:
            is_cutmix = random[0, 0] < 0.5
            weight, share = torch.where(is_cutmix, (~box).float(), weight), torch.where(is_cutmix, kept, share)
    assert weight is not None
    assert share is not None
    one_hot = (labels[:, None] == torch.arange(num_classes, device=labels.device)).float()
    share = share[:, None]
    return (
        weight * images + (1 - weight) * images.roll(-1, 0),
        share * one_hot + (1 - share) * one_hot.roll(-1, 0),
    )


# --- the section `data.augment` of a config

POLICIES = ("randaugment", "trivialaugment", "autoaugment")
_LIMITS = {
    "rotation": (180.0, " degrees"),
    "translate": (1.0, " of the side"),
    "scale": (0.9, ", the largest distance of the factor from 1"),
    "shear": (80.0, " degrees"),
    "brightness": (10.0, ", the largest distance of the factor from 1"),
    "contrast": (10.0, ", the largest distance of the factor from 1"),
    "saturation": (10.0, ", the largest distance of the factor from 1"),
    "hue": (0.5, " of the circle of colours"),
    "erasing": (1.0, ", a probability"),
    "mixup": (1000.0, ", the α of Beta(α, α)"),
    "cutmix": (1000.0, ", the α of Beta(α, α)"),
}


# Where each part's numbers lie among those of a sample, whatever other parts are in use: adding one leaves the others'
# choices as they were.
NUMBERS = {
    "crop": slice(0, 3),
    "mixing": slice(3, 7),
    "cutout": slice(7, 9),
    "affine": slice(9, 14),
    "colour": slice(14, 18),
    "policy": slice(18, 50),  # two for each of RandAugment's at most sixteen operations
    "erasing": slice(50, 73),
}


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training batch after cropping and mirroring; the defaults are nothing.

    Attributes:
        rotation, shear: largest angles in degrees.
        translate: largest translation as a share of the side.
        scale: largest distance of the factor from 1.
        brightness, contrast, saturation: largest distances of the factors from 1.
        hue: largest shift as a share of the circle.
        policy: one of `POLICIES`, or None.
        operations, magnitude: RandAugment's number of operations and their level of 31.
        erasing: probability of a box of zeros.
        cutout: side of a square of zeros in pixels.
        mixup, cutmix: α of the Beta distribution of the shares.
    """

    rotation: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    policy: str | None = None
    operations: int = 2
    magnitude: int = 9
    erasing: float = 0.0
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0

    @classmethod
    def of(cls, options: Mapping[str, Any], *, in_channels: int, image_size: int) -> "Augmentation":
        """From the section `data.augment` of a config.

        Raises:
            UserError: an unknown key or a value that cannot be; it says what can.
        """
        known = [field.name for field in fields(cls)]
        for key, value in options.items():
            if key not in known:
                raise UserError(f"data.augment has no key {key!r}{nearest(str(key), known)}")
            if key in _LIMITS:
                limit, unit = _LIMITS[key]
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                if not is_number or not 0 <= value <= limit:
                    raise UserError(f"data.augment.{key}={value} must be a number from 0 to {limit:g}{unit}")
        found = cls(**options)
        whole = (("operations", 1, 16), ("magnitude", 0, 30), ("cutout", 0, image_size))
        for key, low, high in whole:
            value = getattr(found, key)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                side = ", the side of the images" if key == "cutout" else ""
                raise UserError(f"data.augment.{key}={value} must be a whole number from {low} to {high}{side}")
        if found.policy is not None and found.policy not in POLICIES:
            raise UserError(
                f"there is no data.augment.policy={found.policy}{nearest(str(found.policy), list(POLICIES))}"
            )
        if found.policy == "autoaugment" and in_channels != 3:
            raise UserError(
                "data.augment.policy=autoaugment was found for the colours of CIFAR-10, and these images are grey: use "
                "data.augment.policy=trivialaugment"
            )
        return found

    @property
    def draws(self) -> int:
        """How many random numbers each sample needs, the three of cropping and mirroring among them."""
        used = {
            "crop": True, "mixing": self.mixes, "cutout": self.cutout, "affine": self.moves, "colour": self.recolours,
            "policy": self.policy, "erasing": self.erasing,
        }  # fmt: skip
        return max(NUMBERS[part].stop for part, in_use in used.items() if in_use)

    @property
    def moves(self) -> bool:
        return bool(self.rotation or self.translate or self.scale or self.shear)

    @property
    def recolours(self) -> bool:
        return bool(self.brightness or self.contrast or self.saturation or self.hue)

    @property
    def mixes(self) -> bool:
        return bool(self.mixup or self.cutmix)

    def change(self, images: Tensor, random: Tensor) -> Tensor:
        """Before normalisation: geometry, colour and policy.

        Args:
            images: uint8 `b c h w`.
            random: `b draws`.
        """
        if self.moves:
            images = random_affine(
                images, random[:, NUMBERS["affine"]],
                rotation=self.rotation, translate=self.translate, scale=self.scale, shear=self.shear,
            )  # fmt: skip
        if self.recolours:
            strengths = {
                "brightness": self.brightness, "contrast": self.contrast, "saturation": self.saturation, "hue": self.hue
            }  # fmt: skip
            images = colour_jitter(images, random[:, NUMBERS["colour"]], strengths)
        numbers = random[:, NUMBERS["policy"]]
        if self.policy == "randaugment":
            images = randaugment(images, numbers[:, : 2 * self.operations], magnitude=self.magnitude)
        elif self.policy == "trivialaugment":
            images = trivialaugment(images, numbers[:, :3])
        elif self.policy == "autoaugment":
            images = autoaugment(images, numbers[:, :5])
        return images

    def combine(self, images: Tensor, labels: Tensor, random: Tensor, *, num_classes: int) -> tuple[Tensor, Tensor]:
        """After normalisation, where 0 is the mean of the data: erasing, Cutout, then Mixup or CutMix.

        Args:
            images: float `b c h w`.
            labels: int64 `b`.
            random: `b draws`.
            num_classes: k.

        Returns:
            Images, and labels as they came, or soft ones `b k` where images are mixed.
        """
        if self.erasing:
            images = random_erasing(images, random[:, NUMBERS["erasing"]], probability=self.erasing)
        if self.cutout:
            images = cutout(images, random[:, NUMBERS["cutout"]], size=self.cutout)
        if self.mixes:
            numbers = random[:, NUMBERS["mixing"]]
            return mix(images, labels, numbers, mixup=self.mixup, cutmix=self.cutmix, num_classes=num_classes)
        return images, labels

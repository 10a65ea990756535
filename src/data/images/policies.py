"""One operation out of many for each image of a batch: AutoAugment, RandAugment, TrivialAugment.

Geometry is nearest, as in the papers' code. No step waits for the device.
"""

import functools
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from ...counter import among
from .colour import autocontrast, brightness, contrast, equalize, invert, posterize, saturation, sharpness, solarize
from .geometry import inverse_affine, warp

POLICIES = ("randaugment", "trivialaugment", "autoaugment")


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


def randaugment(images: Tensor, random: Tensor, *, magnitude: int) -> Tensor:
    """RandAugment (Cubuk et al. 2019, arXiv:1909.13719): operations of one level, one after another.

    Args:
        images: uint8 `b c h w`.
        random: `b 2n` for n operations: which one, and its sign.
        magnitude: the level, 0 to 30.
    """
    for choice, sign in random.unflatten(1, (-1, 2)).permute(1, 2, 0):
        kind = among(choice, Kind.Invert)  # all but Invert
        images = operate("randaugment", images, kind, torch.full_like(kind, magnitude), sign < 0.5)
    return images


def trivialaugment(images: Tensor, random: Tensor) -> Tensor:
    """TrivialAugment Wide (Müller and Hutter 2021, arXiv:2103.10158): one operation of a random level.

    Args:
        images: uint8 `b c h w`.
        random: `b 3`: which operation, its level, its sign.
    """
    kind, level = among(random[:, 0], Kind.Invert), among(random[:, 1], STRENGTHS["trivialaugment"].levels)
    return operate("trivialaugment", images, kind, level, random[:, 2] < 0.5)


def autoaugment(images: Tensor, random: Tensor) -> Tensor:
    """AutoAugment's policy for CIFAR-10 (Cubuk et al. 2018, arXiv:1805.09501): one of 25 pairs of operations.

    Args:
        images: uint8 `b c h w`.
        random: `b 5`: which pair, then for each of the two whether it is applied, and its sign.
    """
    kinds, probabilities, levels = _cifar_policy(images.device)
    pair = among(random[:, 0], len(CIFAR_POLICY))
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

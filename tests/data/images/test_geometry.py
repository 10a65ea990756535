"""Images are turned, moved, scaled and sheared as torchvision does it, and within their limits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from helpers.images import B, numbers, pictures
from torch import Tensor
from torchvision.transforms import v2

from torchatlas.counter import uniform
from torchatlas.data.images import geometry


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("channels", [1, 3])
def test_geometry_equals_torchvision(channels: int, mode: Any) -> None:
    images, zero = pictures(channels), torch.zeros(B, dtype=torch.float64)
    angle, scale = numbers(-180, 179), numbers(0.6, 1.7)
    shear = numbers(-40, 40), numbers(-30, 30)
    translate = numbers(-5, 5).round(), numbers(-4, 4).round()
    interpolation = v2.InterpolationMode(mode)

    def share_of_others(got: Tensor, reference: Callable[..., Tensor], *parameters: Any) -> float:
        expected = torch.stack([reference(*one) for one in zip(images, *parameters, strict=True)])
        return float(((got.int() - expected.int()).abs() > (mode == "bilinear")).float().mean())

    # A source that lies half-way between two pixels, to the last bit of the arithmetic, may be either.
    matrices = geometry.inverse_affine(-angle, (zero, zero), zero + 1, (zero, zero))
    rotate = lambda image, a: TF.rotate(image, a, interpolation)  # noqa: E731
    assert share_of_others(geometry.warp(images, matrices, mode), rotate, angle.tolist()) < 1e-3

    matrices = geometry.inverse_affine(angle, translate, scale, shear)
    affine = lambda image, a, t, s, k: TF.affine(image, a, list(t), s, list(k), interpolation)  # noqa: E731
    parameters = (angle, torch.stack(translate, 1), scale, torch.stack(shear, 1))
    lists = [p.tolist() for p in parameters]
    assert share_of_others(geometry.warp(images, matrices, mode), affine, *lists) < 1e-3

    matrices = geometry.inverse_affine(zero, translate, zero + 1, (zero, zero))
    lists[0], lists[2], lists[3] = [0.0] * B, [1.0] * B, [[0.0, 0.0]] * B
    assert share_of_others(geometry.warp(images, matrices, mode), affine, *lists) == 0


def test_affine_with_a_centre_equals_torchvision() -> None:
    images, zero = pictures(), torch.zeros(B, dtype=torch.float64)
    shear = numbers(-40, 40)
    matrices = geometry.inverse_affine(zero, (zero, zero), zero + 1, (shear, zero), (-6.0, -7.0))
    expected = [
        TF.affine(image, 0.0, [0, 0], 1.0, [s, 0.0], center=[0, 0])
        for image, s in zip(images, shear.tolist(), strict=True)
    ]
    assert (geometry.warp(images, matrices) != torch.stack(expected)).float().mean() < 1e-3


def test_affine_is_within_its_limits_and_uses_them() -> None:
    """A bright pixel far from the centre: its turn and distance tell the parameters."""
    images = torch.zeros(2000, 1, 65, 65, dtype=torch.uint8)
    images[:, :, 31:34, 51:54] = 255  # 20 to the right of the centre
    none = {"rotation": 0.0, "translate": 0.0, "scale": 0.0, "shear": 0.0}
    random = uniform(0, 0, torch.arange(2000), 5)

    def place(**options: float) -> Tensor:
        moved = geometry.random_affine(images, random, **{**none, **options})[:, 0].float()
        grid = torch.arange(65.0) - 32
        total = moved.sum((1, 2))
        return torch.stack([(moved.sum(1) * grid).sum(1), (moved.sum(2) * grid).sum(1)], 1) / total[:, None]

    torch.testing.assert_close(place(), torch.tensor([[20.0, 0.0]]).expand(2000, 2))
    angle = torch.rad2deg(torch.atan2(*place(rotation=30.0).flip(1).T))
    assert abs(float(angle.min()) + 30) < 1
    assert abs(float(angle.max()) - 30) < 1
    shift = place(translate=0.1) - torch.tensor([20.0, 0.0])
    assert shift.abs().max() == pytest.approx(6, abs=1e-3)  # 6.5 pixels, which round to even
    torch.testing.assert_close(shift, shift.round(), atol=1e-3, rtol=0)
    distance = place(scale=0.2)[:, 0] / 20
    assert (round(float(distance.min()), 1), round(float(distance.max()), 1)) == (0.8, 1.2)
    assert distance.mean() == pytest.approx(1, abs=0.01)

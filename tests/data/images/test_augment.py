"""Augmentation: each sample as torchvision has it; parameters as likely as was said."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import torchvision.transforms.v2.functional as TF
from torch import Tensor
from torchvision.transforms import v2

from torchatlas.counter import uniform
from torchatlas.data.images import augment
from torchatlas.data.images.augment import STRENGTHS, Kind

B = 48


def pictures(channels: int = 3, height: int = 14, width: int = 12, batch: int = B) -> Tensor:
    """Noise, smooth slopes, few levels, one level: what histograms and stretching can meet."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (batch, channels, height, width), dtype=torch.uint8, generator=generator)
    slope = torch.linspace(0, 200, height * width).view(height, width)
    images[1::6] = (slope + torch.arange(0, 55, 55 / channels)[:channels, None, None]).to(torch.uint8)
    images[2::6] = images[2::6] // 64 * 60 + 20
    images[3] = 77
    images[4::6] = images[4::6, :1]
    images[9] = 255
    return images


def worst(got: Tensor, images: Tensor, operation: Callable[..., Tensor], *parameters: list[Any]) -> int:
    """The largest distance in levels from the operation on each image alone."""
    assert got.dtype == torch.uint8
    expected = torch.stack([operation(*one) for one in zip(images, *parameters, strict=True)])
    return int((got.int() - expected.int()).abs().max())


def numbers(low: float, high: float) -> Tensor:
    """Parameters in float64, as torchvision computes with them, the ends and the middle among them."""
    x = low + (high - low) * torch.rand(B, dtype=torch.float64)
    x[:3] = torch.tensor([low, high, (low + high) / 2])
    return x


# --- operations


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("operation", "reference", "low", "high", "levels"),
    [
        (augment.brightness, TF.adjust_brightness, 0.0, 2.0, 0),
        (augment.contrast, TF.adjust_contrast, 0.0, 2.0, 1),
        (augment.saturation, TF.adjust_saturation, 0.0, 2.0, 1),
        (augment.sharpness, TF.adjust_sharpness, 0.0, 2.0, 1),
        (augment.hue, TF.adjust_hue, -0.5, 0.5, 1),
        (augment.solarize, TF.solarize, 0.0, 255.0, 0),
    ],
)
def test_colour_equals_torchvision(
    operation: Any, reference: Any, low: float, high: float, levels: int, channels: int
) -> None:
    images, x = pictures(channels), numbers(low, high)
    got = operation(images, x)
    assert worst(got, images, reference, x.tolist()) <= levels
    rounded = operation(images, x.float())
    assert int((rounded.int() - got.int()).abs().max()) <= 1
    assert not torch.equal(got, images) or (channels == 1 and operation in (augment.hue, augment.saturation))


@pytest.mark.parametrize("channels", [1, 3])
def test_whole_numbers_equal_torchvision(channels: int) -> None:
    images = pictures(channels)
    bits = torch.arange(B) % 9
    assert worst(augment.posterize(images, bits), images, TF.posterize, bits.tolist()) == 0
    assert worst(augment.autocontrast(images), images, TF.autocontrast) == 0
    assert worst(augment.equalize(images), images, TF.equalize) == 0
    assert worst(augment.invert(images), images, TF.invert) == 0
    large = pictures(channels, 40, 50, 12)
    assert worst(augment.equalize(large), large, TF.equalize) == 0
    assert not torch.equal(augment.equalize(large), large)
    thin = pictures(channels, 2, 9)
    assert worst(augment.sharpness(thin, torch.zeros(B)), thin, TF.adjust_sharpness, [0.0] * B) == 0


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
    matrices = augment.inverse_affine(-angle, (zero, zero), zero + 1, (zero, zero))
    rotate = lambda image, a: TF.rotate(image, a, interpolation)  # noqa: E731
    assert share_of_others(augment.warp(images, matrices, mode), rotate, angle.tolist()) < 1e-3

    matrices = augment.inverse_affine(angle, translate, scale, shear)
    affine = lambda image, a, t, s, k: TF.affine(image, a, list(t), s, list(k), interpolation)  # noqa: E731
    parameters = (angle, torch.stack(translate, 1), scale, torch.stack(shear, 1))
    lists = [p.tolist() for p in parameters]
    assert share_of_others(augment.warp(images, matrices, mode), affine, *lists) < 1e-3

    matrices = augment.inverse_affine(zero, translate, zero + 1, (zero, zero))
    lists[0], lists[2], lists[3] = [0.0] * B, [1.0] * B, [[0.0, 0.0]] * B
    assert share_of_others(augment.warp(images, matrices, mode), affine, *lists) == 0


def test_affine_with_a_centre_equals_torchvision() -> None:
    images, zero = pictures(), torch.zeros(B, dtype=torch.float64)
    shear = numbers(-40, 40)
    matrices = augment.inverse_affine(zero, (zero, zero), zero + 1, (shear, zero), (-6.0, -7.0))
    expected = [
        TF.affine(image, 0.0, [0, 0], 1.0, [s, 0.0], center=[0, 0])
        for image, s in zip(images, shear.tolist(), strict=True)
    ]
    assert (augment.warp(images, matrices) != torch.stack(expected)).float().mean() < 1e-3


def test_erase_equals_torchvision() -> None:
    images = pictures()
    boxes = [torch.randint(0, n, (B,)) for n in (14, 12, 9, 9)]
    zero = torch.zeros(1, 1, 1, dtype=torch.uint8)
    erase = lambda image, *box: TF.erase(image, *box, zero)  # noqa: E731
    assert worst(augment.erase(images, *boxes), images, erase, *(b.tolist() for b in boxes)) == 0


# --- policies


class Draws:
    """Gives torchvision the numbers that a sample of ours has, where it would draw its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.whole: Iterator[float] = iter(())
        self.real: Iterator[float] = iter(())
        monkeypatch.setattr(torch, "randint", lambda high, size: torch.tensor(int(next(self.whole) * high)))
        monkeypatch.setattr(torch, "rand", lambda size: torch.tensor(next(self.real)))


def is_signed(transform: Any, kind: int) -> bool:
    return bool(transform._AUGMENTATION_SPACE[Kind(kind).name][1])


@pytest.mark.parametrize("everywhere", [False, True], ids=["chosen", "everywhere"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("policy", augment.POLICIES)
def test_policies_equal_torchvision(
    policy: str, channels: int, everywhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transforms of torchvision, given our numbers for their choices; as on a CPU and as on other devices."""
    monkeypatch.setattr(augment, "_everywhere", lambda device: everywhere)
    images = pictures(channels, 28, 32, 240)
    random = torch.rand(240, {"randaugment": 6, "trivialaugment": 3, "autoaugment": 5}[policy])
    if policy == "randaugment":
        got, transform = augment.randaugment(images, random, magnitude=13), v2.RandAugment(3, 13)
    elif policy == "trivialaugment":
        got, transform = augment.trivialaugment(images, random), v2.TrivialAugmentWide()
    else:
        got, transform = augment.autoaugment(images, random), v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)

    draws, expected, order = Draws(monkeypatch), [], list(transform._AUGMENTATION_SPACE)
    for image, r in zip(images, random.tolist(), strict=True):
        if policy == "autoaugment":  # torchvision draws a sign only where the operation is applied and has one
            pair = transform._policies[int(r[0] * 25)]
            real = []
            for (name, probability, _), chance, sign in zip(pair, r[1::2], r[2::2], strict=True):
                signed = chance <= probability and is_signed(transform, Kind[name])
                real += [chance, sign] if signed else [chance]
            draws.whole, draws.real = iter(r[:1]), iter(real)
        elif policy == "trivialaugment":
            draws.whole = iter(
                r[:2] if order[int(r[0] * 14)] not in ("Identity", "AutoContrast", "Equalize") else r[:1]
            )
            draws.real = iter(r[2:])
        else:
            signs = [s for c, s in zip(r[::2], r[1::2], strict=True) if is_signed(transform, int(c * 14))]
            draws.whole, draws.real = iter(r[::2]), iter(signs)
        expected.append(transform(image))
    difference = (got.int() - torch.stack(expected).int()).abs()
    wrong = (difference > 1).flatten(1).float().mean(1)
    assert float(wrong.mean()) < 1e-3, [int(i) for i in wrong.nonzero()]
    assert (got != images).flatten(1).any(1).float().mean() > 0.5


def test_names_are_in_torchvisions_order() -> None:
    """The first fourteen, so that one number chooses the same operation."""
    assert list(v2.RandAugment._AUGMENTATION_SPACE) == [kind.name for kind in Kind][:14]
    assert list(v2.TrivialAugmentWide._AUGMENTATION_SPACE) == [kind.name for kind in Kind][:14]
    assert set(v2.AutoAugment._AUGMENTATION_SPACE) == {kind.name for kind in Kind} - {"Identity"}


@pytest.mark.parametrize("policy", augment.POLICIES)
def test_choices_are_even(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each operation, level and sign as often as another: chi-square within five standard deviations."""
    seen = []
    monkeypatch.setattr(augment, "operate", lambda policy, images, *choice: seen.append(choice) or images)
    images, random = torch.zeros(1, dtype=torch.uint8).expand(60_000, 1, 1, 1), uniform(0, 0, torch.arange(60_000), 5)
    if policy == "randaugment":
        augment.randaugment(images, random[:, :4], magnitude=30)
    elif policy == "trivialaugment":
        augment.trivialaugment(images, random[:, :3])
    else:
        augment.autoaugment(images, random)
    kind, level, minus = (torch.stack(part).flatten() for part in zip(*seen, strict=True))

    def even(values: Tensor, number: int) -> bool:
        counts = torch.bincount(values.long(), minlength=number).double()
        chi = float(((counts - counts.mean()) ** 2 / counts.mean()).sum())
        return len(counts) == number and abs(chi - (number - 1)) < 5 * math.sqrt(2 * (number - 1))

    assert even(minus, 2)
    if policy == "autoaugment":
        share = dict.fromkeys(Kind, 0.0)
        for pair in augment.CIFAR_POLICY:
            for name, probability, _ in pair:
                share[Kind[name]] += probability / 50
        share[Kind.Identity] = 1 - sum(share.values())
        found = torch.bincount(kind, minlength=len(Kind)) / len(kind)
        torch.testing.assert_close(
            found.double(), torch.tensor(list(share.values()), dtype=torch.float64), atol=6e-3, rtol=0
        )
    else:
        assert even(kind, 14)
    if policy == "trivialaugment":
        assert even(level, STRENGTHS[policy].levels)
    if policy == "randaugment":
        assert set(level.tolist()) == {30}


# --- random parameters


def test_affine_is_within_its_limits_and_uses_them() -> None:
    """A bright pixel far from the centre: its turn and distance tell the parameters."""
    images = torch.zeros(2000, 1, 65, 65, dtype=torch.uint8)
    images[:, :, 31:34, 51:54] = 255  # 20 to the right of the centre
    none = {"rotation": 0.0, "translate": 0.0, "scale": 0.0, "shear": 0.0}
    random = uniform(0, 0, torch.arange(2000), 5)

    def place(**options: float) -> Tensor:
        moved = augment.random_affine(images, random, **{**none, **options})[:, 0].float()
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


def test_colour_jitter_equals_its_operations_in_order() -> None:
    images, random = pictures(), torch.rand(B, 4)
    strengths = {"brightness": 0.4, "contrast": 0.3, "saturation": 1.5, "hue": 0.2}
    got = augment.colour_jitter(images, random, strengths)
    expected = augment.brightness(images, 0.6 + 0.8 * random[:, 0])
    expected = augment.contrast(expected, 0.7 + 0.6 * random[:, 1])
    expected = augment.saturation(expected, 2.5 * random[:, 2])
    expected = augment.hue(expected, 0.4 * random[:, 3] - 0.2)
    assert (got.int() - expected.int()).abs().max() <= 1
    assert torch.equal(augment.colour_jitter(images, random, dict.fromkeys(strengths, 0.0)), images)


def test_random_erasing_has_torchvisions_sizes() -> None:
    n = 4000
    random = uniform(0, 0, torch.arange(n), 23)
    erased = augment.random_erasing(torch.ones(n, 1, 32, 32), random, probability=0.4)[:, 0] == 0
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
        erased = augment.cutout(torch.ones(n, 2, 10, 10), random, size=size) == 0
        assert torch.equal(erased[:, 0], erased[:, 1])
        top, left = (random * 10).long().unbind(1)
        for i in range(50):
            expected = torch.zeros(30, 30, dtype=torch.bool)
            y, x = 10 + int(top[i]) - size // 2, 10 + int(left[i]) - size // 2
            expected[y : y + size, x : x + size] = True
            assert torch.equal(erased[i, 0], expected[10:20, 10:20])
    assert len(set((10 * top + left).tolist())) == 100


@pytest.mark.parametrize("alpha", [0.2, 0.4, 1.0, 3.0])
def test_beta_is_scipys(alpha: float) -> None:
    """No probability is further out of place than one step of the table; the distribution is symmetric."""
    random = torch.linspace(0, 0.5, 5001)
    share = augment.beta(random, alpha)
    assert (share.diff() >= 0).all()
    np.testing.assert_allclose(scipy.stats.beta.cdf(share.double(), alpha, alpha), random, atol=1 / 4096)
    torch.testing.assert_close(augment.beta(1 - random[1:], alpha), 1 - share[1:], atol=1e-5, rtol=0)
    assert 0 <= float(augment.beta(torch.tensor([1 - 2**-24]), alpha)) <= 1


# --- pairs


def test_mixup_equals_torchvision() -> None:
    """Which pairs each image with the one before: with ours in a batch that is turned around."""
    images, labels = torch.randn(8, 3, 6, 6), torch.randint(5, (8,))
    random = torch.rand(1, 4).expand(8, 4)
    mixed, soft = augment.mix(images, labels, random, mixup=0.4, cutmix=0.0, num_classes=5)
    transform = v2.MixUp(alpha=0.4, num_classes=5)
    transform.make_params = lambda flat: {"lam": float(augment.beta(random[:1, 1], 0.4))}  # type: ignore[method-assign]
    expected, expected_soft = transform(images.flip(0), labels.flip(0))
    torch.testing.assert_close(mixed, expected.flip(0))
    torch.testing.assert_close(soft, expected_soft.flip(0))


def test_cutmix_equals_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = torch.randn(64, 3, 9, 12), torch.randint(5, (64,))
    random = torch.rand(64, 4)
    mixed, soft = augment.mix(images, labels, random, mixup=0.0, cutmix=0.7, num_classes=5)
    transform = v2.CutMix(alpha=1.0, num_classes=5)
    clipped = 0
    for i, (_, u, y, x) in enumerate(random.tolist()):
        transform._dist.sample = lambda size, u=u: augment.beta(torch.tensor([u]), 0.7)  # type: ignore[method-assign]
        places = iter([x, y])  # torchvision draws x first
        monkeypatch.setattr(
            torch, "randint", lambda high, size, places=places: torch.tensor([int(next(places) * high)])
        )
        pair = [(i + 1) % 64, i]
        expected, expected_soft = transform(images[pair], labels[pair])
        assert torch.equal(mixed[i], expected[1])
        torch.testing.assert_close(soft[i], expected_soft[1])
        kept = float((mixed[i, 0] == images[i, 0]).float().mean())
        if labels[i] != labels[(i + 1) % 64]:
            assert float(soft[i, labels[i]]) == pytest.approx(kept, abs=1e-6)  # the share of pixels that are its own
        clipped += kept > float(augment.beta(torch.tensor([u]), 0.7)) + 0.1
    assert clipped > 5  # boxes over the border were among them


def test_mixup_or_cutmix_for_a_whole_batch() -> None:
    images, labels, random = torch.randn(16, 1, 8, 8), torch.randint(5, (16,)), torch.rand(16, 4)
    for first, alphas in ((0.2, {"mixup": 0.0, "cutmix": 1.0}), (0.8, {"mixup": 1.0, "cutmix": 0.0})):
        random[0, 0] = first
        both = augment.mix(images, labels, random, mixup=1.0, cutmix=1.0, num_classes=5)
        one = augment.mix(images, labels, random, **alphas, num_classes=5)
        assert torch.equal(both[0], one[0])
        assert torch.equal(both[1], one[1])
        assert both[1].shape == (16, 5)
        torch.testing.assert_close(both[1].sum(1), torch.ones(16))

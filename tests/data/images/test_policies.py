"""Policies: each sample as torchvision has it; choices as likely as was said."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers.images import pictures
from torch import Tensor
from torchvision.transforms import v2

from torchatlas.counter import uniform
from torchatlas.data.images import policies
from torchatlas.data.images.policies import STRENGTHS, Kind


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
@pytest.mark.parametrize("policy", policies.POLICIES)
def test_policies_equal_torchvision(
    policy: str, channels: int, everywhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transforms of torchvision, given our numbers for their choices; as on a CPU and as on other devices."""
    monkeypatch.setattr(policies, "_everywhere", lambda device: everywhere)
    images = pictures(channels, 28, 32, 240)
    random = torch.rand(240, {"randaugment": 6, "trivialaugment": 3, "autoaugment": 5}[policy])
    if policy == "randaugment":
        got, transform = policies.randaugment(images, random, magnitude=13), v2.RandAugment(3, 13)
    elif policy == "trivialaugment":
        got, transform = policies.trivialaugment(images, random), v2.TrivialAugmentWide()
    else:
        got, transform = policies.autoaugment(images, random), v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)

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


@pytest.mark.parametrize("policy", policies.POLICIES)
def test_choices_are_even(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each operation, level and sign as often as another: chi-square within five standard deviations."""
    seen = []
    monkeypatch.setattr(policies, "operate", lambda policy, images, *choice: seen.append(choice) or images)
    images, random = torch.zeros(1, dtype=torch.uint8).expand(60_000, 1, 1, 1), uniform(0, 0, torch.arange(60_000), 5)
    if policy == "randaugment":
        policies.randaugment(images, random[:, :4], magnitude=30)
    elif policy == "trivialaugment":
        policies.trivialaugment(images, random[:, :3])
    else:
        policies.autoaugment(images, random)
    kind, level, minus = (torch.stack(part).flatten() for part in zip(*seen, strict=True))

    def even(values: Tensor, number: int) -> bool:
        counts = torch.bincount(values.long(), minlength=number).double()
        chi = float(((counts - counts.mean()) ** 2 / counts.mean()).sum())
        return len(counts) == number and abs(chi - (number - 1)) < 5 * math.sqrt(2 * (number - 1))

    assert even(minus, 2)
    if policy == "autoaugment":
        share = dict.fromkeys(Kind, 0.0)
        for pair in policies.CIFAR_POLICY:
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

"""Pairs of images are mixed as torchvision mixes them."""

import numpy as np
import pytest
import scipy.stats
import torch
from torchvision.transforms import v2

from torchatlas.data.images import mixing


@pytest.mark.parametrize("alpha", [0.2, 0.4, 1.0, 3.0])
def test_beta_is_scipys(alpha: float) -> None:
    """No probability is further out of place than one step of the table; the distribution is symmetric."""
    random = torch.linspace(0, 0.5, 5001)
    share = mixing.beta(random, alpha)
    assert (share.diff() >= 0).all()
    np.testing.assert_allclose(scipy.stats.beta.cdf(share.double(), alpha, alpha), random, atol=1 / 4096)
    torch.testing.assert_close(mixing.beta(1 - random[1:], alpha), 1 - share[1:], atol=1e-5, rtol=0)
    assert 0 <= float(mixing.beta(torch.tensor([1 - 2**-24]), alpha)) <= 1


def test_mixup_equals_torchvision() -> None:
    """Which pairs each image with the one before: with ours in a batch that is turned around."""
    images, labels = torch.randn(8, 3, 6, 6), torch.randint(5, (8,))
    random = torch.rand(1, 4).expand(8, 4)
    mixed, soft = mixing.mix(images, labels, random, mixup=0.4, cutmix=0.0, num_classes=5)
    transform = v2.MixUp(alpha=0.4, num_classes=5)
    transform.make_params = lambda flat: {"lam": float(mixing.beta(random[:1, 1], 0.4))}  # type: ignore[method-assign]
    expected, expected_soft = transform(images.flip(0), labels.flip(0))
    torch.testing.assert_close(mixed, expected.flip(0))
    torch.testing.assert_close(soft, expected_soft.flip(0))


def test_cutmix_equals_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = torch.randn(64, 3, 9, 12), torch.randint(5, (64,))
    random = torch.rand(64, 4)
    mixed, soft = mixing.mix(images, labels, random, mixup=0.0, cutmix=0.7, num_classes=5)
    transform = v2.CutMix(alpha=1.0, num_classes=5)
    clipped = 0
    for i, (_, u, y, x) in enumerate(random.tolist()):
        transform._dist.sample = lambda size, u=u: mixing.beta(torch.tensor([u]), 0.7)  # type: ignore[method-assign]
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
        clipped += kept > float(mixing.beta(torch.tensor([u]), 0.7)) + 0.1
    assert clipped > 5  # boxes over the border were among them


def test_mixup_or_cutmix_for_a_whole_batch() -> None:
    images, labels, random = torch.randn(16, 1, 8, 8), torch.randint(5, (16,)), torch.rand(16, 4)
    for first, alphas in ((0.2, {"mixup": 0.0, "cutmix": 1.0}), (0.8, {"mixup": 1.0, "cutmix": 0.0})):
        random[0, 0] = first
        both = mixing.mix(images, labels, random, mixup=1.0, cutmix=1.0, num_classes=5)
        one = mixing.mix(images, labels, random, **alphas, num_classes=5)
        assert torch.equal(both[0], one[0])
        assert torch.equal(both[1], one[1])
        assert both[1].shape == (16, 5)
        torch.testing.assert_close(both[1].sum(1), torch.ones(16))

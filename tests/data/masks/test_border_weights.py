"""Weights of borders are the paper's."""

import numpy as np
import pytest
import torch
from helpers.masks import shapes
from scipy import ndimage

from torchatlas.data.masks.border_weights import balancing_weights, border_term, border_weights


def test_border_weights_are_equation_2() -> None:
    mask = shapes().read_splits()["train"][1][0].numpy()
    mask = np.where(mask == 255, 0, mask)
    cells = []
    for value in (1, 2):
        labels, number = ndimage.label(mask == value)
        cells += [np.argwhere(labels == k) for k in range(1, number + 1)]
    assert len(cells) > 3
    expected = np.zeros(mask.shape)
    for y, x in np.argwhere(mask == 0):
        d1, d2 = sorted(np.sqrt(((cell - (y, x)) ** 2).sum(1)).min() for cell in cells)[:2]
        expected[y, x] = 10 * np.exp(-((d1 + d2) ** 2) / (2 * 1.5**2))
    got = border_term(mask, (1, 2), w0=10.0, sigma=1.5)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert got.max() > 1
    weights = border_weights(mask, (0.5, 2.0, 3.0), (1, 2), w0=10.0, sigma=1.5)
    np.testing.assert_allclose(weights - got, np.array([0.5, 2.0, 3.0])[mask], atol=1e-6)
    assert not border_term(mask * 0, (1, 2), w0=10.0, sigma=1.5).any()  # without objects there are no borders
    assert not border_term((mask == 5).astype(np.uint8), (1,), w0=10.0, sigma=1.5).any()


def test_border_weights_are_in_training_alone_and_balanced_over_the_split() -> None:
    data = shapes(border_weights=True, border_w0=0.0)
    _, weights, mask = data.transform(data.splits["train"][0, torch.arange(8)])
    known = mask < 255
    assert float(weights[known].mean()) == pytest.approx(1)
    for k in range(3):
        assert float(weights[mask == k].sum() / weights[known].sum()) == pytest.approx(1 / 3)
    assert len(data.transform(data.splits["val"][-1, torch.arange(2)])) == 2
    assert balancing_weights([30, 0, 10]) == [40 / 60, 2.0, 2.0]  # of a rare class that is in none of the masks counted

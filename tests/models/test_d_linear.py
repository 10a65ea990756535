"""DLinear and NLinear are the paper's equations."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchatlas.models.d_linear import DLinear, trend
from torchatlas.models.n_linear import NLinear


def test_trend_is_the_mean_over_a_window_with_repeated_ends() -> None:
    x = torch.randn(2, 3, 40)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (12, 12)), mode="edge")
    expected = np.stack([padded[..., i : i + 25].mean(-1) for i in range(40)], -1)
    np.testing.assert_allclose(trend(x, 25).numpy(), expected, atol=1e-6)


def test_d_linear_equals_its_equation() -> None:
    network = DLinear(in_channels=3, out_channels=3, lookback=10, horizon=4, kernel_size=3, individual=True)
    x = torch.randn(5, 10, 3)
    y = network(x)
    t = trend(x.transpose(1, 2), 3)
    for k in range(3):
        remainder = (x[:, :, k] - t[:, k]) @ network.remainder.weight[k].T + network.remainder.bias[k]
        expected = remainder + t[:, k] @ network.trend.weight[k].T + network.trend.bias[k]
        torch.testing.assert_close(y[:, :, k], expected)
    with pytest.raises(ValueError, match="odd"):
        DLinear(kernel_size=4)


def test_n_linear_moves_with_its_input() -> None:
    """A constant added to a channel is added to its forecast; zero weights repeat the last value."""
    network, x = NLinear(), torch.randn(4, 16, 3)
    shift = torch.tensor([3.0, -2.0, 5.0])
    torch.testing.assert_close(network(x + shift), network(x) + shift[:2])
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    torch.testing.assert_close(network(x), x[:, -1:, :2].expand(-1, 4, -1))


@pytest.mark.parametrize("network_class", [DLinear, NLinear])
@pytest.mark.parametrize("individual", [False, True])
def test_channels_are_independent_and_covariates_are_ignored(network_class: Any, individual: bool) -> None:
    network, x = network_class(individual=individual), torch.randn(4, 16, 3)
    other = x.clone()
    other[..., 1:] += torch.randn(4, 16, 2)
    y, changed = network(x), network(other)
    assert torch.equal(y[..., 0], changed[..., 0])
    assert not torch.equal(y[..., 1], changed[..., 1])
    other = x.clone()
    other[..., 2] = 7.0
    assert torch.equal(y, network(other))
    swapped = network(x[..., [1, 0, 2]])[..., [1, 0]]
    assert torch.equal(y, swapped) is not individual
    with pytest.raises(ValueError, match="its own past"):
        network_class(in_channels=1, out_channels=2)


@pytest.mark.parametrize("network_class", [DLinear, NLinear])
def test_quantiles_are_a_last_axis(network_class: Any) -> None:
    network = network_class(quantiles=[0.1, 0.5, 0.9])
    assert network(torch.randn(5, 16, 3)).shape == (5, 4, 2, 3)

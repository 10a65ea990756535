"""LeNet-5: the paper's parameters by layer, and its sizes."""

import pytest
import torch
from torch import nn

from torchatlas.models.lenet5 import ScaledTanh
from torchatlas.zoo import create_model


def test_lenet5_layers_and_activation() -> None:
    """LeCun et al. 1998: 156 parameters in C1, 48,120 in C5, 10,164 in F6; f(1) = 1."""
    network = create_model("lenet5")
    counts = [sum(p.numel() for p in m.parameters()) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert counts == [156, 2416, 48120, 10164, 850]
    torch.testing.assert_close(ScaledTanh()(torch.tensor([1.0, -1.0])), torch.tensor([1.0, -1.0]), rtol=1e-4, atol=0)


def test_lenet5_names_the_sizes_that_it_takes() -> None:
    with pytest.raises(ValueError, match="32x32"):
        create_model("lenet5", image_size=8)
    for size in (28, 32):
        network = create_model("lenet5", image_size=size)
        assert network(*network.example_input(2)).shape == (2, 10)
        assert network.features(*network.example_input(1)).shape == (1, 120, 1, 1)

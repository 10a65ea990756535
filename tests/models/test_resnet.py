"""ResNet: its stem, stochastic depth, dilated groups."""

import math
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from torchatlas.models.resnet import ResNet, StochasticDepth
from torchatlas.zoo import create_model


def test_resnet_chooses_its_stem_from_the_image_size() -> None:
    for size, small in ((32, True), (63, True), (64, False), (224, False)):
        with torch.device("meta"):
            network = create_model("resnet18", image_size=size)
            features = network.maxpool(network.conv1(*network.example_input(1)))
        assert network.small_stem is small
        assert features.shape[-1] == (size if small else math.ceil(size / 4))
        assert ("small stem" in network.extra_repr()) is small


def test_stochastic_depth() -> None:
    """Whole residuals are left out, as often as was said; the mean stays, and evaluation is untouched."""
    drop, residual = StochasticDepth(0.3).train(), torch.ones(20_000, 2, 1, 1)
    dropped = drop(residual)[:, :, 0, 0]
    assert set(dropped.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.7))}
    assert torch.equal(dropped[:, 0], dropped[:, 1])
    assert abs(float((dropped[:, 0] == 0).float().mean()) - 0.3) < 0.015
    assert torch.equal(drop.eval()(residual), residual)
    network = create_model("resnet18", num_classes=10, image_size=32, width=4, stochastic_depth=0.5)
    rates = [m.rate for m in network.modules() if isinstance(m, StochasticDepth)]
    assert rates == [0.5 * i / 8 for i in range(1, 9)]  # eq. 4, linear in depth
    with pytest.raises(ValueError, match="stochastic depth"):
        StochasticDepth(1.0)


# --- FCN on ResNet


@pytest.mark.parametrize("dilated", [1, 2, 3])
def test_dilated_groups_are_torchvisions(dilated: int) -> None:
    with torch.device("meta"):
        ours = ResNet(block="bottleneck", depths=(3, 4, 6, 3), width=64, dilated=dilated, image_size=224)
        theirs = torchvision.models.resnet50(replace_stride_with_dilation=[i >= 3 - dilated for i in range(3)])

    def geometry(network: nn.Module) -> dict[str, Any]:
        found = {}
        for name, m in network.named_modules():
            if isinstance(m, nn.Conv2d):
                found[name] = (m.stride, m.padding, m.dilation, m.groups)
        return found

    assert geometry(ours) == geometry(theirs)

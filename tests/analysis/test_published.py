"""Multiply-accumulates against published ones: a list of torchvision's, counted elsewhere, and figures of papers."""

from functools import cache
from typing import Any

import pytest
import torch
import torchvision

from torchatlas.analysis.flops import count_flops
from torchatlas.analysis.layers import layer_table
from torchatlas.zoo import create_model, list_models

BILLION = 1e9
PAPERS = {  # by network: size in pixels, billions, and how far off a figure may be that is rounded so
    # He et al. 2015, arXiv:1512.03385, table 1 (torchvision's three deepest have the stride in the 3x3, as NVIDIA's
    # ResNet v1.5, which costs a twentieth more), and VGG's in section 3.3
    "resnet18": (224, 1.8, 0.02), "resnet34": (224, 3.6, 0.02), "resnet50": (224, 3.8, 0.08),
    "resnet101": (224, 7.6, 0.04), "vgg19": (224, 19.6, 0.005),
    # Tan and Le 2019, arXiv:1905.11946, table 2, which rounds to two figures
    "efficientnet_b0": (224, 0.39, 0.02), "efficientnet_b1": (240, 0.70, 0.03), "efficientnet_b2": (260, 1.0, 0.15),
    "efficientnet_b3": (300, 1.8, 0.03), "efficientnet_b4": (380, 4.2, 0.05),
    # Sandler et al. 2018, arXiv:1801.04381, table 4
    "mobilenet_v2": (224, 0.300, 0.01),
    # Szegedy et al. 2015, arXiv:1409.4842, section 5: "1.5 billion multiply-adds at inference"
    "googlenet": (224, 1.5, 0.01),
    # Xie et al. 2017, arXiv:1611.05431, table 1
    "resnext50_32x4d": (224, 4.2, 0.02),
    # Touvron et al. 2021 with DeiT's networks, arXiv:2103.17239, table 1 (DeiT-Ti is not there, ViT-B is DeiT-B)
    "deit_small": (224, 4.6, 0.01), "deit_base": (224, 17.5, 0.01), "vit_b_16": (224, 17.5, 0.01),
    # Li et al. 2017, arXiv:1608.08710, table 1
    "resnet56": (32, 0.125, 0.02), "resnet110": (32, 0.253, 0.02),
}  # fmt: skip


DEEP = "vit_h_14 vit_l_16 densenet161 densenet169 densenet201 efficientnet_b5 efficientnet_b6 efficientnet_b7 resnet152"


def weights_of(name: str) -> list[Any]:
    """Torchvision's, whose metadata say the operations; of classifiers alone."""
    if name not in torchvision.models.list_models(torchvision.models):
        return []
    return list(torchvision.models.get_model_weights(name))


@cache
def macs(name: str, size: int) -> tuple[float, float]:
    """In billions, for one image: what `plan` counts, and the sum over the layers of `show`."""
    options = {"image_size": size} if name.startswith(("vit", "deit", "resnet56", "resnet110")) else {}
    with torch.device("meta"):
        network = create_model(name, **options).eval()
        x = torch.zeros(1, 3, size, size)
        counted = count_flops(lambda: network(x))
    return sum(counted) / 2 / BILLION, sum(row.macs for row in layer_table(network, (x,))) / BILLION


def marked(name: str) -> Any:
    """Deep networks take seconds, and have nothing that smaller ones of their family have not."""
    return pytest.param(name, marks=[pytest.mark.slow] if name in DEEP.split() else [])


@pytest.mark.parametrize("name", [marked(name) for name in list_models() if weights_of(name)])
def test_as_torchvision_publishes_them(name: str) -> None:
    """To the last of their three decimals, and both counters the same."""
    for weights in weights_of(name):
        (size,) = {weights.transforms.keywords["crop_size"]}
        plan, show = macs(name, size)
        assert plan == pytest.approx(weights.meta["_ops"], abs=6e-4), weights
        assert show == plan


@pytest.mark.parametrize("name", PAPERS)
def test_as_papers_print_them(name: str) -> None:
    size, printed, tolerance = PAPERS[name]
    plan, show = macs(name, size)
    assert plan == pytest.approx(printed, rel=tolerance)
    assert show == plan

"""Receptive fields against what outputs depend on."""

from typing import Any

import pytest
import torch
from helpers.receptive_field import NETWORKS, by_name, compare
from torch import nn

from torchatlas.analysis.layers import Row, layer_table
from torchatlas.zoo import create_model, list_models


def of_zoo(name: str, **sizes: Any) -> list[Row]:
    with torch.device("meta"):
        network: Any = create_model(name, **sizes)
        return layer_table(network, network.example_input(1))


def test_known_receptive_fields() -> None:
    lenet = by_name(of_zoo("lenet5"))
    assert [lenet[f"features.{i}"].field for i in (0, 2, 3, 5, 6)] == [(n, n) for n in (5, 6, 14, 16, 32)]
    assert lenet["features.5"].stride == (4, 4)
    assert lenet["classifier.3"].whole
    resnet = by_name(of_zoo("resnet18"))
    assert (resnet["layer4.1.conv2"].field, resnet["layer4.1.conv2"].stride) == ((435, 435), (32, 32))
    assert resnet["fc"].whole
    five = layer_table(nn.Sequential(*[nn.Conv2d(1, 1, 3) for _ in range(5)]), (torch.zeros(1, 1, 16, 16),))
    assert [row.field for row in five] == [(n, n) for n in (3, 5, 7, 9, 11)]
    assert not five[-1].whole


@pytest.mark.skipif("vgg16" not in list_models(), reason="the zoo has no VGG")
def test_receptive_field_of_vgg() -> None:
    """Araujo, Norris and Sim 2019 (doi:10.23915/distill.00021), the table of networks: 212 pixels, stride 32."""
    last = [row for row in of_zoo("vgg16") if row.kind == "MaxPool2d"][-1]
    assert (last.field, last.stride) == ((212, 212), (32, 32))


@pytest.mark.parametrize("name", list(NETWORKS))
def test_receptive_fields_are_what_outputs_depend_on(name: str) -> None:
    assert compare(name, NETWORKS[name](), torch.randn(1, 1, 48, 48)) >= 2


@pytest.mark.parametrize("name", ["branches", "residual", "transposed", "U-Net, bilinear", "windows, plain"])
def test_receptive_field_is_where_the_gradient_is_not_zero(name: str) -> None:
    """Positive weights, so that nothing cancels; maxima become means, which see all; one position in the middle."""
    network = NETWORKS[name]().eval()
    for module in network.modules():
        for p in module.parameters(recurse=False):
            nn.init.uniform_(p, 0.1, 1)
        for key, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, key, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    x = torch.rand(1, 1, 96, 96).requires_grad_()
    rows = layer_table(network, (x.detach(),))
    out = network(x)
    sizes = []
    for h in range(out.shape[2] // 2 - 2, out.shape[2] // 2 + 2):  # all phases of what enlarges maps
        for w in range(out.shape[3] // 2 - 2, out.shape[3] // 2 + 2):
            (gradient,) = torch.autograd.grad(out[0, :, h, w].sum(), x, retain_graph=True)
            seen = (gradient[0, 0] != 0).nonzero()
            sizes.append((seen.amax(0) - seen.amin(0) + 1).tolist())
    row = next(row for row in reversed(rows) if row.field is not None and row.output is not None)
    assert row.field == tuple(max(size) for size in zip(*sizes, strict=True))

"""Networks without one of their parts."""

import pytest
import torch
from helpers.networks import disturbed
from torch import nn

from torchatlas.explain.lesions import Lesion, lesion_study, lesions, without
from torchatlas.models.lenet5 import LeNet5
from torchatlas.models.preact_resnet import PreActResNet
from torchatlas.models.resnet import ResNet
from torchatlas.models.resnet_cifar import ResNetCIFAR
from torchatlas.models.vgg import VGG


@torch.no_grad()
def test_a_lesion_is_the_network_without_that_block() -> None:
    """A block of one shape is as good as an identity; of one that changes the shape the shortcut stays."""
    network, x = disturbed(ResNet(depths=(2, 2, 1, 1))), torch.randn(3, 3, 32, 32)
    whole = network(x)
    parts, rest = lesions(network, x)
    assert rest == []
    kinds = {part.name: part.kind for part in parts}
    assert kinds == {
        "layer1.0": "block", "layer1.1": "block", "layer2.0": "branch", "layer2.1": "block", "layer3.0": "branch",
        "layer4.0": "branch",
    }  # fmt: skip
    by_hand = {
        "layer1.1": lambda block, x: x,
        "layer2.0": lambda block, x: block.downsample(x).relu(),
    }
    for part in parts:
        with without(part):
            left = network(x)
        assert not torch.equal(left, whole)
        torch.testing.assert_close(network(x), whole, rtol=0, atol=0)
        if part.name in by_hand:
            group, place = part.name.split(".")
            y = network.relu(network.bn1(network.conv1(x)))
            for name in ("layer1", "layer2", "layer3", "layer4"):
                for i, block in enumerate(getattr(network, name)):
                    y = by_hand[part.name](block, y) if (name, str(i)) == (group, place) else block(y)
            torch.testing.assert_close(left, network.fc(y.mean((2, 3))))


@torch.no_grad()
def test_a_lesion_of_a_block_that_adds_nothing_changes_nothing() -> None:
    network, x = disturbed(ResNet(depths=(2, 1, 1, 1))), torch.randn(3, 3, 32, 32)
    for name in ("layer1.1", "layer2.0"):
        last = network.get_submodule(name).bn2
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    whole = network(x)
    parts = {part.name: part for part in lesions(network, x)[0]}
    for name in ("layer1.1", "layer2.0"):
        with without(parts[name]):
            torch.testing.assert_close(network(x), whole, rtol=0, atol=0)


def test_what_can_be_left_out() -> None:
    """Blocks and plain layers of one shape, branches beside any kind of shortcut, and nothing else."""
    x = torch.randn(2, 3, 32, 32)

    def found(network: nn.Module) -> tuple[dict[str, str], list[str]]:
        parts, rest = lesions(disturbed(network), x)
        return {part.name: part.kind for part in parts}, rest

    branches = {"layer1.0": "block", "layer2.0": "branch", "layer3.0": "branch"}
    assert found(ResNetCIFAR(shortcut="identity")) == (branches, [])
    assert found(ResNetCIFAR(shortcut="projection")) == (branches, [])
    assert found(ResNetCIFAR(shortcut="none")) == ({"layer1.0": "block"}, ["layer2.0", "layer3.0"])
    blocks, _ = found(PreActResNet())
    assert set(blocks.values()) == {"block", "branch"}
    chain = nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(True), nn.Flatten(), nn.Linear(3072, 4)
    )
    assert found(chain) == ({"0": "block"}, [])
    (part,) = lesions(chain, x)[0]
    with without(part):  # its batch normalisation goes with it
        torch.testing.assert_close(chain(x), chain[4](x.relu().flatten(1)))
    assert (x < 0).any()  # what works in place had a copy
    same = [n for n, m in VGG().named_modules() if isinstance(m, nn.Conv2d) and m.in_channels == m.out_channels]
    assert list(found(VGG())[0]) == same
    assert found(LeNet5(in_channels=3)) == ({}, [])


def test_a_lesion_study_counts_the_right_answers() -> None:
    network = disturbed(ResNet())
    x, y = torch.randn(100, 3, 32, 32), torch.randint(10, (100,))
    parts, _ = lesions(network, x[:2])
    found = lesion_study(network.train(), parts, x, y)
    network.eval()
    for part in [None, *parts]:
        with without(part or Lesion("", "block", ())), torch.no_grad():
            right = (network(x).argmax(1) == y).sum().item()
        assert found[part.name if part else ""] == pytest.approx(right / 100)

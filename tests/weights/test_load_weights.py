"""What does not fit is adapted and said, or refused before anything changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.weights import assert_whole, changed, copy_of, randomised, refuses
from torch import nn

from torchatlas import weights as program
from torchatlas.models.googlenet import GoogLeNet
from torchatlas.models.lenet5 import LeNet5
from torchatlas.models.resnet import ResNet
from torchatlas.run.restore import restore
from torchatlas.weights import load_weights
from torchatlas.weights.report import Preprocessing

# What is around a state dict


def test_runs(train: Callable[..., Path]) -> None:
    folder = train("debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default", "model.widths=[8]")
    path, task, about = restore(str(folder))
    network: Any = task.network
    reached = copy_of(network)
    for given in (folder, str(folder), path):
        for parameter in network.parameters():
            nn.init.zeros_(parameter)
        report = load_weights(network, given)
        assert_whole(report, network, "torchatlas")
        assert changed(network, reached) == []
        data = about["data"]
        size, mean, std = data["image_size"], tuple(data["mean"]), tuple(data["std"])
        assert report.preprocessing == Preprocessing(size, size, mean, std, "bilinear")

    content = path.read_bytes()
    path.write_bytes(content[:2000] + b"\0" + content[2001:])
    refuses(network, path, "is damaged|is cut off")
    refuses(network, folder, "is damaged")


# What has to be adapted


def test_another_number_of_classes_leaves_the_head_as_it_was() -> None:
    theirs, ours = ResNet(num_classes=10), ResNet(num_classes=7)
    before = copy_of(ours)
    report = load_weights(ours, theirs.state_dict())
    assert report.adapted == ["fc.weight: 10 classes in the weights, 7 here: the head is new"]
    assert (report.missing, report.unexpected, report.reshaped) == ([], [], [])
    assert torch.equal(ours.fc.weight, before["fc.weight"])
    assert torch.equal(ours.fc.bias, before["fc.bias"])
    assert {key for key in changed(ours, copy_of(theirs)) if not key.startswith("fc.")} == set()
    assert "the head is new" in report.describe()


def test_every_head_of_googlenet_is_new() -> None:
    theirs, ours = GoogLeNet(auxiliary=True, num_classes=10), GoogLeNet(auxiliary=True, num_classes=7)
    before = copy_of(ours)
    report = load_weights(ours, theirs.state_dict())
    assert len(report.adapted) == len(ours.heads) == 3
    heads = tuple(f"{head}." for head in ours.heads)
    kept = [key for key in before if key.startswith(heads)]
    assert kept
    assert all(torch.equal(ours.state_dict()[key], before[key]) for key in kept)


@torch.no_grad()
def test_from_colour_to_grey_keeps_the_response_to_a_grey_image() -> None:
    theirs, ours = randomised(ResNet(in_channels=3)), ResNet(in_channels=1)
    report = load_weights(ours, theirs.state_dict())
    assert report.adapted == ["conv1.weight: 3 channels in the weights, summed to 1"]
    assert report.loaded == len(ours.state_dict()) - 1
    grey = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(ours.eval()(grey), theirs(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("channels", [3, 4, 6])
def test_from_grey_to_more_channels_keeps_it_too(channels: int) -> None:
    theirs, ours = randomised(ResNet(in_channels=1)), ResNet(in_channels=channels)
    report = load_weights(ours, theirs.state_dict())
    assert report.adapted == [f"conv1.weight: 1 channels in the weights, repeated to {channels} and rescaled"]
    grey = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(ours.eval()(grey.expand(-1, channels, -1, -1)), theirs(grey), rtol=1e-4, atol=1e-4)


def test_from_three_channels_to_more_they_are_taken_in_turn() -> None:
    kernel = torch.randn(2, 3, 3, 3)
    adapted = program.adapt_channels(kernel, 5)
    torch.testing.assert_close(adapted, 3 / 5 * kernel[:, [0, 1, 2, 0, 1]])
    torch.testing.assert_close(program.adapt_channels(kernel, 6).sum(1), kernel.sum(1))


def test_what_is_missing_unexpected_or_of_another_shape_is_said() -> None:
    state = copy_of(ResNet())
    del state["layer2.0.bn1.weight"]
    state["layer3.0.conv2.weight"] = state["layer3.0.conv2.weight"][:3]
    state["extra"] = torch.zeros(1)
    ours = ResNet()
    before = copy_of(ours)
    report = load_weights(ours, state)
    assert report.missing == ["layer2.0.bn1.weight"]
    assert report.unexpected == ["extra"]
    assert report.reshaped == ["layer3.0.conv2.weight (3x32x3x3 in the weights, 32x32x3x3 here)"]
    for key in ("layer2.0.bn1.weight", "layer3.0.conv2.weight"):
        assert torch.equal(ours.state_dict()[key], before[key])
    text = report.describe()
    assert all(key in text for key in ("layer2.0.bn1.weight", "extra", "3x32x3x3"))


def test_half_precision_is_converted() -> None:
    theirs, ours = ResNet(), ResNet()
    load_weights(ours, {key: value.half() for key, value in theirs.state_dict().items()})
    assert ours.conv1.weight.dtype == torch.float32
    assert torch.equal(ours.conv1.weight, theirs.conv1.weight.half().float())


# What is refused


def test_stems_for_another_image_size() -> None:
    large, small = ResNet(image_size=64), ResNet(image_size=32)
    refuses(small, large.state_dict(), "weights for large images .*7x7.*data.image_size=64")
    refuses(large, small.state_dict(), "weights for small images .*3x3.*data.image_size=32")


def test_another_network() -> None:
    refuses(LeNet5(), ResNet().state_dict(), r"another network.*conv1.weight 8x3x3x3.*features.0.weight 6x1x5x5")
    refuses(ResNet(width=16), ResNet(width=8).state_dict(), "another network")
    refuses(ResNet(), {"a": torch.zeros(1)}, "another network")

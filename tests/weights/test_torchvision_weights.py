"""Weights of torchvision, by state dict, name and file."""

import re
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from helpers.weights import IMAGENET, assert_equal_logits, assert_whole, copy_of, randomised, refuses
from torchvision.models import segmentation

from torchatlas.models.densenet import DenseNet
from torchatlas.models.googlenet import GoogLeNet
from torchatlas.models.lenet5 import LeNet5
from torchatlas.weights import load_weights, torchvision_weights
from torchatlas.weights.report import Preprocessing
from torchatlas.zoo import create_model

# Other people's networks, by the names that their files have


@pytest.mark.parametrize("builder", ["resnet18", "mobilenet_v2", "densenet121", "efficientnet_b0", "googlenet"])
def test_torchvision(builder: str) -> None:
    options = {"init_weights": True} if builder == "googlenet" else {}
    theirs = randomised(getattr(torchvision.models, builder)(num_classes=7, **options))
    ours = create_model(builder, num_classes=7, image_size=64)
    report = load_weights(ours, theirs.state_dict())
    assert report.source == "torchvision"
    assert report.loaded == len(ours.state_dict())
    if builder == "googlenet":  # what training alone has: the zoo's YAML decides whether there are any
        assert all(key.startswith("aux") for key in report.missing + report.unexpected)
    else:
        assert_whole(report, ours, "torchvision")
    assert_equal_logits(ours, theirs, 64)


def test_googlenet_with_and_without_auxiliary_heads() -> None:
    with_heads, without = GoogLeNet(auxiliary=True), GoogLeNet(auxiliary=False)
    report = load_weights(without, with_heads.state_dict())
    assert report.unexpected
    assert all(key.startswith(("aux1.", "aux2.")) for key in report.unexpected)
    report = load_weights(with_heads, without.state_dict())
    assert report.missing
    assert all(key.startswith(("aux1.", "aux2.")) for key in report.missing)
    assert "aux1.conv.conv.weight" in report.describe()


def test_densenet_of_before_2019() -> None:
    old = randomised(DenseNet())
    state = {re.sub(r"(denselayer\d+\.\w+)([12])\.", r"\1.\2.", key): value for key, value in copy_of(old).items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    ours = DenseNet()
    assert_whole(load_weights(ours, state), ours, "torchvision")
    assert_equal_logits(ours, old, 32, 0)


def test_torchvision_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    theirs = randomised(torchvision.models.resnet18())
    enum = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    torch.save(theirs.state_dict(), tmp_path / "hub" / "checkpoints" / enum.url.rpartition("/")[2])
    for weights, network_name in (
        ("torchvision:resnet18/IMAGENET1K_V1", None),
        ("torchvision:resnet18/DEFAULT", "resnet50"),
        ("torchvision:resnet18", None),
        ("torchvision:IMAGENET1K_V1", "resnet18"),
    ):
        ours = create_model("resnet18", image_size=224)
        report = load_weights(ours, weights, name=network_name)
        assert_whole(report, ours, "torchvision")
        assert report.preprocessing == IMAGENET
    assert_equal_logits(ours, theirs, 64, 0)

    def offline(*_: Any, **__: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    refuses(LeNet5(), "torchvision:resnet34", "resnet34-.*no route to host.*weights=PATH")
    refuses(LeNet5(), "torchvision:IMAGENET1K_V1", "torchvision:resnet50/IMAGENET1K_V2")
    refuses(LeNet5(), "torchvision:IMAGENET1K_V1", "no network 'lenet5'", name="lenet5")
    refuses(LeNet5(), "torchvision:resnet18/IMAGENET1K_V2", "did you mean IMAGENET1K_V1")


def test_a_downloaded_file_is_known_by_its_name(tmp_path: Path) -> None:
    url = torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1.url
    path = tmp_path / url.rpartition("/")[2]
    torch.save(GoogLeNet().state_dict(), path)
    report = load_weights(GoogLeNet(), path)
    assert report.preprocessing == Preprocessing(224, 256, (0.5,) * 3, (0.5,) * 3, "bilinear")
    assert "images of 224 pixels" in report.adapted[-1]  # and the network is for small ones
    assert load_weights(GoogLeNet(transform_input=True), path).preprocessing == IMAGENET
    assert load_weights(GoogLeNet(), path.rename(tmp_path / "x.pth")).preprocessing is None


# --- FCN on ResNet


def test_weights_of_torchvisions_dense_networks_say_their_images() -> None:
    found = torchvision_weights.preprocessing(segmentation.FCN_ResNet50_Weights.DEFAULT)
    assert (found.image_size, found.resize, found.mean) == (520, 520, (0.485, 0.456, 0.406))
    file_name = segmentation.FCN_ResNet50_Weights.DEFAULT.url.rpartition("/")[2]
    assert torchvision_weights.preprocessing_of_file(file_name) == found

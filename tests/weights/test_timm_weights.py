"""Weights of timm."""

import re
import sys
from typing import Any

import pytest
from helpers.weights import assert_equal_logits, assert_whole, copy_of, randomised, refuses
from torch import nn

from torchatlas.models.lenet5 import LeNet5
from torchatlas.models.vgg import VGG
from torchatlas.weights import load_weights
from torchatlas.weights.report import Preprocessing
from torchatlas.weights.timm_weights import EQUAL
from torchatlas.zoo import create_model


@pytest.mark.parametrize(("theirs_name", "ours_name"), [("efficientnet_b0", "efficientnet_b0"),
                                                        ("mobilenetv2_100", "mobilenet_v2"),
                                                        ("resnet18", "resnet18")])  # fmt: skip
def test_timm(theirs_name: str, ours_name: str) -> None:
    timm = pytest.importorskip("timm")
    theirs = randomised(timm.create_model(theirs_name, num_classes=7))
    ours = create_model(ours_name, num_classes=7, image_size=64)
    report = load_weights(ours, theirs.state_dict())
    assert_whole(report, ours, "torchvision" if theirs_name == "resnet18" else "timm")
    assert_equal_logits(ours, theirs, 64)


def test_timm_vgg_has_convolutions_for_linear_layers() -> None:
    theirs = VGG(width=8, hidden=32, image_size=64)
    state = copy_of(theirs)
    new = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
    state = {re.sub(r"classifier\.\d", lambda found: new[found[0]], key): value for key, value in state.items()}
    state["pre_logits.fc1.weight"] = state["pre_logits.fc1.weight"].reshape(32, 64, 7, 7)
    state["pre_logits.fc2.weight"] = state["pre_logits.fc2.weight"].reshape(32, 32, 1, 1)
    ours = VGG(width=8, hidden=32, image_size=64)
    assert_whole(load_weights(ours, state), ours, "timm")
    assert_equal_logits(ours, theirs, 64, 0)


@pytest.mark.parametrize(
    ("wanted", "equal"),
    [("resnet50.a1_in1k", True), ("vgg16_bn", True), ("efficientnet_b4.ra2_in1k", True), ("mobilenetv2_100", True)]
    + [(n, False) for n in ("tf_efficientnet_b0", "efficientnet_b5", "resnetblur50", "resnet50d", "mobilenetv2_110d")],
)
def test_timm_by_name(wanted: str, equal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bool(EQUAL.fullmatch(wanted)) == equal
    monkeypatch.setitem(sys.modules, "timm", None)  # as where it is not installed
    refuses(LeNet5(), f"timm:{wanted}", "pip install timm" if equal else "none of timm's networks")


def test_timm_by_name_with_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    theirs, make = timm.create_model("resnet18"), timm.create_model

    def pretrained_here(name: str, pretrained: bool) -> nn.Module:
        assert (name, pretrained) == ("resnet18.a1_in1k", True)
        return make(name)

    monkeypatch.setattr(timm, "create_model", pretrained_here)
    report = load_weights(create_model("resnet18", image_size=224), "timm:resnet18.a1_in1k")
    found = theirs.pretrained_cfg
    assert report.source == "timm"
    assert report.adapted == []
    assert report.preprocessing == Preprocessing(
        224, int(224 / found["crop_pct"]), tuple(found["mean"]), tuple(found["std"]), found["interpolation"]
    )

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(timm, "create_model", offline)
    refuses(LeNet5(), "timm:resnet18", "resnet18 .*no route to host.*weights=PATH")

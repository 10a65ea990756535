"""Weights under other names compute what they did; what does not fit is said, and refused before anything changes."""

import argparse
import json
import os
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from conftest import tiny_network
from safetensors.torch import save_file
from torch import Tensor, nn

from torchatlas import weights as program
from torchatlas.errors import UserError
from torchatlas.models.densenet import DenseNet
from torchatlas.models.googlenet import GoogLeNet
from torchatlas.models.lenet5 import LeNet5
from torchatlas.models.lstm_lm import LSTMLM
from torchatlas.models.preact_resnet import PreActResNet
from torchatlas.models.resnet import ResNet
from torchatlas.models.resnet_cifar import ResNetCIFAR
from torchatlas.models.vgg import VGG
from torchatlas.models.wide_resnet import WideResNet
from torchatlas.run.restore import restore
from torchatlas.weights import load_weights, save_weights
from torchatlas.weights.kuangliu import SOURCE as KUANGLIU
from torchatlas.weights.report import Preprocessing, Report
from torchatlas.weights.timm_weights import EQUAL
from torchatlas.zoo import create_model

State = dict[str, Tensor]
IMAGENET = Preprocessing(224, 256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")


def randomised(network: nn.Module) -> nn.Module:
    """Statistics of batch normalisation that a wrong map would be seen by."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return network.eval()


def copy_of(network: nn.Module) -> State:
    return {key: value.clone() for key, value in network.state_dict().items()}


def changed(network: nn.Module, before: State) -> list[str]:
    return [key for key, value in network.state_dict().items() if not torch.equal(value, before[key])]


@torch.no_grad()
def assert_equal_logits(ours: nn.Module, theirs: nn.Module, size: int, tolerance: float = 1e-5) -> None:
    x = torch.randn(2, 3, size, size)
    expected = theirs.eval()(x)
    assert (ours.eval()(x) - expected).abs().max() <= tolerance * expected.abs().max()


def assert_whole(report: Report, network: nn.Module, source: str) -> None:
    assert (report.missing, report.unexpected, report.reshaped) == ([], [], [])
    assert report.loaded == len(network.state_dict())
    assert report.source == source


def refuses(network: nn.Module, weights: Any, words: str, **options: Any) -> None:
    before = copy_of(network)
    with pytest.raises(UserError, match=words) as error:
        load_weights(network, weights, **options)
    assert "\n" not in str(error.value)
    assert changed(network, before) == []


# Other people's networks, by the names that their files have


def norm_relu_conv(c: int, width: int, k: int, stride: int = 1) -> list[nn.Module]:
    return [nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, width, k, stride, k // 2, bias=False)]


def conv_norm(c: int, width: int, k: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(c, width, k, stride, k // 2, bias=False), nn.BatchNorm2d(width)]


def name(module: nn.Module, **parts: nn.Module | None) -> None:
    for key, part in parts.items():
        module.add_module(key, part)


class Basic(nn.Module):
    """conv1, bn1, conv2, bn2 and, under a name of the source's, the shortcut."""

    def __init__(self, c: int, width: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(c, width, 3, stride)
        self.conv2, self.bn2 = conv_norm(width, width, 3)
        self.stride, self.pad, self.shortcut_name = stride, (width - c) // 2, shortcut
        if shortcut and c != width:
            self.add_module(shortcut, nn.Sequential(*conv_norm(c, width, 1, stride)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        if hasattr(self, self.shortcut_name or "-"):
            return (y + getattr(self, self.shortcut_name)(x)).relu()
        x = x[:, :, :: self.stride, :: self.stride]
        return (y + nn.functional.pad(x, (0, 0, 0, 0, self.pad, self.pad))).relu()


class Residual(nn.Module):
    """A stem `conv1`, `bn1`, groups `layer1`, ... of one block each, and a head under a name of the source's."""

    def __init__(self, groups: int, width: int, shortcut: str, head: str) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(3, width, 3)
        self.groups, self.head, c = groups, head, width
        for i in range(groups):
            self.add_module(f"layer{i + 1}", nn.Sequential(Basic(c, width * 2**i, 1 + (i > 0), shortcut)))
            c = width * 2**i
        self.add_module(head, nn.Linear(c, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        for i in range(self.groups):
            x = getattr(self, f"layer{i + 1}")(x)
        return getattr(self, self.head)(x.mean((2, 3)))


class Sequenced(nn.Module):
    """weiaicunzai's bottleneck."""

    def __init__(self, c: int, width: int, stride: int) -> None:
        super().__init__()
        self.residual_function = nn.Sequential(
            *conv_norm(c, width, 1), nn.ReLU(), *conv_norm(width, width, 3, stride), nn.ReLU(),
            *conv_norm(width, 4 * width, 1),
        )  # fmt: skip
        self.shortcut = nn.Sequential(*(conv_norm(c, 4 * width, 1, stride) if c != 4 * width else []))

    def forward(self, x: Tensor) -> Tensor:
        return (self.residual_function(x) + self.shortcut(x)).relu()


class Weiaicunzai(nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*conv_norm(3, width, 3), nn.ReLU())
        c = width
        for i in range(4):
            blocks = [Sequenced(c, width * 2**i, 1 + (i > 0)), Sequenced(4 * width * 2**i, width * 2**i, 1)]
            self.add_module(f"conv{i + 2}_x", nn.Sequential(*blocks))
            c = 4 * width * 2**i
        self.avg_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(c, 10)


class PreActivated(nn.Module):
    """A pre-activation block whose shortcut is of the activated input, under a name of the source's."""

    def __init__(self, c: int, width: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.bn1, _, self.conv1 = norm_relu_conv(c, width, 3, stride)
        self.bn2, _, self.conv2 = norm_relu_conv(width, width, 3)
        self.shortcut_name = shortcut.partition(".")[0]
        if c != width:
            conv = nn.Conv2d(c, width, 1, stride, bias=False)
            self.add_module(self.shortcut_name, nn.Sequential(conv) if "." in shortcut else conv)

    def forward(self, x: Tensor) -> Tensor:
        a = self.bn1(x).relu()
        x = getattr(self, self.shortcut_name)(a) if hasattr(self, self.shortcut_name) else x
        return x + self.conv2(self.bn2(self.conv1(a)).relu())


class KuangliuPreAct(nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        c = width
        for i in range(4):
            blocks = [
                PreActivated(c, width * 2**i, 1 + (i > 0), "shortcut.0"),
                PreActivated(width * 2**i, width * 2**i, 1, "shortcut.0"),
            ]
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
            c = width * 2**i
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.linear = nn.Linear(c, 10)


class Xternalz(nn.Sequential):
    def __init__(self, k: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        c = 16
        for i in range(3):
            width = 16 * k * 2**i
            block = nn.Sequential()
            block.layer = nn.Sequential(
                PreActivated(c, width, 1 + (i > 0), "convShortcut"), PreActivated(width, width, 1, "convShortcut")
            )
            self.add_module(f"block{i + 1}", block)
            c = width
        self.bn1 = nn.BatchNorm2d(c)
        self.relu = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(c, 10)


class NewestFirst(nn.Module):
    """kuangliu's dense layer."""

    def __init__(self, c: int, growth: int) -> None:
        super().__init__()
        self.bn1, _, self.conv1 = norm_relu_conv(c, 4 * growth, 1)
        self.bn2, _, self.conv2 = norm_relu_conv(4 * growth, growth, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv2(self.bn2(self.conv1(self.bn1(x).relu())).relu()), x], 1)


class KuangliuTransition(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.bn, _, self.conv = norm_relu_conv(c, c // 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(self.conv(self.bn(x).relu()), 2)


class KuangliuDense(nn.Sequential):
    def __init__(self, growth: int, depths: tuple[int, ...]) -> None:
        super().__init__()
        c = 2 * growth
        self.conv1 = nn.Conv2d(3, c, 3, padding=1, bias=False)
        for i, depth in enumerate(depths, 1):
            layers = [NewestFirst(c + j * growth, growth) for j in range(depth)]
            self.add_module(f"dense{i}", nn.Sequential(*layers))
            c += depth * growth
            if i < len(depths):
                self.add_module(f"trans{i}", KuangliuTransition(c))
                c //= 2
        self.bn = nn.BatchNorm2d(c)
        self.pool = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.linear = nn.Linear(c, 10)


class KuangliuVGG(nn.Sequential):
    def __init__(self, widths: tuple[int, ...]) -> None:
        layers: list[nn.Module] = []
        c = 3
        for width in widths:
            layers += [nn.Conv2d(c, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
            c = width
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.flat = nn.Flatten()
        self.classifier = nn.Linear(c, 10)


FOREIGN: dict[str, tuple[str, Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "resnet": (
        KUANGLIU,
        lambda: Residual(4, 8, "shortcut", "linear"),
        lambda: ResNet(block="basic", depths=(1, 1, 1, 1), width=8),
    ),
    "preact": (
        KUANGLIU,
        lambda: KuangliuPreAct(8),
        lambda: PreActResNet(depths=(2, 2, 2, 2), width=8, final_norm=False, activate_first=False),
    ),
    "densenet": (
        KUANGLIU,
        lambda: KuangliuDense(4, (2, 3, 1, 12)),
        lambda: DenseNet(growth=4, depths=(2, 3, 1, 12), width=8),
    ),
    "vgg": (
        KUANGLIU,
        lambda: KuangliuVGG((8, 16, 32, 64, 64)),
        lambda: VGG(depths=(1, 1, 1, 1, 1), width=8, batch_norm=True),
    ),
    "akamaster": (
        "akamaster/pytorch_resnet_cifar10",
        lambda: Residual(3, 8, "", "linear"),
        lambda: ResNetCIFAR(depth=8, width=8),
    ),
    "akamaster B": (
        "akamaster/pytorch_resnet_cifar10",
        lambda: Residual(3, 8, "shortcut", "linear"),
        lambda: ResNetCIFAR(depth=8, width=8, shortcut="projection"),
    ),
    "chenyaofo": (
        "chenyaofo/pytorch-cifar-models",
        lambda: Residual(3, 8, "downsample", "fc"),
        lambda: ResNetCIFAR(depth=8, width=8, shortcut="projection"),
    ),
    "weiaicunzai": (
        "weiaicunzai/pytorch-cifar100",
        lambda: Weiaicunzai(8),
        lambda: ResNet(block="bottleneck", depths=(2, 2, 2, 2), width=8),
    ),
    "xternalz": ("xternalz/WideResNet-pytorch", lambda: Xternalz(2), lambda: WideResNet(depth=16, widening=2)),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_small_image_repositories(case: str) -> None:
    source, make_theirs, make_ours = FOREIGN[case]
    theirs, ours = randomised(make_theirs()), make_ours()
    report = load_weights(ours, {"net": theirs.state_dict(), "acc": 93.1, "epoch": 199})
    assert_whole(report, ours, source)
    assert_equal_logits(ours, theirs, 32)


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


# What is around a state dict


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "network.", "model.", "module._orig_mod.network."])
@pytest.mark.parametrize("wrapper", ["", "state_dict", "model", "net"])
def test_prefixes_and_wrappers(prefix: str, wrapper: str) -> None:
    theirs, ours = randomised(ResNet()), ResNet()
    state: Any = {prefix + key: value for key, value in theirs.state_dict().items()}
    report = load_weights(ours, {wrapper: state, "epoch": 3} if wrapper else state)
    assert_whole(report, ours, "torchvision")
    assert changed(ours, theirs.state_dict()) == []


def test_a_part_inside_of_data_parallel_and_counters_that_are_missing() -> None:
    theirs, ours = VGG(batch_norm=True), VGG(batch_norm=True)
    state = {
        key.replace("features.", "features.module."): value
        for key, value in theirs.state_dict().items()
        if "num_batches" not in key
    }
    report = load_weights(ours, state)
    assert (report.missing, report.unexpected, report.reshaped) == ([], [], [])
    assert report.loaded == len(state)
    assert changed(ours, copy_of(theirs)) == []


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth", "bin", "ckpt"])
def test_files(suffix: str, tmp_path: Path) -> None:
    theirs, ours, path = ResNet(), ResNet(), tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(theirs.state_dict(), path)
    else:
        torch.save({"state_dict": theirs.state_dict()}, path, _use_new_zipfile_serialization=suffix != "pth")
    assert_whole(load_weights(ours, str(path)), ours, "torchvision")
    assert changed(ours, copy_of(theirs)) == []


def test_plain_values_beside_the_tensors(tmp_path: Path) -> None:
    path = tmp_path / "model_best.pth.tar"
    beside = {"args": argparse.Namespace(lr=0.1), "best": np.float64(93.5), "top": np.float32(0.5), "arch": "resnet"}
    torch.save({"state_dict": ResNet().state_dict(), **beside}, path)
    network = ResNet()
    assert_whole(load_weights(network, path), network, "torchvision")


def test_every_model_comes_back(model_name: str, tmp_path: Path) -> None:
    theirs, ours = tiny_network(model_name), tiny_network(model_name)
    with torch.no_grad():
        for value in theirs.state_dict().values():
            value.add_(1)
    path = tmp_path / "folder" / "weights.safetensors"
    save_weights(theirs, path)
    report = load_weights(ours, path)
    assert report.source == "torchatlas"
    assert (report.missing, report.unexpected, report.reshaped, report.adapted) == ([], [], [], [])
    assert changed(ours, copy_of(theirs)) == []
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    (path.parent / "other").touch()
    assert path.stat().st_mode == (path.parent / "other").stat().st_mode


def test_preprocessing_travels(tmp_path: Path) -> None:
    preprocessing = Preprocessing(288, 320, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")
    path = tmp_path / "weights.safetensors"
    save_weights(ResNet(image_size=64).to(memory_format=torch.channels_last), path, preprocessing)
    report = load_weights(ResNet(image_size=64), path)
    assert report.preprocessing == preprocessing
    assert "288 pixels, cut from 320 (bicubic)" in report.describe()

    data = {"image_size": 32, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}  # as torchatlas export writes it
    save_file(ResNet().state_dict(), path, {"torchatlas": "0", "data": json.dumps(data)})
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    assert load_weights(ResNet(), path).preprocessing == Preprocessing(32, 32, mean, std, "bilinear")


def test_shared_parameters_are_in_a_file_once(tmp_path: Path) -> None:
    def tied() -> LSTMLM:
        network = LSTMLM()
        network.register_module("again", nn.Linear(2, 2))
        network.register_module("and_again", network.again)
        return network

    theirs, ours, path = tied(), tied(), tmp_path / "weights.safetensors"
    save_weights(theirs, path)
    report = load_weights(ours, path)
    assert report.missing == []
    assert changed(ours, copy_of(theirs)) == []


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


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("pre_layers.0.weight a3.b1.0.weight", "GoogLeNet"),
        ("layers.0.conv1.weight layers.0.bn3.weight conv2.weight linear.weight", "MobileNetV2"),
        ("layers.0.se1.weight linear.weight", "EfficientNet"),
        ("stage1.0.residual.2.bias pre.1.weight", "pre-activation"),
        ("init_conv.bias conv2.0.residual.0.weight", "no ReLU before the pooling"),
        ("features.dense_block_layer_0.x features.transition_layer_0.down_sample.0.weight", "DenseNet"),
        ("prelayer.0.weight a3.b1.0.weight", "GoogLeNet"),
        ("pre.0.bias stage1.residual.0.weight conv2.bias", "1x1 stem"),
    ],
)
def test_sources_that_compute_something_else(keys: str, reason: str) -> None:
    refuses(ResNet(), {key: torch.zeros(1) for key in keys.split()}, reason)


class Code:
    """A pickle of it makes a folder when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_with_code_in_it(zipped: bool, tmp_path: Path) -> None:
    trap, path = tmp_path / "trap", tmp_path / "weights.pth"
    content = {"state_dict": ResNet().state_dict(), "callback": Code(trap)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    refuses(ResNet(), path, r"holds \w+\.mkdir, which could run code")
    path.write_bytes(pickle.dumps(Code(trap)))
    refuses(ResNet(), path, "could run code|is no file of weights")
    torch.save(ResNet(), path)
    refuses(ResNet(), path, "ResNet, which could run code.*state_dict")
    assert not trap.exists()


@pytest.mark.parametrize("suffix", ["pt", "safetensors", "ckpt"])
def test_broken_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights.{suffix}"
    refuses(ResNet(), path, f"there is no file .*{path.name}")
    path.touch()
    refuses(ResNet(), path, "is empty")
    path.write_text("a page that says that the file is somewhere else\n")
    refuses(ResNet(), path, "download or copy it again")
    if suffix == "safetensors":
        save_weights(ResNet(), path)
    else:
        torch.save(ResNet().state_dict(), path)
    content = path.read_bytes()
    for length in (1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refuses(ResNet(), path, "download or copy it again")
    torch.save([1, 2, 3], tmp_path / "list.pt")
    refuses(ResNet(), tmp_path / "list.pt", "holds no state dict")
    refuses(ResNet(), tmp_path, "there is no checkpoint")


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        save_weights(ResNet(), tmp_path / "file" / "weights.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def hostile() -> dict[str, dict[str, Any]]:
    """State dicts that can be read and must not be taken."""
    good = {key: value.clone() for key, value in ResNet().state_dict().items()}
    circle: dict[str, Any] = {}
    circle["state_dict"] = circle
    return {
        "circle": circle,
        "sparse": good | {"fc.weight": good["fc.weight"].to_sparse()},
        "meta": good | {"fc.weight": good["fc.weight"].to("meta")},
        "complex": good | {"fc.weight": good["fc.weight"].to(torch.complex64)},
        "not finite": good | {"fc.weight": good["fc.weight"] * float("nan")},
    }


@pytest.mark.parametrize("kind", list(hostile()))
def test_odd_tensors_are_refused_before_anything_changes(kind: str) -> None:
    network = ResNet()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(UserError):
        load_weights(network, hostile()[kind])
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    "text",
    [
        '{"image_size": 1e999, "resize": 8, "mean": [0.5], "std": [0.5], "interpolation": "x"}',
        '{"image_size": 8, "resize": 8, "mean": [0.5], "std": [0.0], "interpolation": "x"}',
        '{"image_size": 8, "resize": 8, "mean": [0.5, 0.5], "std": [0.5, 0.5], "interpolation": "x"}',
        "[" * 200_000,
    ],
)
def test_impossible_preprocessing_is_left_out(text: str) -> None:
    assert Preprocessing.from_json(text) is None

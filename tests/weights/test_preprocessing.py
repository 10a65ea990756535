"""What the training of published weights did with its images comes with them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from torchatlas.data.images.cifar import CIFAR10
from torchatlas.models.densenet import DenseNet
from torchatlas.models.mobilenet_v2 import MobileNetV2
from torchatlas.models.resnet import ResNet
from torchatlas.models.resnet_cifar import ResNetCIFAR
from torchatlas.models.wide_resnet import WideResNet
from torchatlas.weights import load_weights

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KUANGLIU = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def renamed(network: torch.nn.Module, *pairs: tuple[str, str]) -> dict[str, Tensor]:
    state = dict(network.state_dict())
    for ours, theirs in pairs:
        state = {key.replace(ours, theirs): value for key, value in state.items()}
    return state


def wide(*more: str) -> dict[str, Tensor]:
    """With the names of xternalz."""
    pairs = [("layer1.", "block1.layer."), ("layer2.", "block2.layer."), ("layer3.", "block3.layer.")]
    state = renamed(WideResNet(), *pairs, (".shortcut.", ".convShortcut."))
    state = {f"bn1.{key[3:]}" if key.startswith("bn.") else key: value for key, value in state.items()}
    return state | {key: torch.zeros(1) for key in more}


def test_akamaster_has_the_statistics_of_imagenet() -> None:
    report = load_weights(ResNetCIFAR(), renamed(ResNetCIFAR(), ("fc.", "linear.")))
    assert report.source == "akamaster/pytorch_resnet_cifar10"
    assert report.preprocessing is not None
    assert (report.preprocessing.mean, report.preprocessing.std) == IMAGENET
    assert report.preprocessing.image_size == report.preprocessing.resize == 32


def test_kuangliu() -> None:
    state = renamed(ResNet(), ("fc.", "linear."), (".downsample.", ".shortcut."))
    report = load_weights(ResNet(), state)
    assert report.preprocessing is not None
    assert (report.preprocessing.mean, report.preprocessing.std) == KUANGLIU


@pytest.mark.parametrize(("classes", "mean"), [(10, KUANGLIU[0]), (100, (0.5070, 0.4865, 0.4409)), (7, None)])
def test_chenyaofo_by_the_number_of_classes(classes: int, mean: tuple[float, ...] | None) -> None:
    def network(n: int) -> ResNetCIFAR:
        return ResNetCIFAR(depth=8, width=8, shortcut="projection", num_classes=n)

    report = load_weights(network(10), renamed(network(classes), (".shortcut.", ".downsample.")))
    assert report.source == "chenyaofo/pytorch-cifar-models"
    assert (report.preprocessing and report.preprocessing.mean) == mean
    assert bool(report.fresh) == (classes != 10)  # of the head, which is new


def test_chenyaofo_by_the_name_of_a_file_with_the_names_of_torchvision(tmp_path: Path) -> None:
    torch.save(MobileNetV2().state_dict(), path := tmp_path / "cifar100_mobilenetv2_x1_0-1311f9ff.pt")
    report = load_weights(MobileNetV2(), path)
    assert report.preprocessing is not None
    assert report.preprocessing.std == (0.2673, 0.2564, 0.2761)
    torch.save(MobileNetV2().state_dict(), path := tmp_path / "mine.pt")
    assert load_weights(MobileNetV2(), path).preprocessing is None


def test_networks_of_one_name_from_two_trainings() -> None:
    report = load_weights(WideResNet(), wide())
    assert report.source == "xternalz/WideResNet-pytorch"
    assert report.preprocessing is not None
    assert report.preprocessing.mean == pytest.approx((0.4914, 0.4824, 0.4467), abs=1e-4)
    assert "data.mean=[0.5,0.5,0.5]" in report.describe()  # AugMix's cannot be told from it
    report = load_weights(WideResNet(), wide("sub_block1.layer.0.bn1.weight"))
    assert report.source == "yaodongyu/TRADES"
    assert report.preprocessing is not None
    assert (report.preprocessing.mean, report.preprocessing.std) == ((0.0,) * 3, (1.0,) * 3)


def test_weights_of_our_own_names_say_nothing() -> None:
    for network in (ResNet, ResNetCIFAR, DenseNet, WideResNet):
        assert load_weights(network(), network().state_dict()).preprocessing is None


# --- what data make of it


def data(**options: object) -> CIFAR10:
    return CIFAR10(in_channels=3, image_size=32, num_classes=10, fake=True, **options)  # type: ignore[arg-type]


def test_the_data_take_them_unless_the_user_said_how() -> None:
    plain = data()
    (line,) = plain.preprocess_as(*IMAGENET, 32)
    assert (tuple(plain.mean), tuple(plain.std)) == IMAGENET
    assert line == "images are normalised as for these weights: mean 0.485, 0.456, 0.406, spread 0.229, 0.224, 0.225"
    own = data(mean=[0.5] * 3, std=[0.25] * 3)
    (line,) = own.preprocess_as(*IMAGENET, 32)
    assert (list(own.mean), list(own.std)) == ([0.5] * 3, [0.25] * 3)
    assert line.startswith("images are normalised by data.mean and data.std, 0.500, 0.500, 0.500 and 0.250")
    assert line.endswith("for these weights it was mean 0.485, 0.456, 0.406, spread 0.229, 0.224, 0.225")
    assert data(mean=IMAGENET[0], std=IMAGENET[1]).preprocess_as(*IMAGENET, 32) == []
    assert "data.image_size is 32" in data().preprocess_as(*IMAGENET, 224)[-1]

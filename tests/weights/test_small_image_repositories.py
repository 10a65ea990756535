"""Repositories for small images, their networks built anew by the names that their files have."""

from collections.abc import Callable

import pytest
import torch
from helpers.weights import assert_equal_logits, assert_whole, randomised, refuses
from torch import Tensor, nn

from torchatlas.models.densenet import DenseNet
from torchatlas.models.preact_resnet import PreActResNet
from torchatlas.models.resnet import ResNet
from torchatlas.models.resnet_cifar import ResNetCIFAR
from torchatlas.models.vgg import VGG
from torchatlas.models.wide_resnet import WideResNet
from torchatlas.weights import load_weights
from torchatlas.weights.kuangliu import SOURCE as KUANGLIU

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


# What is refused


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

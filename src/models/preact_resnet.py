"""Pre-activation residual network.

He, Zhang, Ren and Sun 2016, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027. Batch normalisation and
ReLU come before each convolution instead of after it (figure 4e), so that nothing lies between one residual unit and
the next (eq. 3), and a deep unit's input is that of any shallower one plus a sum of residuals (eq. 4):

    x_{l+1} = x_l + F(x_l)        x_L = x_l + sum of F(x_i) for i from l to L-1

The first and the last unit are special (appendix): the first activation comes before the network's first unit splits
into two paths, and an activation follows its last unit. Where a unit changes the shape, its shortcut is a 1x1
convolution of the activated input.

Two networks of the literature: that of the paper for 32x32 images (ResNet-164 and 1001: bottlenecks, three groups of
equal depth, the first of 16 channels), and kuangliu's PreActResNet18 (pytorch-cifar: basic blocks, four groups of two,
the first of 64 channels), which configs/model/preact_resnet18.yaml builds.

Differs from kuangliu's code, as the paper does: that code has no activation after the last unit (final_norm=False), and
the first unit's shortcut starts before the unit's activation (activate_first=False). With both, its state dicts give
the same logits under other names: `linear` is `fc`, `shortcut.0` is `shortcut`, the rest begins with `features.`.
Differs from the paper: larger and smaller images are taken as well; a bottleneck downsamples in its 3x3 convolution
instead of the first 1x1, as in Facebook's fb.resnet.torch.

>>> import torch
>>> with torch.device("meta"):
...     sizes = [PreActResNet(block="basic", depths=(2, 2, 2, 2), width=64),
...              PreActResNet(block="basic", depths=(2, 2, 2, 2), width=64, final_norm=False),
...              PreActResNet(block="bottleneck", depths=(18, 18, 18), width=16)]
>>> [sum(p.numel() for p in network.parameters()) for network in sizes]
[11172170, 11171146, 1703258]
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d | None:
    """The shortcut's 1x1 convolution; None where the shape stays."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each after batch normalisation and ReLU (figure 4e)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, activate: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = projection(in_channels, width, stride)
        self.activate = activate

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        activated = self.relu(self.bn1(x))
        y: Tensor = self.conv2(self.relu(self.bn2(self.conv1(activated))))
        if self.shortcut is not None:
            y += self.shortcut(activated)
        else:
            y += activated if self.activate else x
        return y


class PreActBottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up to four times the width, each after batch normalisation and ReLU."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, activate: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = projection(in_channels, 4 * width, stride)
        self.activate = activate

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        activated = self.relu(self.bn1(x))
        y: Tensor = self.conv2(self.relu(self.bn2(self.conv1(activated))))
        y = self.conv3(self.relu(self.bn3(y)))
        if self.shortcut is not None:
            y += self.shortcut(activated)
        else:
            y += activated if self.activate else x
        return y


class PreActResNet(Classifier):
    """A 3x3 convolution, groups of pre-activation units, an activation, global average pooling, a linear classifier.

    Args:
        block: "basic" or "bottleneck".
        depths: units in each group.
        width: channels of the first group (a quarter of them, for bottlenecks); each next group has twice as many.
        final_norm: batch normalisation and ReLU after the last unit.
        activate_first: the first unit's shortcut starts after the unit's first batch normalisation and ReLU.
        in_channels: channels of the input image.
        image_size: height and width of the input image, in pixels.
        num_classes: number of logits.

    Raises:
        ValueError: an unknown block, or no groups.
    """

    convolutional = True
    heads = ("fc",)

    def __init__(
        self,
        *,
        block: Literal["basic", "bottleneck"] = "basic",
        depths: Sequence[int] = (2, 1, 1),
        width: int = 8,
        final_norm: bool = True,
        activate_first: bool = True,
        in_channels: int = 3,
        image_size: int = 32,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        blocks: dict[str, type[PreActBlock] | type[PreActBottleneck]] = {
            "basic": PreActBlock,
            "bottleneck": PreActBottleneck,
        }
        if block not in blocks:
            raise ValueError(f"PreActResNet has the blocks basic and bottleneck, not {block!r}")
        if not depths or min(depths) < 1:
            raise ValueError(f"PreActResNet has at least one unit in each group, got depths={list(depths)}")
        self.in_channels, self.image_size = in_channels, image_size

        self.features = nn.Sequential()
        self.features.add_module("conv1", nn.Conv2d(in_channels, width, 3, padding=1, bias=False))
        channels, found = width, []
        for i, depth in enumerate(depths):
            group = nn.Sequential()
            for j in range(depth):
                stride = 2 if i > 0 and j == 0 else 1
                group.append(blocks[block](channels, width * 2**i, stride, activate_first and i == j == 0))
                channels = width * 2**i * blocks[block].expansion
            self.features.add_module(f"layer{i + 1}", group)
            found.append((f"features.layer{i + 1}", channels, 2**i))
        if final_norm:
            self.features.add_module("bn", nn.BatchNorm2d(channels))
            self.features.add_module("relu", nn.ReLU(inplace=True))
            found[-1] = ("features.relu", *found[-1][1:])
        self.fc = nn.Linear(channels, num_classes)
        self.num_features, self.feature_info = channels, FeatureInfo(*found)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al. 2015, arXiv:1502.01852, section 2.2, fan-out
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.init_head(self.fc)

    def init_head(self, head: nn.Linear) -> None:
        nn.init.zeros_(head.bias)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        features: Tensor = self.features(x)
        return features

    def forward_head(self, x: Float[Tensor, "b d h w"], pre_logits: bool = False) -> Float[Tensor, "b k"]:
        x = x.mean((2, 3))
        return x if pre_logits else self.fc(x)

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.in_channels, self.image_size, self.image_size),)

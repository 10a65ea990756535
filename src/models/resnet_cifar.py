"""Residual network for 32x32 images (ResNet-20, 32, 44, 56 and 110), and its plain counterpart.

He, Zhang, Ren and Sun 2015, "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 4.2. A 3x3
convolution, three groups of n blocks with w, 2w and 4w channels (w = 16) on features of 32, 16 and 8 pixels, global
average pooling and a linear classifier: 6n + 2 layers. A block has two 3x3 convolutions, F, and

    y = ReLU(F(x) + s(x))

with s one of

    identity     option A: where the shape changes, every second pixel of x and zeros as further channels; no parameters
    projection   option B: there a 1x1 convolution and batch normalisation
    none         s = 0: the plain network, whose training error grows with depth (figure 6, left)

The paper does not say where the zeros go. Here half of them come before and half after the channels of x, as in
akamaster's pytorch_resnet_cifar10, whose weights give the same logits once its `linear` is named `fc`.

Differs from the paper: larger and smaller images are taken as well.

>>> import torch
>>> with torch.device("meta"):
...     sizes = [ResNetCIFAR(depth=depth, width=16) for depth in (20, 32, 44, 56, 110)]
...     sizes += [ResNetCIFAR(depth=20, width=16, shortcut=s) for s in ("projection", "none")]
>>> [sum(p.numel() for p in network.parameters()) for network in sizes]
[269722, 464154, 658586, 853018, 1727962, 272474, 269722]
"""

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo

Shortcut = Literal["identity", "projection", "none"]


class ZeroPadding(nn.Module):
    """Option A: every `stride`-th pixel of x, between `channels` maps of zeros on either side."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.channels, self.channels))

    def extra_repr(self) -> str:
        return f"channels={self.channels}, stride={self.stride}"


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the chosen shortcut."""

    def __init__(self, in_channels: int, width: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module | None
        if shortcut == "none":
            self.shortcut = None
        elif stride == 1 and in_channels == width:
            self.shortcut = nn.Identity()
        elif shortcut == "identity":
            self.shortcut = ZeroPadding((width - in_channels) // 2, stride)
        else:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.shortcut is not None:
            residual += self.shortcut(x)
        y: Tensor = self.relu(residual)
        return y


class ResNetCIFAR(Classifier):
    """A 3x3 convolution, three groups of basic blocks, global average pooling and a linear classifier (section 4.2).

    Args:
        depth: number of layers, 6n + 2 for n blocks in each group.
        width: channels of the first group; the next two have twice and four times as many. The paper has 16.
        shortcut: "identity" (option A), "projection" (option B), or "none" for the plain network.
        in_channels: channels of the input image.
        image_size: height and width of the input image, in pixels.
        num_classes: number of logits.

    Raises:
        ValueError: a depth that is not 6n + 2, an odd width, or an unknown shortcut.
    """

    convolutional = True
    heads = ("fc",)

    def __init__(
        self,
        *,
        depth: int = 8,
        width: int = 8,
        shortcut: Shortcut = "identity",
        in_channels: int = 3,
        image_size: int = 32,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if shortcut not in ("identity", "projection", "none"):
            raise ValueError(f"ResNetCIFAR has the shortcuts identity, projection and none, not {shortcut!r}")
        n, rest = divmod(depth - 2, 6)
        if n < 1 or rest:
            raise ValueError(
                f"ResNetCIFAR has 6n + 2 layers: take depth={6 * max(round((depth - 2) / 6), 1) + 2}, not {depth}"
            )
        if shortcut == "identity" and width % 2:
            raise ValueError(f"half of the zero channels go on either side: take width={width + 1}, not {width}")
        self.in_channels, self.image_size = in_channels, image_size
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

        channels, groups = width, []
        for i in range(3):
            group = nn.Sequential()
            for j in range(n):
                stride = 2 if i > 0 and j == 0 else 1
                group.append(BasicBlock(channels, width * 2**i, stride, shortcut))
                channels = width * 2**i
            groups.append(group)
        self.layer1, self.layer2, self.layer3 = groups
        self.fc = nn.Linear(channels, num_classes)
        self.num_features = channels
        self.feature_info = FeatureInfo(*((f"layer{i + 1}", width * 2**i, 2**i) for i in range(3)))

        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al. 2015, arXiv:1502.01852, section 2.2, fan-out
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self, x: Float[Tensor, "b c h w"]) -> Iterator[Tensor]:
        """What each of the three groups gives."""
        yield (x := self.layer1(self.relu(self.bn1(self.conv1(x)))))
        yield (x := self.layer2(x))
        yield self.layer3(x)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        x = self.relu(self.bn1(self.conv1(x)))
        features: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return features

    def forward_head(self, x: Float[Tensor, "b d h w"], pre_logits: bool = False) -> Float[Tensor, "b k"]:
        x = x.mean((2, 3))
        return x if pre_logits else self.fc(x)

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.in_channels, self.image_size, self.image_size),)

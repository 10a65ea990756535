"""MobileNetV2.

Sandler, Howard, Zhu, Zhmoginov and Chen 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
arXiv:1801.04381. A block (table 1) expands k channels to tk, filters each of them by itself, and projects
them to k' channels without a non-linearity (the linear bottleneck, section 3.2):

    F(x) = P(ReLU6(D(ReLU6(E(x)))))        y = F(x) + x where stride is 1 and k = k'

with E and P 1x1 convolutions and D a 3x3 depthwise one, each followed by batch normalisation. The shortcut is
between the thin ends of blocks, hence inverted residual (section 3.3). The whole network is table 2.

Differs from the paper: weights start as in torchvision, convolutions from N(0, 2 / fan_out) (He et al. 2015,
arXiv:1502.01852, section 2.2) and the classifier from N(0, 0.01²), and there is a dropout of 0.2 in front of
the classifier. Channels times `width` are rounded to multiples of 8, as in the authors' code and torchvision.
Modules carry torchvision's names, so that its state dicts load as they are.

Images under 64 pixels get the small stem: the first convolution and the second stage have stride 1 instead
of 2, so that 32x32 ends in 4x4 features and not 1x1. Common CIFAR ports do the same.

>>> import torch
>>> with torch.device("meta"):
...     sizes = [MobileNetV2(depths=(1, 2, 3, 4, 3, 3, 1), width=1.0, num_classes=1000, image_size=224),
...              MobileNetV2(depths=(1, 2, 3, 4, 3, 3, 1), width=1.4, num_classes=1000, image_size=224),
...              MobileNetV2(depths=(1, 2, 3, 4, 3, 3, 1), width=1.0, num_classes=10, image_size=32)]
>>> [sum(p.numel() for p in network.parameters()) for network in sizes]
[3504872, 6108776, 2236682]
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo

# Table 2: expansion factor t, channels c and stride s of each stage; the repetitions n are `depths`.
STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 2), (6, 64, 2), (6, 96, 1), (6, 160, 2), (6, 320, 1))
LAST = (0, 1, 2, 4, 6)  # of these the last of each stride


def rounded(channels: float) -> int:
    """The nearest multiple of 8 that is at least 8 and takes away at most a tenth."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


class ConvBNReLU(nn.Sequential):
    """Convolution, batch normalisation and ReLU6."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    """The block of table 1; without E where the expansion factor is 1."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        width = in_channels * expansion
        self.shortcut = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            *([ConvBNReLU(in_channels, width, 1)] if expansion != 1 else []),
            ConvBNReLU(width, width, 3, stride, groups=width),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


class MobileNetV2(Classifier):
    """A convolution, seven stages of inverted residuals, a 1x1 convolution and a linear classifier (table 2).

    Args:
        depths: blocks in each of the seven stages, n of table 2.
        width: factor of all channels (section 4), but never less than 1 for the last convolution.
        dropout: probability with which an input of the classifier is zeroed in training.
        in_channels: channels of the input image.
        image_size: height and width of the input image, in pixels; under 64 it selects the small stem.
        num_classes: number of logits.

    Raises:
        ValueError: not seven depths.
    """

    convolutional = True
    heads: tuple[str, ...] = ("classifier.1",)

    def __init__(
        self,
        *,
        depths: Sequence[int] = (1, 2, 1, 1, 1, 1, 1),
        width: float = 0.25,
        dropout: float = 0.0,
        in_channels: int = 3,
        image_size: int = 32,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if len(depths) != len(STAGES):
            raise ValueError(f"MobileNetV2 has seven stages of blocks, got depths={list(depths)}")
        self.in_channels, self.image_size = in_channels, image_size
        self.small_stem = image_size < 64

        channels, reduction, found = rounded(32 * width), 1 if self.small_stem else 2, []
        self.features = nn.Sequential(ConvBNReLU(in_channels, channels, 3, stride=1 if self.small_stem else 2))
        for i, ((expansion, published, stride), depth) in enumerate(zip(STAGES, depths, strict=True)):
            halves = stride == 2 and not (self.small_stem and i == 1)
            reduction *= 2 if halves else 1
            for j in range(depth):
                out_channels = rounded(published * width)
                self.features.append(InvertedResidual(channels, out_channels, expansion, 2 if halves and j == 0 else 1))
                channels = out_channels
            if i in LAST:
                found.append((f"features.{len(self.features) - 1}", channels, reduction))
        last = rounded(1280 * max(1.0, width))
        self.features.append(ConvBNReLU(channels, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        self.num_features, self.feature_info = last, FeatureInfo(*found)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                self.init_head(module)

    def init_head(self, head: nn.Linear) -> None:
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        features: Tensor = self.features(x)
        return features

    def forward_head(self, x: Float[Tensor, "b d h w"], pre_logits: bool = False) -> Float[Tensor, "b k"]:
        x = x.mean((2, 3))
        values: Tensor = self.classifier[:-1](x) if pre_logits else self.classifier(x)
        return values

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.in_channels, self.image_size, self.image_size),)

    def extra_repr(self) -> str:
        if self.small_stem:
            return f"small stem (two strides of 1 instead of 2) for images of {self.image_size} pixels"
        return f"ImageNet stem (stride 2) for images of {self.image_size} pixels"

"""EfficientNet.

Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", arXiv:1905.11946. Depth,
width and resolution grow together with one coefficient phi (eq. 3):

    depth d = alpha^phi    width w = beta^phi    resolution r = gamma^phi    alpha beta^2 gamma^2 = 2 (about)

with alpha = 1.2, beta = 1.1, gamma = 1.15 (section 4). B0 is phi = 0 (table 1); the sizes of B1 to B7 are rounded, and
are those of the authors' code: d and w are `depth` and `width`. Numbers of blocks are rounded up, channels to the
nearest multiple of 8 that is not under 90 % of the exact value.

The block is the inverted residual of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) with squeeze and excitation
(Hu et al. 2017, arXiv:1709.01507) after the depthwise convolution; SiLU is the activation. In training, the residual
of block i of n, counted from 0, is left out with probability r i / n (Huang et al. 2016, arXiv:1603.09382); r = 0.2 in
section 5.2.

Modules carry torchvision's names, so that its state dicts load as they are. Differs from the paper, as torchvision
does: padding is the same on all sides, and batch normalisation of B0 to B4 has epsilon 1e-5 and momentum 0.1 where the
authors' code has 1e-3 and 0.01, which `norm_eps` and `norm_momentum` are in B5 to B7; torchvision's images for B2 have
288 pixels, those of the authors' code 260.

Images under 64 pixels get the small form: the stem and the first block of stage 3 (24 channels in B0) have stride 1
instead of 2, so that a 32x32 image has 4x4 features after the last stage instead of 1x1.

>>> import torch
>>> with torch.device("meta"):
...     sizes = [EfficientNet(width=1.0, depth=1.0, num_classes=1000, image_size=224),
...              EfficientNet(width=1.4, depth=1.8, num_classes=1000, image_size=380),
...              EfficientNet(width=2.0, depth=3.1, num_classes=1000, image_size=600),
...              EfficientNet(width=1.0, depth=1.0, num_classes=10, image_size=32)]
>>> [sum(p.numel() for p in network.parameters()) for network in sizes]
[5288548, 19341616, 66347960, 4020358]
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo
from .resnet import StochasticDepth

# Stages 2 to 8 of table 1: expansion, kernel size, stride of the first block, channels, blocks.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)

LAST = (0, 1, 2, 4, 6)  # of these the last of each stride


def multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8, at least 8 and not under 90 % of `channels`."""
    rounded = max(8, math.floor(channels / 8 + 0.5) * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def convolution(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution that keeps the size at stride 1, batch normalisation and SiLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, (kernel_size - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.SiLU(inplace=True),
    )


class SqueezeExcitation(nn.Module):
    """x sigmoid(W_2 SiLU(W_1 mean(x))), the mean over pixels (Hu et al. 2017, eq. 2 to 4, there with ReLU)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.activation = nn.SiLU(inplace=True)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        scale: Tensor = self.fc2(self.activation(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * scale.sigmoid()


class MBConv(nn.Module):
    """1x1 up, depthwise, squeeze and excitation, 1x1 down without activation; plus x where the shape stays."""

    def __init__(
        self, in_channels: int, out_channels: int, *, expansion: int, kernel_size: int, stride: int, drop: float
    ) -> None:
        super().__init__()
        inner = expansion * in_channels
        self.block = nn.Sequential()
        if expansion > 1:
            self.block.append(convolution(in_channels, inner, 1))
        self.block.append(convolution(inner, inner, kernel_size, stride, groups=inner))
        self.block.append(SqueezeExcitation(inner, max(1, in_channels // 4)))
        self.block.append(convolution(inner, out_channels, 1)[:2])
        self.residual = stride == 1 and in_channels == out_channels
        self.stochastic_depth = StochasticDepth(drop)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        y: Tensor = self.block(x)
        if self.residual:
            y = self.stochastic_depth(y)
            y += x
        return y


class EfficientNet(Classifier):
    """A stem, seven stages of MBConv blocks, a 1x1 convolution, global average pooling, a linear classifier (table 1).

    Args:
        width: factor on the channels of B0.
        depth: factor on the numbers of blocks of B0.
        dropout: probability with which a feature of the classifier is set to zero in training.
        stochastic_depth: r, the rate with which residuals are left out in training; block i of n has r i / n.
        norm_eps: epsilon of batch normalisation.
        norm_momentum: the share of a new batch in the running statistics of batch normalisation.
        in_channels: channels of the input image.
        image_size: height and width of the input image, in pixels; under 64 it selects the small form.
        num_classes: number of logits.

    Raises:
        ValueError: width or depth is not positive.
    """

    convolutional = True
    heads = ("classifier.1",)

    def __init__(
        self,
        *,
        width: float = 0.05,
        depth: float = 0.25,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        in_channels: int = 3,
        image_size: int = 32,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if width <= 0 or depth <= 0:
            raise ValueError(f"EfficientNet's width and depth are positive factors, got {width=} and {depth=}")
        self.in_channels, self.image_size = in_channels, image_size
        self.small_form = image_size < 64

        channels, reduction, found = multiple_of_8(32 * width), 1 if self.small_form else 2, []
        self.features = nn.Sequential(convolution(in_channels, channels, 3, 1 if self.small_form else 2))
        depths = [math.ceil(blocks * depth) for *_, blocks in STAGES]
        number = 0
        for i, (expansion, kernel_size, stride, out_channels, _) in enumerate(STAGES):
            stage = nn.Sequential()
            stride = 1 if self.small_form and i == 1 else stride
            for j in range(depths[i]):
                block = MBConv(
                    channels,
                    multiple_of_8(out_channels * width),
                    expansion=expansion,
                    kernel_size=kernel_size,
                    stride=1 if j > 0 else stride,
                    drop=stochastic_depth * number / sum(depths),
                )
                stage.append(block)
                channels = multiple_of_8(out_channels * width)
                number += 1
            self.features.append(stage)
            reduction *= stride
            if i in LAST:
                found.append((f"features.{i + 1}", channels, reduction))
        self.features.append(convolution(channels, 4 * channels, 1))
        self.num_features, self.feature_info = 4 * channels, FeatureInfo(*found)
        self.classifier = nn.Sequential(nn.Dropout(dropout, inplace=True), nn.Linear(4 * channels, num_classes))

        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al. 2015, arXiv:1502.01852, section 2.2, fan-out
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = norm_eps, norm_momentum
            elif isinstance(module, nn.Linear):
                self.init_head(module)

    def init_head(self, head: nn.Linear) -> None:
        """As the authors' code."""
        nn.init.uniform_(head.weight, -(head.out_features**-0.5), head.out_features**-0.5)
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
        if self.small_form:
            return f"small form (stem and stage 3 of stride 1) for images of {self.image_size} pixels"
        return f"ImageNet form for images of {self.image_size} pixels"

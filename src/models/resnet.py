"""Residual network (ResNet).

He, Zhang, Ren and Sun 2015, "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
A block learns the residual F of its input (eq. 1, and eq. 2 where the shape changes):

    y = ReLU(F(x) + x)        y = ReLU(F(x) + W_s x)

with F two 3x3 convolutions (figure 5, left) or a 1x1-3x3-1x1 bottleneck (figure 5, right), each
followed by batch normalisation. Four groups of blocks; each but the first halves the image.

Two later papers change the bottleneck's 3x3 convolution and nothing else. Zagoruyko and Komodakis 2016, "Wide
Residual Networks", arXiv:1605.07146, table 8, make it twice as wide (wide_resnet50_2: widening=2). Xie, Girshick,
Dollar, Tu and He 2016, "Aggregated Residual Transformations for Deep Neural Networks", arXiv:1611.05431, figure 3c,
also divide it into 32 groups (resnext50_32x4d: widening=2, groups=32). Huang, Sun, Liu, Sedra and Weinberger 2016,
"Deep Networks with Stochastic Depth", arXiv:1603.09382, leave out the residual F of block l of L in training with
probability r l / L (eq. 4).

Differs from the paper, as torchvision does: a bottleneck downsamples in its 3x3 convolution instead of
the first 1x1 ("ResNet v1.5"). Modules carry torchvision's names, so that its state dicts load as they are.

Images under 64 pixels get the small stem: one 3x3 convolution of stride 1 and no pooling, in place of the
7x7 convolution of stride 2 and the 3x3 max pooling, which would leave a 32x32 image with 1x1 features
after the last group.

>>> import torch
>>> with torch.device("meta"):
...     sizes = [ResNet(block="basic", depths=(2, 2, 2, 2), width=64, num_classes=1000, image_size=224),
...              ResNet(block="bottleneck", depths=(3, 4, 6, 3), width=64, num_classes=1000, image_size=224),
...              ResNet(block="bottleneck", depths=(3, 4, 6, 3), width=64, widening=2, groups=32, num_classes=1000,
...                     image_size=224),
...              ResNet(block="basic", depths=(2, 2, 2, 2), width=64, num_classes=10, image_size=32)]
>>> [sum(p.numel() for p in network.parameters()) for network in sizes]
[11689512, 25557032, 25028904, 11173962]
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo


class StochasticDepth(nn.Module):
    """b F(x) with b from a Bernoulli distribution for each sample in training; all of F in evaluation.

    Huang et al. 2016, eq. 2. F is divided by its probability of survival in training, where the paper multiplies by it
    in evaluation (eq. 5): the expected value is the same, and evaluation needs nothing.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"the rate of stochastic depth must be from 0 to under 1, not {rate}")
        self.rate = rate

    def forward(self, residual: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if not self.training or self.rate == 0:
            return residual
        shape = (len(residual), *(1,) * (residual.ndim - 1))
        b = torch.empty(shape, dtype=residual.dtype, device=residual.device).bernoulli_(1 - self.rate)
        return residual * (b / (1 - self.rate))

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3g}"


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """W_s of eq. 2, a 1x1 convolution (option B); None where x itself has the right shape (eq. 1)."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (figure 5, left)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, drop: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, width, stride)
        self.drop = StochasticDepth(drop)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.drop(self.bn2(self.conv2(residual)))
        y: Tensor = self.relu(residual + (x if self.downsample is None else self.downsample(x)))
        return y


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up to four times the width (figure 5, right)."""

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        drop: float = 0.0,
        *,
        widening: int = 1,
        groups: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        inner = widening * width
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, dilation, dilation, groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, 4 * width, stride)
        self.drop = StochasticDepth(drop)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.drop(self.bn3(self.conv3(residual)))
        y: Tensor = self.relu(residual + (x if self.downsample is None else self.downsample(x)))
        return y


class ResNet(Classifier):
    """A stem, four groups of residual blocks, global average pooling and a linear classifier (table 1).

    Args:
        block: "basic" (ResNet-18 and 34) or "bottleneck" (50, 101 and 152).
        depths: blocks in each of the four groups.
        width: channels of the first group; each next group has twice as many.
        widening: channels of a bottleneck's 3x3 convolution, as a multiple of the group's width.
        groups: into which a bottleneck's 3x3 convolution is divided ("cardinality" of ResNeXt).
        stochastic_depth: r, the probability with which the last block's residual is left out in training.
        dilated: how many of the last groups dilate in place of striding, 0 to 3; for bottlenecks.
        in_channels: channels of the input image.
        image_size: height and width of the input image, in pixels; under 64 it selects the small stem.
        num_classes: number of logits.

    Raises:
        ValueError: an unknown block, not four depths, more than three dilated groups, or widening, groups or dilation
            of basic blocks.
    """

    convolutional = True
    heads = ("fc",)

    def __init__(
        self,
        *,
        block: Literal["basic", "bottleneck"] = "basic",
        depths: Sequence[int] = (1, 1, 1, 1),
        width: int = 8,
        widening: int = 1,
        groups: int = 1,
        stochastic_depth: float = 0.0,
        dilated: int = 0,
        in_channels: int = 3,
        image_size: int = 32,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if block not in ("basic", "bottleneck"):
            raise ValueError(f"ResNet has the blocks basic and bottleneck, not {block!r}")
        if block == "basic" and (widening, groups, dilated) != (1, 1, 0):
            raise ValueError(f"{widening=}, {groups=} and {dilated=} are for block=bottleneck")
        if not 0 <= dilated <= 3:
            raise ValueError(f"from none to three of the groups can dilate in place of striding, not {dilated=}")
        if len(depths) != 4:
            raise ValueError(f"ResNet has four groups of blocks, got depths={list(depths)}")
        self.in_channels, self.image_size = in_channels, image_size
        self.small_stem = image_size < 64
        if self.small_stem:
            self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        else:
            self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if self.small_stem else nn.MaxPool2d(3, stride=2, padding=1)

        channels, layers, number, dilation = width, [], 0, 1
        stride = 1 if self.small_stem else 4
        found = [("relu", width, max(1, stride // 2))]
        for i, depth in enumerate(depths):
            layer = nn.Sequential()
            strides = i > 0 and i < 4 - dilated
            stride *= 2 if strides else 1
            for j in range(depth):
                step = 2 if strides and j == 0 else 1
                number += 1
                drop = stochastic_depth * number / sum(depths)  # Huang et al. 2016, eq. 4
                made: BasicBlock | Bottleneck
                if block == "basic":
                    made = BasicBlock(channels, width * 2**i, step, drop)
                else:
                    wide = {"widening": widening, "groups": groups, "dilation": dilation}
                    made = Bottleneck(channels, width * 2**i, step, drop, **wide)
                if i >= 4 - dilated and j == 0:  # the block that would stride still has the pixels of the last group
                    dilation *= 2
                channels = width * 2**i * made.expansion
                layer.append(made)
            layers.append(layer)
            found.append((f"layer{i + 1}", channels, stride))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.fc = nn.Linear(channels, num_classes)
        self.num_features, self.feature_info = channels, FeatureInfo(*found)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al. 2015, arXiv:1502.01852, section 2.2, fan-out
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self, x: Float[Tensor, "b c h w"]) -> Iterator[Tensor]:
        """What the stem gives before its pooling, and each of the four groups."""
        yield (x := self.relu(self.bn1(self.conv1(x))))
        yield (x := self.layer1(self.maxpool(x)))
        yield (x := self.layer2(x))
        yield (x := self.layer3(x))
        yield self.layer4(x)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        features: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return features

    def forward_head(self, x: Float[Tensor, "b d h w"], pre_logits: bool = False) -> Float[Tensor, "b k"]:
        x = x.mean((2, 3))
        return x if pre_logits else self.fc(x)

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.in_channels, self.image_size, self.image_size),)

    def extra_repr(self) -> str:
        if self.small_stem:
            return f"small stem (3x3, stride 1, no pooling) for images of {self.image_size} pixels"
        return f"ImageNet stem (7x7, stride 2, max pooling) for images of {self.image_size} pixels"

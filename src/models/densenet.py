"""Densely connected network (DenseNet-BC).

Huang, Liu, van der Maaten and Weinberger 2016, "Densely Connected Convolutional Networks", arXiv:1608.06993. A layer
of a dense block sees the outputs of all layers before it (eq. 2):

    x_l = H_l([x_0, x_1, ..., x_{l-1}])

with [...] the concatenation of channels and H_l two convolutions, each after batch normalisation and ReLU: a 1x1 to
4k channels (the bottleneck, "B") and a 3x3 to k channels, k being the growth rate. Between two blocks, a transition
halves the channels with a 1x1 convolution ("C", theta = 0.5) and the image with 2x2 average pooling (table 1).

Modules carry torchvision's names, so that its state dicts load as they are; as torchvision does, convolutions start
with fan-in, where the paper's code has fan-out. Differs from the paper, as torchvision does: dropout is only after the
3x3 convolutions, instead of after each convolution but the first (section 4.2).

Images under 64 pixels get the paper's stem for CIFAR (section 3, "Implementation Details"): one 3x3 convolution of
stride 1, without normalisation and pooling, in place of the 7x7 convolution of stride 2, batch normalisation, ReLU and
the 3x3 max pooling. The paper's own networks for CIFAR have three blocks, as DenseNet-BC (k = 12) of 100 layers below.

>>> import torch
>>> with torch.device("meta"):
...     sizes = [
...         DenseNet(growth=32, depths=(6, 12, 24, 16), width=64, num_classes=1000, image_size=224),
...         DenseNet(growth=48, depths=(6, 12, 36, 24), width=96, num_classes=1000, image_size=224),
...         DenseNet(growth=32, depths=(6, 12, 24, 16), width=64, num_classes=10, image_size=32),
...         DenseNet(growth=12, depths=(16, 16, 16), width=24, num_classes=10, image_size=32),
...     ]
>>> [sum(p.numel() for p in network.parameters()) for network in sizes]
[7978856, 28681000, 6956298, 769162]
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo


class DenseLayer(nn.Module):
    """[x, H(x)], where x is the concatenation of all that came before (eq. 2)."""

    def __init__(self, in_channels: int, growth: int, bn_size: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, bn_size * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(bn_size * growth, growth, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        new = self.conv1(self.relu1(self.norm1(x)))
        new = self.dropout(self.conv2(self.relu2(self.norm2(new))))
        return torch.cat((x, new), 1)


class DenseNet(Classifier):
    """A stem, dense blocks with transitions between them, global average pooling and a linear classifier (table 1).

    Args:
        growth: k, the channels that each dense layer adds.
        depths: dense layers in each block; four blocks in table 1, three in the paper's networks for CIFAR.
        width: channels of the stem; the paper has 2k.
        bn_size: channels of a layer's 1x1 convolution, as a multiple of k; the paper has 4.
        dropout: probability with which a value that a dense layer adds is set to zero in training.
        in_channels: channels of the input image.
        image_size: height and width of the input image, in pixels; under 64 it selects the small stem.
        num_classes: number of logits.

    Raises:
        ValueError: not one to four blocks, or an image that the transitions pool to nothing.
    """

    convolutional = True
    heads = ("classifier",)

    def __init__(
        self,
        *,
        growth: int = 8,
        depths: Sequence[int] = (2, 1, 1, 1),
        width: int = 16,
        bn_size: int = 4,
        dropout: float = 0.0,
        in_channels: int = 3,
        image_size: int = 32,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if not 1 <= len(depths) <= 4:
            raise ValueError(f"DenseNet has one to four dense blocks, got depths={list(depths)}")
        smallest = 2 ** (len(depths) - 1)
        if image_size < smallest:
            raise ValueError(
                f"DenseNet's transition{len(depths) - 1} pools {image_size}x{image_size} pixels to nothing: "
                f"take image_size={smallest} or more"
            )
        self.in_channels, self.image_size = in_channels, image_size
        self.small_stem = image_size < 64
        self.features = nn.Sequential()
        if self.small_stem:
            self.features.add_module("conv0", nn.Conv2d(in_channels, width, 3, padding=1, bias=False))
        else:
            self.features.add_module("conv0", nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False))
            self.features.add_module("norm0", nn.BatchNorm2d(width))
            self.features.add_module("relu0", nn.ReLU(inplace=True))
            self.features.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))

        channels, stride = width, 1 if self.small_stem else 4
        found = [("features.conv0" if self.small_stem else "features.relu0", width, max(1, stride // 2))]
        for i, depth in enumerate(depths, 1):
            block = nn.Sequential()
            for j in range(1, depth + 1):
                block.add_module(f"denselayer{j}", DenseLayer(channels, growth, bn_size, dropout))
                channels += growth
            self.features.add_module(f"denseblock{i}", block)
            if i < len(depths):
                found.append((f"features.denseblock{i}", channels, stride))
                transition = nn.Sequential()
                transition.add_module("norm", nn.BatchNorm2d(channels))
                transition.add_module("relu", nn.ReLU(inplace=True))
                transition.add_module("conv", nn.Conv2d(channels, channels // 2, 1, bias=False))
                transition.add_module("pool", nn.AvgPool2d(2))
                self.features.add_module(f"transition{i}", transition)
                channels, stride = channels // 2, 2 * stride
        self.features.add_module(f"norm{len(depths) + 1}", nn.BatchNorm2d(channels))
        self.relu = nn.ReLU(inplace=True)
        self.classifier = nn.Linear(channels, num_classes)
        self.num_features, self.feature_info = channels, FeatureInfo(*found, ("relu", channels, stride))

        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al. 2015, arXiv:1502.01852, section 2.2, fan-in
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        self.init_head(self.classifier)

    def init_head(self, head: nn.Linear) -> None:
        nn.init.zeros_(head.bias)

    def stages(self, x: Float[Tensor, "b c h w"]) -> Iterator[Tensor]:
        """What the stem gives before its pooling, and each dense block, the last behind normalisation and ReLU."""
        ends = self.feature_info.module_name()
        for name, layer in self.features.named_children():
            x = layer(x)
            if f"features.{name}" in ends:
                yield x
        yield self.relu(x)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        features: Tensor = self.relu(self.features(x))
        return features

    def forward_head(self, x: Float[Tensor, "b d h w"], pre_logits: bool = False) -> Float[Tensor, "b k"]:
        x = x.mean((2, 3))
        return x if pre_logits else self.classifier(x)

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.in_channels, self.image_size, self.image_size),)

    def extra_repr(self) -> str:
        if self.small_stem:
            return f"small stem (3x3, stride 1, no pooling) for images of {self.image_size} pixels"
        return f"ImageNet stem (7x7, stride 2, max pooling) for images of {self.image_size} pixels"

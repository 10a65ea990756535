"""Wide residual network (WRN-depth-k).

Zagoruyko and Komodakis 2016, "Wide Residual Networks", arXiv:1605.07146. The pre-activation residual network for 32x32
images with k times the channels in every block (table 1):

    conv1 16    conv2 16k    conv3 32k    conv4 64k        (32, 32, 16 and 8 pixels)

with N = (depth - 4) / 6 blocks B(3,3) in each of the last three groups. A block keeps dropout between its two
convolutions, after the ReLU (figure 1d, section 2.4):

    x_{l+1} = x_l + conv(dropout(ReLU(BN(conv(ReLU(BN(x_l)))))))

Where a block changes the number of channels, its shortcut is a 1x1 convolution of ReLU(BN(x_l)). Batch normalisation
and ReLU follow the last block.

Differs from the paper: larger and smaller images are taken as well. The wide bottleneck of table 8, for ImageNet, is
resnet.py's `widening`.

>>> import torch
>>> with torch.device("meta"):
...     sizes = [WideResNet(depth=28, widening=10), WideResNet(depth=40, widening=4), WideResNet(depth=16, widening=8)]
>>> [sum(p.numel() for p in network.parameters()) for network in sizes]
[36479194, 8949210, 10961370]
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after batch normalisation and ReLU, with dropout before the second (figure 1d)."""

    def __init__(self, in_channels: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        same = stride == 1 and in_channels == width
        self.shortcut = None if same else nn.Conv2d(in_channels, width, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        activated = self.relu(self.bn1(x))
        y: Tensor = self.conv2(self.dropout(self.relu(self.bn2(self.conv1(activated)))))
        y += x if self.shortcut is None else self.shortcut(activated)
        return y


class WideResNet(Classifier):
    """A 3x3 convolution, three groups of wide blocks, global average pooling and a linear classifier (table 1).

    Args:
        depth: number of convolutions, 6N + 4 for N blocks in each group (three are shortcuts).
        widening: k, by which the 16, 32 and 64 channels of the three groups are multiplied.
        dropout: probability with which a value between the two convolutions of a block is set to zero in training;
            the paper's runs with dropout have 0.3 on CIFAR and 0.4 on SVHN.
        in_channels: channels of the input image.
        image_size: height and width of the input image, in pixels.
        num_classes: number of logits.

    Raises:
        ValueError: a depth that is not 6N + 4.
    """

    convolutional = True
    heads = ("fc",)

    def __init__(
        self,
        *,
        depth: int = 10,
        widening: int = 1,
        dropout: float = 0.0,
        in_channels: int = 3,
        image_size: int = 32,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        n, rest = divmod(depth - 4, 6)
        if n < 1 or rest:
            raise ValueError(
                f"WideResNet has 6N + 4 layers: take depth={6 * max(round((depth - 4) / 6), 1) + 4}, not {depth}"
            )
        self.in_channels, self.image_size = in_channels, image_size
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        channels, groups = 16, []
        for i in range(3):
            width = 16 * widening * 2**i
            group = nn.Sequential()
            for j in range(n):
                group.append(WideBlock(channels, width, 2 if i > 0 and j == 0 else 1, dropout))
                channels = width
            groups.append(group)
        self.layer1, self.layer2, self.layer3 = groups
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(channels, num_classes)
        self.num_features, k = channels, 16 * widening
        self.feature_info = FeatureInfo(("layer1", k, 1), ("layer2", 2 * k, 2), ("relu", 4 * k, 4))

        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al. 2015, arXiv:1502.01852, section 2.2, fan-out
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.init_head(self.fc)

    def init_head(self, head: nn.Linear) -> None:
        nn.init.zeros_(head.bias)

    def stages(self, x: Float[Tensor, "b c h w"]) -> Iterator[Tensor]:
        """What each of the three groups gives, the last one behind normalisation and ReLU."""
        yield (x := self.layer1(self.conv1(x)))
        yield (x := self.layer2(x))
        yield self.relu(self.bn(self.layer3(x)))

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        features: Tensor = self.relu(self.bn(x))
        return features

    def forward_head(self, x: Float[Tensor, "b d h w"], pre_logits: bool = False) -> Float[Tensor, "b k"]:
        x = x.mean((2, 3))
        return x if pre_logits else self.fc(x)

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.in_channels, self.image_size, self.image_size),)

"""Residual networks for keyword spotting: res8 and res15.

Tang and Lin 2017, "Deep Residual Learning for Small-Footprint Keyword Spotting", arXiv:1710.10361, figure 1 and
table 1. A sequence of features, `t f`, is an image with one channel. After a first 3x3 convolution with ReLU, blocks of
two:

    u_i = u_(i-1) + ReLU(W_2i * BN(ReLU(W_(2i-1) * BN(u_(i-1)))))

where the first block has no BN before it; then the mean over the image and a linear classifier. All convolutions have
45 maps and no bias, batch normalisation has no scale and no shift. res8 averages over 4 frames and 3 features behind
the first convolution. res15 keeps the size: convolution i = 1, 2, ... is dilated by 2^floor((i-1)/3), and one more
follows the blocks.

Where the paper leaves the order open it is that of the authors' code, github.com/castorini/honk: ReLU before BN, and
the sum taken before BN.

>>> import torch
>>> with torch.device("meta"):
...     sizes = [SpeechResNet(depth=8, width=45, pooling=(4, 3), in_channels=40, num_classes=12),
...              SpeechResNet(depth=15, width=45, pooling=(1, 1), dilated=True, in_channels=40, num_classes=12)]
>>> [sum(p.numel() for p in network.parameters()) for network in sizes]
[110307, 237882]
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo


class ConvBlock(nn.Module):
    """BN(ReLU(W * x) + u), and the sum before BN; with no u, of the convolution alone."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm2d(width, affine=False)

    def forward(
        self, x: Float[Tensor, "b c t f"], u: Float[Tensor, "b c t f"] | None = None
    ) -> tuple[Float[Tensor, "b c t f"], Float[Tensor, "b c t f"]]:
        y = F.relu(self.conv(x))
        if u is not None:
            y = y + u
        return self.norm(y), y


class SpeechResNet(Classifier):
    """A first convolution, pooling, residual blocks, the mean and a linear classifier.

    Args:
        depth: layers with weights: the first convolution, those of the blocks, perhaps one more, and the classifier.
        width: maps of each convolution.
        dilated: whether the dilation is doubled after each three convolutions.
        pooling: frames and features over which the first convolution's maps are averaged; 1 and 1: not.
        in_channels: features of a frame.
        num_classes: number of logits.
        length: frames of an example; the network takes any number that the pooling leaves one of.

    Raises:
        ValueError: the depth leaves no block, or there are fewer features than are averaged.
    """

    convolutional = True
    heads = ("output",)

    def __init__(
        self,
        *,
        depth: int = 5,
        width: int = 8,
        dilated: bool = False,
        pooling: Sequence[int] = (4, 3),
        in_channels: int = 12,
        num_classes: int = 10,
        length: int = 16,
    ) -> None:
        super().__init__()
        if depth < 4:
            raise ValueError(f"{depth=} leaves no residual block: use at least 4")
        if len(pooling) != 2 or min(pooling) < 1:
            raise ValueError(f"pooling={list(pooling)} must be two positive numbers, of frames and of features")
        if in_channels < pooling[1]:
            raise ValueError(
                f"in_channels={in_channels} is too few for a pooling over {pooling[1]} features: use spectral "
                "features, as logmel"
            )
        self.in_channels, self.length, self.pooling = in_channels, length, tuple(pooling)
        self.conv = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(ConvBlock(width, 2 ** (i // 3) if dilated else 1) for i in range(depth - 2))
        self.output = nn.Linear(width, num_classes)
        self.num_features = width
        ends = [i for i in range(depth - 2) if i % 2 or i == depth - 3]
        self.feature_info = FeatureInfo(*((f"blocks.{i}", width, pooling[0]) for i in ends))

    def stages(self, x: Float[Tensor, "b t f"]) -> Iterator[Tensor]:
        """What each residual block gives, `b d t f`, and the one more behind them."""
        h = u = F.avg_pool2d(F.relu(self.conv(x[:, None])), self.pooling)
        for i, block in enumerate(self.blocks):
            if i % 2 == 0:
                h, _ = block(h)
            else:
                h, u = block(h, u)
            if i % 2 or i == len(self.blocks) - 1:
                yield h

    def forward_features(self, x: Float[Tensor, "b t f"]) -> Float[Tensor, "b d t2 f2"]:
        *_, last = self.stages(x)
        return last

    def forward_head(self, x: Float[Tensor, "b d t f"], pre_logits: bool = False) -> Float[Tensor, "b k"]:
        x = x.mean((2, 3))
        return x if pre_logits else self.output(x)

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b t f"]]:
        """Normal numbers, for tests, tables and graphs."""
        return (torch.randn(batch, self.length, self.in_channels),)

"""Fully convolutional network (FCN) on VGG-16.

Long, Shelhamer and Darrell 2014, "Fully Convolutional Networks for Semantic Segmentation", arXiv:1411.4038, figure 3.
VGG's linear layers become convolutions (fc6 of 7x7, fc7 of 1x1), so that a classifier slides over the image with a
stride of 32 pixels. 1x1 convolutions s score the classes, and the scores are interpolated to the image's size. FCN-16s
and FCN-8s first add, at twice the size each time, scores of the poolings before:

    f32 = s(fc7)        f16 = up2(f32) + s4(pool4)        f8 = up2(f16) + s3(pool3)

Scoring layers start from zero. Interpolations within the network are transposed convolutions that start bilinear and
are learned; the last one stays bilinear. VGG (Simonyan and Zisserman 2014, arXiv:1409.1556) should start from weights
for ImageNet: `weights=torchvision:vgg16/IMAGENET1K_V1` takes its convolutions, and its first two linear layers for fc6
and fc7. FCN-16s can start from the weights of an FCN-32s, and FCN-8s from those of an FCN-16s, as in the paper.

Differs from the paper: fc6 is padded by 3 pixels, and sides are multiples of 32, so that all scores are aligned with
the image; the authors pad the image by 100 pixels and cut the scores to fit. Interpolations repeat the outermost
scores, where zeros would weaken the answer at the border; the authors' padding keeps those outside of the image. The
last interpolation is no transposed convolution: that would compute the same with a fixed kernel, and more slowly. Such
a kernel has 21² · (2 · stride)² numbers, which wkentaro/pytorch-fcn counts as parameters. Skip connections are not
scaled down, as in the authors' later "at once" networks.

>>> import torch
>>> def count(stride):
...     with torch.device("meta"):
...         network = FCN(depths=(2, 2, 3, 3, 3), width=64, hidden=4096, stride=stride, num_classes=21)
...     return sum(p.numel() for p in network.parameters())
>>> [count(stride) for stride in (32, 16, 8)]
[134346581, 134364410, 134376863]
>>> [count(stride) + 21**2 * (2 * stride) ** 2 for stride in (32, 16, 8)]  # wkentaro/pytorch-fcn
[136152917, 134815994, 134489759]
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .vgg import VGG


class Upsampling(nn.ConvTranspose2d):
    """A transposed convolution to `factor` times the size, which starts as bilinear interpolation of each channel.

    Its kernel is (1 - |i| / factor) (1 - |j| / factor) with i and j from the kernel's centre.
    """

    def __init__(self, channels: int, factor: int) -> None:
        # 3 / 2 factor is cut off: the pixels of the repeated border, and those beyond the first pixel's centre.
        super().__init__(channels, channels, 2 * factor, factor, padding=3 * factor // 2, bias=False)
        line = 1 - ((torch.arange(2 * factor) + 0.5) / factor - 1).abs()
        with torch.no_grad():
            self.weight.zero_()
            self.weight[range(channels), range(channels)] = torch.outer(line, line)

    def forward(
        self, input: Float[Tensor, "b c h w"], output_size: list[int] | None = None
    ) -> Float[Tensor, "b c h2 w2"]:
        x = torch.cat([input[:, :, :1], input, input[:, :, -1:]], 2)
        x = torch.cat([x[:, :, :, :1], x, x[:, :, :, -1:]], 3)
        return super().forward(x, output_size)


class FCN(nn.Module):
    """VGG as a sliding classifier, with scores of earlier poolings for finer strides (figure 3).

    Args:
        stride: of the finest scores in pixels: 32, 16 or 8.
        depths: convolutions in each of VGG's five stages.
        width: channels of the first stage, 64 in the paper; each next stage has twice as many, up to eight times.
        hidden: channels of fc6 and fc7, 4096 in the paper.
        dropout: probability with which an output of these is zeroed in training.
        in_channels: channels of the input image.
        image_size: height and width of the images, in pixels. The network takes others; `fits` tells which.
        num_classes: number of logits of each pixel.

    Attributes:
        margin: 0, since the answer has the input's size.

    Raises:
        ValueError: another stride, or not five depths.
    """

    convolutional = True
    margin = 0

    def __init__(
        self,
        *,
        stride: int = 8,
        depths: Sequence[int] = (1, 1, 1, 1, 1),
        width: int = 8,
        hidden: int = 32,
        dropout: float = 0.0,
        in_channels: int = 3,
        image_size: int = 32,
        num_classes: int = 21,
    ) -> None:
        super().__init__()
        if stride not in (8, 16, 32):
            raise ValueError(f"FCN scores at a stride of 32, 16 or 8 pixels, not {stride}")
        self.stride, self.in_channels, self.image_size = stride, in_channels, image_size
        # VGG's form for ImageNet whatever the size: its poolings halve exactly.
        self.features = VGG(depths=depths, width=width, hidden=1, in_channels=in_channels, image_size=224).features
        self.fc6 = nn.Conv2d(8 * width, hidden, 7, padding=3)
        self.fc7 = nn.Conv2d(hidden, hidden, 1)
        self.dropout = nn.Dropout(dropout)
        self.score_fr = nn.Conv2d(hidden, num_classes, 1)
        heads = ["score_fr"]
        if stride < 32:
            self.upscore2, self.score_pool4 = Upsampling(num_classes, 2), nn.Conv2d(8 * width, num_classes, 1)
            heads += ["upscore2", "score_pool4"]
        if stride < 16:
            self.upscore_pool4, self.score_pool3 = Upsampling(num_classes, 2), nn.Conv2d(4 * width, num_classes, 1)
            heads += ["upscore_pool4", "score_pool3"]
        self.heads = tuple(heads)

        for name, module in self.named_children():
            if isinstance(module, nn.Conv2d):
                assert module.bias is not None
                nn.init.zeros_(module.bias)
                if name.startswith("score"):
                    nn.init.zeros_(module.weight)
                else:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """The logits of each pixel.

        Raises:
            ValueError: a side that is no multiple of 32 pixels.
        """
        size = x.shape[2:]
        for side in size:
            self._require(side)
        pools = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pools.append(x)
        x = self.dropout(F.relu(self.fc6(x), inplace=True))
        x = self.dropout(F.relu(self.fc7(x), inplace=True))
        scores: Tensor = self.score_fr(x)
        if self.stride < 32:
            scores = self.upscore2(scores) + self.score_pool4(pools[3])
        if self.stride < 16:
            scores = self.upscore_pool4(scores) + self.score_pool3(pools[2])
        return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)

    def fits(self, side: int) -> int:
        """The smallest side from `side` pixels up that the network takes."""
        return max(side + -side % 32, 32)

    def _require(self, side: int) -> None:
        n = side
        for i, layer in enumerate(self.features):
            if isinstance(layer, nn.MaxPool2d):
                if n % 2:
                    larger = self.fits(side)
                    smaller = larger - 32 or 64
                    raise ValueError(
                        f"features.{i} (MaxPool2d) gets a side of {n} pixels, which cannot be halved: use a side of "
                        f"{min(smaller, larger)} or {max(smaller, larger)} pixels in place of {side}"
                    )
                n //= 2

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared size, or the next that the network takes, for tests, tables and graphs."""
        side = self.fits(self.image_size)
        return (torch.randn(batch, self.in_channels, side, side),)

    def extra_repr(self) -> str:
        return f"scores at a stride of {self.stride} pixels, interpolated to the image's size"

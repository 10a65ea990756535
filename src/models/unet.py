"""U-Net.

Ronneberger, Fischer and Brox 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
arXiv:1505.04597, figure 1. A contracting path of two 3x3 convolutions with ReLU and a 2x2 max pooling at each level
halves the image and doubles the channels; an expansive path of up-convolutions goes back, and at each level takes
what the contracting path knew at that resolution, c:

    x_i = conv(conv(max2x2(x_{i+1})))        y_i = conv(conv([c(x_i), up(y_{i-1})]))

With `padding="valid"`, as in the paper, convolutions see no pixel outside of the image: each takes a border of one
pixel, the skip connections are cropped to what is left, and the answer is for the inner pixels alone (572 pixels
give 388), each of which is computed from whole surroundings. So tiles that overlap by `margin` pixels give exactly
the answer for the whole image (figure 2). With `padding="same"` the answer has the input's size.

Weights start from N(0, 2 / N) with N inputs of a neuron (section 3), which keeps features at unit variance where a
ReLU follows; dropout stands at the end of the contracting path (section 3.1): after the convolutions of its last
two levels, as in the network files that the authors released.

Differs from the paper: up-convolutions and the last 1x1 convolution, which no ReLU follows, start from N(0, 1 / N),
the same aim of unit variance; otherwise a new network would be surer than it can be. The released network differs
from the paper's figure too: it has a ReLU after each up-convolution, and 128 channels after the last.
The form with `padding="same", batch_norm=True` is that of milesial/Pytorch-UNet on GitHub: batch normalisation (Ioffe
and Szegedy 2015, arXiv:1502.03167) after each 3x3 convolution, which then has no bias. So is `upsampling="bilinear"`:
interpolation in place of up-convolutions, and half of the channels at the bottom and after each level of the expansive
path. Here it interpolates with `align_corners=False`, there with True, where a tile's pixels would depend on the tile's
size; with valid padding the outermost pixels, which have no neighbour to interpolate with, are cut off.

>>> import torch
>>> def count(**options):
...     with torch.device("meta"):
...         network = UNet(width=64, depth=4, **options)
...     return sum(p.numel() for p in network.parameters())
>>> count(in_channels=1, num_classes=2)
31030658
>>> [count(padding="same", batch_norm=True, upsampling=up, in_channels=3) for up in ("transposed", "bilinear")]
[31037698, 17263042]
>>> UNet(depth=4).margin
92
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions, each with ReLU, and with batch normalisation between where it is wanted."""

    def __init__(
        self, in_channels: int, middle: int, out_channels: int, *, padding: int, batch_norm: bool, dropout: float = 0.0
    ) -> None:
        super().__init__()
        for before, after in ((in_channels, middle), (middle, out_channels)):
            self.append(nn.Conv2d(before, after, 3, padding=padding, bias=not batch_norm))
            if batch_norm:
                self.append(nn.BatchNorm2d(after))
            self.append(nn.ReLU(inplace=True))
        if dropout:
            self.append(nn.Dropout(dropout))


class Bilinear(nn.Upsample):
    """Twice the size by bilinear interpolation; with `valid`, only pixels that lie between two of the input."""

    def __init__(self, *, valid: bool) -> None:
        super().__init__(scale_factor=2, mode="bilinear", align_corners=False)
        self.valid = valid

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        y = super().forward(input)
        return y[:, :, 1:-1, 1:-1] if self.valid else y


class UNet(nn.Module):
    """A contracting path, an expansive path, and skip connections between their levels (figure 1).

    Args:
        width: channels of the first level, 64 in the paper; each next level has twice as many.
        depth: poolings, 4 in the paper.
        padding: "valid" (the paper's: the answer is smaller than the input by `margin` pixels at each border) or
            "same".
        batch_norm: batch normalisation between convolution and ReLU.
        upsampling: "transposed" (2x2 up-convolutions of stride 2) or "bilinear".
        dropout: probability with which an output of the contracting path's last two levels is zeroed in training.
        in_channels: channels of the input image.
        image_size: height and width of the images, in pixels. The network takes others; `fits` tells which.
        num_classes: number of logits of each pixel.

    Attributes:
        margin: pixels by which the answer is smaller than the input at each border.

    Raises:
        ValueError: an unknown padding or upsampling, or no pooling.
    """

    convolutional = True
    heads = ("head",)

    def __init__(
        self,
        *,
        width: int = 8,
        depth: int = 2,
        padding: Literal["valid", "same"] = "valid",
        batch_norm: bool = False,
        upsampling: Literal["transposed", "bilinear"] = "transposed",
        dropout: float = 0.0,
        in_channels: int = 1,
        image_size: int = 32,
        num_classes: int = 2,
    ) -> None:
        super().__init__()
        if padding not in ("valid", "same"):
            raise ValueError(f"U-Net has the paddings valid and same, not {padding!r}")
        if upsampling not in ("transposed", "bilinear"):
            raise ValueError(f"U-Net has the upsamplings transposed and bilinear, not {upsampling!r}")
        if depth < 1:
            raise ValueError(f"U-Net has at least one pooling, got {depth=}")
        bilinear = upsampling == "bilinear"
        self.in_channels, self.image_size = in_channels, image_size
        self.padding, self.upsampling, self.depth = padding, upsampling, depth
        lost = 4 + 2 * bilinear  # by a level of the expansive path: two convolutions, and the cut interpolation
        self.margin = 0 if padding == "same" else (4 * 2**depth + (4 + lost) * (2**depth - 1)) // 2

        def convs(in_channels: int, middle: int, out_channels: int, dropout: float = 0.0) -> DoubleConv:
            pad = int(padding == "same")
            return DoubleConv(in_channels, middle, out_channels, padding=pad, batch_norm=batch_norm, dropout=dropout)

        channels = [width * 2**i for i in range(depth)]
        deepest = width * 2**depth // (2 if bilinear else 1)
        self.contract = nn.ModuleList(
            convs(before, after, after, dropout if after == channels[-1] else 0.0)
            for before, after in zip((in_channels, *channels), channels, strict=False)
        )
        self.down = nn.ModuleList(nn.MaxPool2d(2) for _ in channels)
        self.bottom = convs(channels[-1], deepest, deepest, dropout)
        self.up, self.expand = nn.ModuleList(), nn.ModuleList()
        below = deepest
        for c in reversed(channels):
            self.up.append(
                Bilinear(valid=padding == "valid") if bilinear else nn.ConvTranspose2d(below, c, 2, stride=2)
            )
            below = c // 2 if bilinear and c != width else c
            self.expand.append(convs(2 * c, c, below))
        self.head = nn.Conv2d(width, num_classes, 1)

        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                # No ReLU follows an up-convolution and the head, whose pixels have one tap of the kernel.
                linear = isinstance(module, nn.ConvTranspose2d) or module is self.head
                variance = 1 / module.in_channels if linear else 2 / module.weight[0].numel()
                nn.init.normal_(module.weight, std=variance**0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h2 w2"]:
        """The logits of each pixel but for those of the margin.

        Raises:
            ValueError: a side that cannot be halved `depth` times, or of which nothing would be left.
        """
        for side in x.shape[2:]:
            self._require(side)
        skips = []
        for convs, pool in zip(self.contract, self.down, strict=True):
            x = convs(x)
            skips.append(x)
            x = pool(x)
        x = self.bottom(x)
        for up, convs in zip(self.up, self.expand, strict=True):
            x, skip = up(x), skips.pop()
            top, left = ((skip.shape[i] - x.shape[i]) // 2 for i in (2, 3))
            skip = skip[:, :, top : top + x.shape[2], left : left + x.shape[3]]
            x = convs(torch.cat([skip, x], 1))
        logits: Tensor = self.head(x)
        return logits

    def fits(self, side: int) -> int:
        """The smallest side from `side` pixels up that the network takes, so that each pooling gets an even number."""
        first = max(side, 2 * self.margin + 1)
        border = 4 if self.padding == "valid" else 0  # the sides are those for which side + border divides by 2^depth
        step: int = 2**self.depth
        return first + -(first + border) % step

    def _require(self, side: int) -> None:
        larger = self.fits(side)
        if side == larger:
            return
        smaller = larger - 2**self.depth
        sizes = (smaller, larger) if self.fits(smaller) == smaller else (larger, larger + 2**self.depth)
        advice = f"use a side of {sizes[0]} or {sizes[1]} pixels in place of {side}"
        n = side
        for i in range(self.depth):
            n -= 4 * (self.padding == "valid")
            if n < 2 or n % 2:
                what = "which cannot be halved" if n > 1 else "of which nothing would be left"
                raise ValueError(f"down.{i} (MaxPool2d) gets a side of {max(n, 0)} pixels, {what}: {advice}")
            n //= 2
        raise ValueError(f"bottom (DoubleConv) gets a side of {n} pixels, of which nothing would be left: {advice}")

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared size, or the next that the network takes, for tests, tables and graphs."""
        side = self.fits(self.image_size)
        return (torch.randn(batch, self.in_channels, side, side),)

    def extra_repr(self) -> str:
        size = self.fits(self.image_size)
        return f"{self.padding} padding, {self.upsampling} upsampling: {size} pixels give {size - 2 * self.margin}"

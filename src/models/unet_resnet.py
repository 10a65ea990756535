"""U-Net with a ResNet as its encoder.

Ronneberger, Fischer and Brox 2015, arXiv:1505.04597, with a network that was trained to classify images in place of the
contracting path (Iglovikov and Shvets 2018, "TernausNet: U-Net with VGG11 Encoder Pre-Trained on ImageNet for Image
Segmentation", arXiv:1801.05746), here ResNet (He, Zhang, Ren and Sun 2015, arXiv:1512.03385). x_1 is what its stem
gives, x_2 to x_5 what its four groups give, each half as large as the one before. Each block of the decoder doubles
the size:

    y_5 = x_5        y_i = conv(conv([up(y_{i+1}), x_i]))        i = 4, 3, 2, 1, 0, without x_0

with 3x3 convolutions, each with batch normalisation and ReLU. The last block has no skip connection: nothing in the
encoder has the size of the image. Names and sizes are those of `Unet` in segmentation_models_pytorch, so that its
state dicts load as they are. The encoder is the zoo's ResNet without its classifier: `weights=` begins it with those
of a ResNet, torchvision's or of a run.

Differs from segmentation_models_pytorch: convolutions of the decoder start from N(0, 2 / N) with N inputs (He et al.
2015, arXiv:1502.01852, eq. 10), the last one from N(0, 1 / N), instead of uniform distributions.

Images under 64 pixels get the ResNet's small stem, which neither strides nor pools: then the stem and the first group
give the image's own size, and the decoder has the three blocks that lead there.

>>> import torch
>>> with torch.device("meta"):
...     network = UNetResNet(depths=(3, 4, 6, 3), width=64, num_classes=1, image_size=224)
>>> sum(p.numel() for p in network.parameters())
24436369
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .resnet import ResNet


def conv_bn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class DecoderBlock(nn.Module):
    """Twice the size by repeating pixels, the skip connection's channels added, and two convolutions."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = conv_bn_relu(in_channels + skip_channels, out_channels)
        self.conv2 = conv_bn_relu(out_channels, out_channels)

    def forward(
        self, x: Float[Tensor, "b c h w"], skip: Float[Tensor, "b c2 h2 w2"] | None
    ) -> Float[Tensor, "b c3 h2 w2"]:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], 1)
        y: Tensor = self.conv2(self.conv1(x))
        return y


class Decoder(nn.Module):
    """The blocks, from the smallest image to the largest."""

    def __init__(self, channels: Sequence[int], skips: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(map(DecoderBlock, channels, skips, widths))

    def forward(
        self, x: Float[Tensor, "b c h w"], skips: Sequence[Float[Tensor, "b ..."] | None]
    ) -> Float[Tensor, "b c2 h2 w2"]:
        for block, skip in zip(self.blocks, skips, strict=True):
            x = block(x, skip)
        return x


class UNetResNet(nn.Module):
    """A ResNet without its classifier, and a decoder with skip connections.

    Args:
        block: of the encoder, "basic" (ResNet-18 and 34) or "bottleneck" (50, 101 and 152).
        depths: blocks in each of the encoder's four groups.
        width: channels of the encoder's first group; the decoder's blocks have 4, 2, 1, 1/2 and 1/4 times as many.
        in_channels: channels of the input image.
        image_size: height and width of the images, in pixels; under 64 it selects the small stem.
        num_classes: number of logits of each pixel.

    Attributes:
        margin: 0, since the answer has the input's size.
        trunk: the module that weights of a classifier begin.

    Raises:
        ValueError: a width that is not a multiple of 4, or what ResNet refuses.
    """

    convolutional = True
    margin = 0
    trunk = "encoder"
    heads = ("segmentation_head.0",)

    def __init__(
        self,
        *,
        block: Literal["basic", "bottleneck"] = "basic",
        depths: Sequence[int] = (1, 1, 1, 1),
        width: int = 8,
        in_channels: int = 3,
        image_size: int = 64,
        num_classes: int = 2,
    ) -> None:
        super().__init__()
        if width % 4:
            raise ValueError(f"the decoder's last block has a quarter of {width=} channels: use a multiple of 4")
        self.in_channels, self.image_size = in_channels, image_size
        self.encoder = ResNet(
            block=block, depths=depths, width=width, in_channels=in_channels, image_size=image_size, num_classes=1
        )
        del self.encoder.fc
        expansion = 1 if block == "basic" else 4
        groups = [width * 2**i * expansion for i in (3, 2, 1, 0)]
        widths = [4 * width, 2 * width, width]
        skips = groups[1:]
        if not self.encoder.small_stem:
            widths += [width // 2, width // 4]
            skips += [width, 0]
        self.decoder = Decoder([groups[0], *widths[:-1]], skips, widths)
        self.segmentation_head = nn.Sequential(nn.Conv2d(widths[-1], num_classes, 3, padding=1))

        for module in self.decoder.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        for name, parameter in self.segmentation_head.named_parameters():
            nn.init.normal_(parameter, std=(9 * widths[-1]) ** -0.5 if name.endswith("weight") else 0)

    @property
    def multiple(self) -> int:
        """What a side has to be a multiple of, in pixels."""
        return 8 if self.encoder.small_stem else 32

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """The logits of each pixel.

        Raises:
            ValueError: a side that is no multiple of 32 pixels (8 with the small stem).
        """
        for side in x.shape[2:]:
            self._require(side)
        stem, *groups = self.encoder.stages(x)
        groups.reverse()
        skips = groups[1:] if self.encoder.small_stem else [*groups[1:], stem, None]
        logits: Tensor = self.segmentation_head(self.decoder(groups[0], skips))
        return logits

    def fits(self, side: int) -> int:
        """The smallest side from `side` pixels up that the network takes."""
        return max(side + -side % self.multiple, self.multiple)

    def _require(self, side: int) -> None:
        if side % self.multiple == 0 and side:
            return
        layers = ["layer2 (Sequential)", "layer3 (Sequential)", "layer4 (Sequential)"]
        if not self.encoder.small_stem:
            layers = ["conv1 (Conv2d)", "maxpool (MaxPool2d)", *layers]
        halvings = 0
        while side % 2 ** (halvings + 1) == 0 and side:
            halvings += 1
        larger = self.fits(side)
        smaller = larger - self.multiple or larger + self.multiple
        raise ValueError(
            f"encoder.{layers[halvings]} gets a side of {side // 2**halvings} pixels, which cannot be halved: use a "
            f"side of {min(smaller, larger)} or {max(smaller, larger)} pixels in place of {side}"
        )

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared size, or the next that the network takes, for tests, tables and graphs."""
        side = self.fits(self.image_size)
        return (torch.randn(batch, self.in_channels, side, side),)

    def extra_repr(self) -> str:
        stem = "small" if self.encoder.small_stem else "ImageNet"
        return f"{stem} stem and {len(self.decoder.blocks)} decoder blocks for images of {self.image_size} pixels"

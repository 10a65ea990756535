"""Fully convolutional network on ResNet.

Long, Shelhamer and Darrell 2014, "Fully Convolutional Networks for Semantic Segmentation", arXiv:1411.4038, with the
backbone of He, Zhang, Ren and Sun 2015, arXiv:1512.03385, whose last two groups dilate in place of striding (Yu,
Koltun and Funkhouser 2017, "Dilated Residual Networks", arXiv:1705.09914), so that features have an eighth of the
image's size instead of a thirty-second. A head of a 3x3 convolution, batch normalisation, ReLU and a 1x1 convolution
scores the classes, which are interpolated to the image's size:

    y = up(head(x_5))        in training also        y' = up(head'(x_4))

with what the last group gives, x_5, and the group before it, x_4. The loss of the auxiliary y' counts with the weight
`auxiliary_weight`, 0.5 as in torchvision's training script, and in eval mode it is left out.

This is torchvision's network, and there is no other of this name: FCN of the paper scores several resolutions of a
VGG, has no dilation and no batch normalisation. Modules carry torchvision's names, so that its state dicts load as they
are. Differs from torchvision: the heads' convolutions start as ResNet's do, from N(0, 2 / fan_out), and the last ones
from N(0, 1 / N) with N inputs, instead of uniform distributions. `weights=` takes those of a ResNet for the backbone.

Images under 64 pixels get the ResNet's small stem, with which features have half of the image's size. Any side is
taken, since the scores are interpolated to it.

>>> import torch
>>> with torch.device("meta"):
...     sizes = [FCNResNet(depths=(3, 4, 6, 3), width=64, auxiliary=auxiliary, num_classes=21, image_size=224)
...              for auxiliary in (False, True)]
>>> [sum(p.numel() for p in network.parameters()) for network in sizes]
[32957013, 35322218]
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .resnet import ResNet


class FCNHead(nn.Sequential):
    """A 3x3 convolution to a quarter of the channels, batch normalisation, ReLU, dropout, and a 1x1 convolution."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        middle = in_channels // 4
        super().__init__(
            nn.Conv2d(in_channels, middle, 3, padding=1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(middle, num_classes, 1),
        )
        for name, parameter in self.named_parameters():
            if name == "0.weight":
                nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu")
            elif name.startswith("4"):
                nn.init.normal_(parameter, std=middle**-0.5 if name == "4.weight" else 0)


class FCNResNet(nn.Module):
    """A dilated ResNet of bottlenecks, a head that scores its last group, and in training one for the group before.

    Args:
        depths: blocks in each of the backbone's four groups.
        width: channels of the first group.
        auxiliary: whether there is an auxiliary head. In train mode `forward` then returns the tuple (logits,
            logits of the auxiliary head); in eval mode only logits.
        dropout: probability with which an input of a head's last layer is zeroed in training.
        in_channels: channels of the input image.
        image_size: height and width of the images, in pixels; under 64 it selects the small stem.
        num_classes: number of logits of each pixel.

    Attributes:
        margin: 0, since the answer has the input's size.
        trunk: the module that weights of a classifier begin.

    Raises:
        ValueError: not four depths.
    """

    convolutional = True
    margin = 0
    trunk = "backbone"
    auxiliary_weight = 0.5

    def __init__(
        self,
        *,
        depths: Sequence[int] = (1, 1, 1, 1),
        width: int = 4,
        auxiliary: bool = False,
        dropout: float = 0.0,
        in_channels: int = 3,
        image_size: int = 64,
        num_classes: int = 2,
    ) -> None:
        super().__init__()
        self.in_channels, self.image_size = in_channels, image_size
        self.backbone = ResNet(
            block="bottleneck", depths=depths, width=width, dilated=2, in_channels=in_channels, image_size=image_size,
            num_classes=1,
        )  # fmt: skip
        del self.backbone.fc
        self.classifier = FCNHead(32 * width, num_classes, dropout)
        self.aux_classifier = FCNHead(16 * width, num_classes, dropout) if auxiliary else None
        self.heads: tuple[str, ...] = ("classifier.4", "aux_classifier.4") if auxiliary else ("classifier.4",)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k h w"] | tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k h w"]]:
        size = x.shape[2:]
        maps = tuple(self.backbone.stages(x))
        logits = F.interpolate(self.classifier(maps[-1]), size=size, mode="bilinear", align_corners=False)
        if self.training and self.aux_classifier is not None:
            scores = self.aux_classifier(maps[-2])
            return logits, F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        return logits

    def fits(self, side: int) -> int:
        """The smallest side from `side` pixels up that the network takes: any."""
        return max(side, 1)

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.in_channels, self.image_size, self.image_size),)

    def extra_repr(self) -> str:
        stride = 2 if self.backbone.small_stem else 8
        heads = "an auxiliary head" if self.aux_classifier is not None else "no auxiliary head"
        return f"features at a stride of {stride} pixels for images of {self.image_size} pixels, {heads}"

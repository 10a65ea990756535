"""GoogLeNet (Inception v1).

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke and Rabinovich 2014, "Going Deeper with
Convolutions", arXiv:1409.4842, table 1. An inception module (figure 2b) looks at its input through kernels of
several sizes, thinned by 1x1 convolutions R, and stacks the channels of what they see:

    y = [C1(x), C3(R3(x)), C5(R5(x)), P(max3x3(x))]

In training, auxiliary classifiers on modules 4a and 4d bring gradients to the middle of the network; their
losses count with the weight 0.3 (section 5), `auxiliary_weight`, and in eval mode they are left out.

Differs from the paper, as torchvision does: batch normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167)
after each convolution, and no local response normalisation; C5 is 3x3 instead of 5x5, a slip that the
published weights keep; the max pooling before module 5a is 2x2 instead of 3x3; dropout of 0.2 instead of
0.4 in front of the classifier; auxiliary classifiers average to 4x4 adaptively, which is not the 5x5 average of
stride 3 for every size; weights start from N(0, 0.01²), cut off at ±2. Modules carry torchvision's names, so
that its state dicts load as they are. Its published weights take images normalised to mean and standard deviation
0.5; with `transform_input` the network takes the usual ImageNet statistics and converts.

Images under 64 pixels get the small stem: a 3x3 convolution of stride 1 in place of the 7x7 of stride 2, and
neither of the two max poolings before module 3a, which together would leave a 32x32 image with 1x1 features.

>>> import torch
>>> with torch.device("meta"):
...     sizes = [GoogLeNet(width=64, num_classes=1000, image_size=224),
...              GoogLeNet(width=64, num_classes=1000, image_size=224, auxiliary=True),
...              GoogLeNet(width=64, num_classes=10, image_size=32)]
>>> [sum(p.numel() for p in network.parameters()) for network in sizes]
[6624904, 13004888, 5602474]
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo

# Table 1: channels of C1, R3, C3, R5, C5 and P in each inception module.
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class BasicConv2d(nn.Module):
    """Convolution that keeps the size at stride 1, batch normalisation and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    """Four branches whose channels are stacked (figure 2b); `out_channels` is their sum."""

    def __init__(self, in_channels: int, c1: int, r3: int, c3: int, r5: int, c5: int, p: int) -> None:
        super().__init__()
        self.out_channels = c1 + c3 + c5 + p
        self.branch1 = BasicConv2d(in_channels, c1, 1)
        self.branch2 = nn.Sequential(BasicConv2d(in_channels, r3, 1), BasicConv2d(r3, c3, 3))
        self.branch3 = nn.Sequential(BasicConv2d(in_channels, r5, 1), BasicConv2d(r5, c5, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), BasicConv2d(in_channels, p, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    """Auxiliary classifier (section 5): average to 4x4, 1x1 convolution, two linear layers."""

    def __init__(self, in_channels: int, width: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.conv = BasicConv2d(in_channels, 2 * width, 1)
        self.fc1 = nn.Linear(4 * 4 * 2 * width, 16 * width)
        self.fc2 = nn.Linear(16 * width, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        x = self.conv(F.adaptive_avg_pool2d(x, 4)).flatten(1)
        logits: Tensor = self.fc2(self.dropout(F.relu(self.fc1(x), inplace=True)))
        return logits


class GoogLeNet(Classifier):
    """A stem of three convolutions, nine inception modules, global average pooling and a linear classifier.

    Args:
        width: channels of the first convolution, 64 in the paper, to which all others are in proportion; a
            multiple of 8.
        auxiliary: whether there are auxiliary classifiers. In train mode `forward` then returns the tuple
            (logits, logits of the first auxiliary classifier, logits of the second); in eval mode only logits.
        transform_input: whether images come with the mean (0.485, 0.456, 0.406) and standard deviation
            (0.229, 0.224, 0.225) of ImageNet taken out and are converted to 0.5 and 0.5.
        dropout: probability with which an input of the classifier is zeroed in training.
        auxiliary_dropout: the same for an input of the auxiliary classifiers' last layer.
        in_channels: channels of the input image.
        image_size: height and width of the input image, in pixels; under 64 it selects the small stem.
        num_classes: number of logits.

    Raises:
        ValueError: a width that is not a multiple of 8, `transform_input` for other than three channels, or an
            image under 2 pixels wide, of which the pooling before module 4a would leave nothing.
    """

    convolutional = True
    auxiliary_weight = 0.3
    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        *,
        width: int = 8,
        auxiliary: bool = False,
        transform_input: bool = False,
        dropout: float = 0.0,
        auxiliary_dropout: float = 0.0,
        in_channels: int = 3,
        image_size: int = 32,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if width < 8 or width % 8:
            raise ValueError(f"the width of GoogLeNet must be a multiple of 8, as in table 1 of the paper, not {width}")
        if transform_input and in_channels != 3:
            raise ValueError(f"transform_input is for images of three channels, not {in_channels}")
        if image_size < 2:
            raise ValueError(
                f"maxpool3 of GoogLeNet would leave nothing of an image of {image_size}x{image_size} pixels: "
                f"the smallest size is 2"
            )
        self.in_channels, self.image_size = in_channels, image_size
        self.transform_input = transform_input
        if transform_input:  # (x std + mean - 0.5) / 0.5; no part of the state dict, as in torchvision
            scale = torch.tensor([0.229, 0.224, 0.225]) / 0.5
            shift = (torch.tensor([0.485, 0.456, 0.406]) - 0.5) / 0.5
            self.register_buffer("scale", scale[:, None, None], persistent=False)
            self.register_buffer("shift", shift[:, None, None], persistent=False)

        def inception(name: str, in_channels: int) -> Inception:
            c1, r3, c3, r5, c5, p = (channels * width // 64 for channels in MODULES[name])
            return Inception(in_channels, c1, r3, c3, r5, c5, p)

        self.small_stem = image_size < 64
        if self.small_stem:
            self.conv1 = BasicConv2d(in_channels, width, 3)
        else:
            self.conv1 = BasicConv2d(in_channels, width, 7, stride=2)
        self.maxpool1 = nn.Identity() if self.small_stem else nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = BasicConv2d(width, width, 1)
        self.conv3 = BasicConv2d(width, 3 * width, 3)
        self.maxpool2 = nn.Identity() if self.small_stem else nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = inception("3a", 3 * width)
        self.inception3b = inception("3b", self.inception3a.out_channels)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = inception("4a", self.inception3b.out_channels)
        self.inception4b = inception("4b", self.inception4a.out_channels)
        self.inception4c = inception("4c", self.inception4b.out_channels)
        self.inception4d = inception("4d", self.inception4c.out_channels)
        self.inception4e = inception("4e", self.inception4d.out_channels)
        self.maxpool4 = nn.MaxPool2d(2, ceil_mode=True)
        self.inception5a = inception("5a", self.inception4e.out_channels)
        self.inception5b = inception("5b", self.inception5a.out_channels)
        self.aux1 = self.aux2 = None
        self.heads: tuple[str, ...] = ("fc",)
        if auxiliary:
            self.aux1 = InceptionAux(self.inception4a.out_channels, width, num_classes, auxiliary_dropout)
            self.aux2 = InceptionAux(self.inception4d.out_channels, width, num_classes, auxiliary_dropout)
            self.heads = ("aux1.fc2", "aux2.fc2", "fc")
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.inception5b.out_channels, num_classes)
        self.num_features, stride = self.inception5b.out_channels, 1 if self.small_stem else 8
        self.feature_info = FeatureInfo(
            ("conv1", width, max(1, stride // 4)),
            ("conv3", 3 * width, max(1, stride // 2)),
            ("inception3b", self.inception3b.out_channels, stride),
            ("inception4e", self.inception4e.out_channels, 2 * stride),
            ("inception5b", self.num_features, 4 * stride),
        )

        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self.init_head(module)

    def init_head(self, head: nn.Conv2d | nn.Linear) -> None:
        """As all layers."""
        nn.init.trunc_normal_(head.weight, std=0.01, a=-2, b=2)

    def reset_classifier(self, num_classes: int) -> None:
        """See `Classifier`; without a last layer there are no auxiliary classifiers either."""
        if num_classes == 0:
            self.aux1, self.aux2, self.heads = None, None, ("fc",)
        super().reset_classifier(num_classes)

    def before(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The image in the statistics of the weights."""
        return x * self.scale + self.shift if self.transform_input else x

    def stages(self, x: Float[Tensor, "b c h w"]) -> Iterator[Tensor]:
        """What stands before each pooling, and the last module's."""
        yield (x := self.conv1(self.before(x)))
        yield (x := self.conv3(self.conv2(self.maxpool1(x))))
        yield (x := self.inception3b(self.inception3a(self.maxpool2(x))))
        x = self.inception4b(self.inception4a(self.maxpool3(x)))
        yield (x := self.inception4e(self.inception4d(self.inception4c(x))))
        yield self.inception5b(self.inception5a(self.maxpool4(x)))

    def modules_4a_to_5b(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor, Tensor]:
        """What 4a, 4d and 5b give."""
        x = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(self.before(x))))))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        a = self.inception4a(x)
        d = self.inception4d(self.inception4c(self.inception4b(a)))
        return a, d, self.inception5b(self.inception5a(self.maxpool4(self.inception4e(d))))

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        return self.modules_4a_to_5b(x)[-1]

    def forward_head(self, x: Float[Tensor, "b d h w"], pre_logits: bool = False) -> Float[Tensor, "b k"]:
        x = self.dropout(x.mean((2, 3)))
        return x if pre_logits else self.fc(x)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"] | tuple[Float[Tensor, "b k"], Float[Tensor, "b k"], Float[Tensor, "b k"]]:
        a, d, x = self.modules_4a_to_5b(x)
        logits = self.forward_head(x)
        if self.training and self.aux1 is not None and self.aux2 is not None:
            return logits, self.aux1(a), self.aux2(d)
        return logits

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.in_channels, self.image_size, self.image_size),)

    def extra_repr(self) -> str:
        stem = "small stem (3x3, stride 1, no pooling)" if self.small_stem else "ImageNet stem (7x7, stride 2, pooling)"
        heads = "two auxiliary classifiers" if self.aux1 is not None else "no auxiliary classifiers"
        return f"{stem} for images of {self.image_size} pixels, {heads}"

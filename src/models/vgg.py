"""VGG.

Simonyan and Zisserman 2014, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
arXiv:1409.1556, table 1: the networks A (11 layers with weights), B (13), D (16) and E (19). Five stages of
3x3 convolutions with ReLU; a 2x2 max pooling after each stage halves the image, and the channels double up
to 512. Two 3x3 convolutions see 5x5 pixels and three 7x7, with more non-linearities and fewer parameters
than one large kernel (section 2.3: 3 · 3²C² = 27C² against 7²C² = 49C²).

Differs from the paper, as torchvision does: convolutions start from N(0, 2 / fan_out) (He et al. 2015,
arXiv:1502.01852, section 2.2), instead of the weights of a trained shallower network, and linear layers from
N(0, 0.01²) as AlexNet's, instead of N(0, 0.01); images of other sizes than 224 are pooled to 7x7 before the
linear layers instead of turning these into convolutions (section 3.2). With `batch_norm`, batch normalisation
(Ioffe and Szegedy 2015, arXiv:1502.03167) follows each convolution; the paper has none. Modules carry
torchvision's names, so that its state dicts load as they are.

Images under 64 pixels get the small form: what the five stages leave is averaged to one pixel, and one
linear layer follows in place of three, as in common CIFAR ports. Its poolings round sizes up, so that 28x28
becomes 14, 7, 4, 2 and 1 pixels wide where rounding down would leave none; 32x32 becomes 16, 8, 4, 2 and 1
either way.

>>> import torch
>>> def count(depths, **options):
...     with torch.device("meta"):
...         network = VGG(depths=depths, width=64, hidden=4096, **options)
...     return sum(p.numel() for p in network.parameters())
>>> A, B, D, E = (1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
>>> [count(depths, num_classes=1000, image_size=224) for depths in (A, B, D, E)]
[132863336, 133047848, 138357544, 143667240]
>>> [count(depths, num_classes=1000, image_size=224, batch_norm=True) for depths in (A, B, D, E)]
[132868840, 133053736, 138365992, 143678248]
>>> count(D, num_classes=10, image_size=32, batch_norm=True)
14728266
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo


class VGG(Classifier):
    """Five stages of convolutions, each with a max pooling behind it, and a classifier of linear layers.

    Args:
        depths: convolutions in each of the five stages.
        width: channels of the first stage, 64 in the paper; each next stage has twice as many, up to eight times.
        batch_norm: batch normalisation between convolution and ReLU.
        hidden: units of the two hidden linear layers, which the small form does not have.
        dropout: probability with which an output of these, or an input of the small form's linear layer, is
            zeroed in training.
        in_channels: channels of the input image.
        image_size: height and width of the input image, in pixels; under 64 it selects the small form.
        num_classes: number of logits.

    Raises:
        ValueError: not five depths.
    """

    convolutional = True

    def __init__(
        self,
        *,
        depths: Sequence[int] = (1, 1, 1, 1, 1),
        width: int = 8,
        batch_norm: bool = False,
        hidden: int = 32,
        dropout: float = 0.0,
        in_channels: int = 3,
        image_size: int = 32,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if len(depths) != 5:
            raise ValueError(f"VGG has five stages of convolutions, got depths={list(depths)}")
        self.in_channels, self.image_size = in_channels, image_size
        self.small_form = image_size < 64

        self.features = nn.Sequential()
        channels, found = in_channels, []
        for i, depth in enumerate(depths):
            for _ in range(depth):
                self.features.append(nn.Conv2d(channels, width * min(2**i, 8), 3, padding=1))
                channels = width * min(2**i, 8)
                if batch_norm:
                    self.features.append(nn.BatchNorm2d(channels))
                self.features.append(nn.ReLU(inplace=True))
            found.append((f"features.{len(self.features) - 1}", channels, 2**i))
            self.features.append(nn.MaxPool2d(2, ceil_mode=self.small_form))
        found.append((f"features.{len(self.features) - 1}", channels, 2**5))
        self.num_features, self.feature_info = channels, FeatureInfo(*found)
        self.pooled = 1 if self.small_form else 7
        self.avgpool = nn.AdaptiveAvgPool2d(self.pooled)
        if self.small_form:
            self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))
            self.heads: tuple[str, ...] = ("classifier.1",)
        else:
            self.classifier = nn.Sequential(
                nn.Linear(channels * 7 * 7, hidden),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
                nn.Linear(hidden, hidden),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
                nn.Linear(hidden, num_classes),
            )
            self.heads = ("classifier.6",)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                self.init_head(module)

    def init_head(self, head: nn.Linear) -> None:
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        features: Tensor = self.features(x)
        return features

    def forward_head(self, x: Float[Tensor, "b d h w"], pre_logits: bool = False) -> Float[Tensor, "b k"]:
        # At 224 pixels there is nothing to average, and the gradient of this pooling is not reproducible on GPUs.
        if x.shape[2:] != (self.pooled, self.pooled):
            x = self.avgpool(x)
        x = x.flatten(1)
        values: Tensor = self.classifier[:-1](x) if pre_logits else self.classifier(x)
        return values

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.in_channels, self.image_size, self.image_size),)

    def extra_repr(self) -> str:
        if self.small_form:
            return f"small form (pooled to 1x1, one linear layer) for images of {self.image_size} pixels"
        return f"ImageNet form (pooled to 7x7, three linear layers) for images of {self.image_size} pixels"

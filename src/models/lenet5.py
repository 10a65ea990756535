"""LeNet-5.

LeCun, Bottou, Bengio and Haffner 1998, "Gradient-Based Learning Applied to Document Recognition",
Proceedings of the IEEE 86(11), figure 2. For a 32x32 input:

    C1 6@28x28 -> S2 6@14x14 -> C3 16@10x10 -> S4 16@5x5 -> C5 120@1x1 -> F6 84 -> logits

A 28x28 image (MNIST) is padded by two zero pixels on each side, as the paper does to its digits.

Differs from the paper: C3 sees all six maps of S2 instead of the hand-made table I; S2 and S4 are plain
averages without trainable coefficient and bias; the output layer is linear with cross-entropy instead
of Euclidean radial basis functions; weights start with the standard deviation fan_in^(-1/2) of LeCun,
Bottou, Orr and Mueller 1998, "Efficient BackProp", eq. 16, made for the same tanh, instead of
the bound 2.4 / fan_in of appendix A. Kept: average
pooling and the scaled tanh, f(a) = 1.7159 tanh(2a/3).

>>> import torch
>>> with torch.device("meta"):
...     network = LeNet5()
>>> sum(p.numel() for p in network.parameters())
61706
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo


class ScaledTanh(nn.Module):
    """f(a) = 1.7159 tanh(2a/3), so that f(1) = 1 and f(-1) = -1 (appendix A)."""

    def forward(self, a: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return 1.7159 * torch.tanh(2 / 3 * a)


class LeNet5(Classifier):
    """LeNet-5 for images of 32x32 or 28x28 pixels.

    Args:
        in_channels: channels of the input image; the paper has 1.
        image_size: 32, or 28 for images that C1 pads to 32.
        num_classes: number of logits.

    Raises:
        ValueError: the image is neither 28 nor 32 pixels wide.
    """

    convolutional = True
    heads = ("classifier.3",)

    def __init__(self, *, in_channels: int = 1, image_size: int = 32, num_classes: int = 10) -> None:
        super().__init__()
        if image_size not in (28, 32):
            raise ValueError(f"LeNet-5 takes images of 32x32 pixels (28x28 are padded), not {image_size}x{image_size}")
        self.in_channels, self.image_size = in_channels, image_size
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, padding=(32 - image_size) // 2),  # C1
            ScaledTanh(),
            nn.AvgPool2d(2),  # S2
            nn.Conv2d(6, 16, 5),  # C3
            ScaledTanh(),
            nn.AvgPool2d(2),  # S4
            nn.Conv2d(16, 120, 5),  # C5
            ScaledTanh(),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(120, 84),  # F6
            ScaledTanh(),
            nn.Linear(84, num_classes),
        )
        self.num_features = 120
        self.feature_info = FeatureInfo(("features.1", 6, 1), ("features.4", 16, 2), ("features.7", 120, 4))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self.init_head(module)

    def init_head(self, head: nn.Conv2d | nn.Linear) -> None:
        """As all layers."""
        nn.init.normal_(head.weight, std=head.weight[0].numel() ** -0.5)
        assert head.bias is not None
        nn.init.zeros_(head.bias)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        features: Tensor = self.features(x)
        return features

    def forward_head(self, x: Float[Tensor, "b d h w"], pre_logits: bool = False) -> Float[Tensor, "b k"]:
        values: Tensor = self.classifier[:-1](x) if pre_logits else self.classifier(x)
        return values

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.in_channels, self.image_size, self.image_size),)

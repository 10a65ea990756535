"""AlexNet.

Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997, section 5:
the one-column form of the network of Krizhevsky, Sutskever and Hinton 2012, "ImageNet Classification with
Deep Convolutional Neural Networks". For a 224x224 image, C a convolution with ReLU and P the maximum over
3x3 pixels at stride 2:

    C 64@55x55 -> P 27x27 -> C 192 -> P 13x13 -> C 384 -> C 256 -> C 256 -> P 6x6 -> 4096 -> 4096 -> logits

Differs from the network of 2012: one column in place of two, so that every convolution sees all channels, and
64-192-384-256-256 of them instead of 96-256-384-384-256; no local response normalisation; the first
convolution has 2 pixels of padding; weights and biases start uniform within ±fan_in^(-1/2), PyTorch's choice,
instead of N(0, 0.01²) with some biases at 1; dropout is in front of the first two linear layers, as in
torchvision, instead of behind them.

Differs from the paper of 2014: softmax in place of independent logistic units. Its footnote 1 has 384 channels
in the fourth convolution; its author's code, cuda-convnet2, has 256, and torchvision follows the code.
Modules carry torchvision's names, so that its state dicts load as they are.

Images under 64 pixels get the small stem: the first convolution is 3x3 with stride 1 instead of 11x11 with
stride 4, so that 32x32 becomes 15x15, 7x7 and 3x3 in the three poolings (28x28: 13x13, 6x6, 2x2). What is
left is averaged, and the first linear layer has 256 inputs in place of 256·6·6.

>>> import torch
>>> with torch.device("meta"):
...     sizes = [AlexNet(width=64, hidden=4096, num_classes=1000, image_size=224),
...              AlexNet(width=64, hidden=4096, num_classes=10, image_size=32)]
>>> [sum(p.numel() for p in network.parameters()) for network in sizes]
[61100840, 20323146]
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo


class AlexNet(Classifier):
    """Five convolutions, three max poolings and three linear layers.

    Args:
        width: channels of the first convolution, 64 in the paper; the others have 3, 6, 4 and 4 times as many.
        hidden: units of the two hidden linear layers.
        dropout: probability with which an input of these two layers is zeroed in training.
        in_channels: channels of the input image.
        image_size: height and width of the input image, in pixels; under 64 it selects the small stem.
        num_classes: number of logits.

    Raises:
        ValueError: the image is under 15 pixels wide, of which the last pooling would leave nothing.
    """

    convolutional = True
    heads: tuple[str, ...] = ("classifier.6",)

    def __init__(
        self,
        *,
        width: int = 4,
        hidden: int = 16,
        dropout: float = 0.0,
        in_channels: int = 3,
        image_size: int = 32,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if image_size < 15:
            raise ValueError(
                f"the last pooling of AlexNet, features.12, would leave nothing of an image of "
                f"{image_size}x{image_size} pixels: the smallest size is 15"
            )
        self.in_channels, self.image_size = in_channels, image_size
        self.small_stem = image_size < 64
        kernel_size, stride, padding = (3, 1, 1) if self.small_stem else (11, 4, 2)
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, width, kernel_size, stride, padding),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(width, 3 * width, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(3 * width, 6 * width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(6 * width, 4 * width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(4 * width, 4 * width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        self.num_features = 4 * width
        self.feature_info = FeatureInfo(
            ("features.1", width, stride),
            ("features.4", 3 * width, 2 * stride),
            ("features.11", 4 * width, 4 * stride),
            ("features.12", 4 * width, 8 * stride),
        )
        self.pooled = 1 if self.small_stem else 6
        self.avgpool = nn.AdaptiveAvgPool2d(self.pooled)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(4 * width * self.pooled**2, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, num_classes),
        )

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
        if self.small_stem:
            return f"small stem (3x3, stride 1) for images of {self.image_size} pixels"
        return f"ImageNet stem (11x11, stride 4) for images of {self.image_size} pixels"

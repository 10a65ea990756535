"""Perceptron.

Rosenblatt 1958, "The perceptron: a probabilistic model for information storage and organization in the
brain", Psychological Review 65(6), 386-408. One affine map of the input, and a threshold. With a row of
weights for each of K classes (Duda, Hart and Stork 2001, "Pattern Classification", section 5.12):

    z_k = w_k · x + b_k,    answer: the class with the largest z_k

For two classes the answer depends on the sign of (w_1 - w_0) · x + b_1 - b_0, which is Rosenblatt's
threshold unit. Two classes that no hyperplane divides, as in XOR, it cannot tell apart (Minsky and Papert
1969, "Perceptrons").

Differs from the paper: the fixed random connections from retina to association units are left out, so
that the trained weights see the input itself; each class has a row of its own, which for two classes is
one row more than is needed; weights start from a normal distribution with the small standard deviation
0.01, where the convergence theorem (Novikoff 1962) allows any start.

>>> import torch
>>> with torch.device("meta"):
...     network = Perceptron(in_channels=1, image_size=28, num_classes=10)
>>> sum(p.numel() for p in network.parameters())
7850
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier


class Perceptron(Classifier):
    """One affine map from the flattened input to a logit per class; what is learnt by which rule, the task says.

    Args:
        in_channels: channels of the input image, or values of an input that is a plain row.
        image_size: height and width of the input image, in pixels; 1 for a plain row.
        num_classes: number of logits.

    Raises:
        ValueError: a size is not positive, or there are fewer than two classes.
    """

    heads = ("layers.1",)

    def __init__(self, *, in_channels: int = 2, image_size: int = 1, num_classes: int = 2) -> None:
        super().__init__()
        if min(in_channels, image_size, num_classes - 1) < 1:
            raise ValueError(
                f"a perceptron needs positive sizes and two classes, got {in_channels=}, {image_size=}, {num_classes=}"
            )
        self.in_channels, self.image_size = in_channels, image_size
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size**2, num_classes))
        self.num_features = in_channels * image_size**2
        affine = self.layers[-1]
        assert isinstance(affine, nn.Linear)
        self.init_head(affine)

    def init_head(self, head: nn.Linear) -> None:
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)

    def forward_features(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        """The input in a row: there are no others."""
        return x.flatten(1)

    def forward_head(self, x: Float[Tensor, "b d"], pre_logits: bool = False) -> Float[Tensor, "b k"]:
        return x if pre_logits else self.layers[-1](x)

    def forward(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b k"]:
        logits: Tensor = self.layers(x)
        return logits

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.in_channels, self.image_size, self.image_size),)

"""Multilayer perceptron.

Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors",
Nature 323, 533-536. In the paper's terms, with h_0 the flattened input:

    h_l = φ(W_l h_{l-1} + b_l),    logits = W_{L+1} h_L + b_{L+1}

Differs from the paper: φ is the ReLU instead of the logistic function, and the weights start from He
et al. 2015 (arXiv:1502.01852, eq. 10), Var[W] = 2 / fan_in, which keeps the scale of h_l through the
depth of a ReLU network.

>>> import torch
>>> with torch.device("meta"):
...     network = MLP(in_channels=1, image_size=28, widths=(512, 512), num_classes=10)
>>> sum(p.numel() for p in network.parameters())
669706
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class MLP(nn.Module):
    """Fully connected layers with ReLU between them.

    Args:
        in_channels: channels of the input image.
        image_size: height and width of the input image, in pixels.
        widths: units of each hidden layer; an empty sequence gives softmax regression.
        num_classes: number of logits.
        dropout: probability with which a hidden unit is zeroed in training.

    Raises:
        ValueError: a width or the input size is not positive.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        image_size: int = 8,
        widths: Sequence[int] = (16,),
        num_classes: int = 10,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(in_channels, image_size, num_classes, *widths) < 1:
            raise ValueError(
                f"MLP needs positive sizes, got {in_channels=}, {image_size=}, widths={list(widths)}, {num_classes=}"
            )
        self.in_channels, self.image_size = in_channels, image_size
        layers: list[nn.Module] = [nn.Flatten()]
        size = in_channels * image_size**2
        for width in widths:
            layers += [nn.Linear(size, width), nn.ReLU(), nn.Dropout(dropout)]
            size = width
        self.layers = nn.Sequential(*layers, nn.Linear(size, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        # The last layer feeds a softmax, not a ReLU: a gain of 1/100 starts the loss near ln K.
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.01)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        logits: Tensor = self.layers(x)
        return logits

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.in_channels, self.image_size, self.image_size),)

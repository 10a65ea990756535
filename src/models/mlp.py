"""Multilayer perceptron.

Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors",
Nature 323, 533-536. In the paper's terms, with h_0 the flattened input:

    h_l = φ(W_l h_{l-1} + b_l),    logits = W_{L+1} h_L + b_{L+1}

Differs from the paper: φ is the ReLU instead of the logistic function, and the weights start from He
et al. 2015 (arXiv:1502.01852, eq. 10), Var[W] = 2 / fan_in, which keeps the scale of h_l through the
depth of a ReLU network. `activation="sigmoid"` is the paper's φ. With `normalization`, h_l = φ(N(W_l
h_{l-1} + b_l)), where N is batch normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167, section 3.2; b_l
is left out, as there) or layer normalisation (Ba, Kiros and Hinton 2016, arXiv:1607.06450, eq. 3).

>>> import torch
>>> with torch.device("meta"):
...     network = MLP(in_channels=1, image_size=28, widths=(512, 512), num_classes=10)
>>> sum(p.numel() for p in network.parameters())
669706
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,  # slope 0.01 below zero: Maas et al. 2013
    "elu": nn.ELU,  # Clevert et al. 2015, arXiv:1511.07289
    "selu": nn.SELU,  # Klambauer et al. 2017, arXiv:1706.02515
    "gelu": nn.GELU,  # exact: Hendrycks and Gimpel 2016, arXiv:1606.08415
    "silu": nn.SiLU,  # same paper
}


def normal(weight: Tensor) -> Tensor:
    """N(0, 0.01²)."""
    return nn.init.normal_(weight, std=0.01)


def uniform(weight: Tensor) -> Tensor:
    """U(±1/√fan_in), which is torch's default for linear layers."""
    bound = weight.shape[1] ** -0.5
    return nn.init.uniform_(weight, -bound, bound)


def he(weight: Tensor) -> Tensor:
    """N(0, 2 / fan_in): He et al. 2015, eq. 10."""
    return nn.init.kaiming_normal_(weight, nonlinearity="relu")


def lecun(weight: Tensor) -> Tensor:
    """N(0, 1 / fan_in): LeCun et al. 1998, "Efficient BackProp", eq. 16; what SELU was derived for."""
    return nn.init.kaiming_normal_(weight, nonlinearity="linear")


# Glorot and Bengio 2010, eq. 16: U(±√(6 / (fan_in + fan_out))). Saxe et al. 2013, arXiv:1312.6120: orthonormal rows, or
# columns where there are fewer of them.
INITIALIZATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": nn.init.zeros_,
    "normal": normal,
    "uniform": uniform,
    "xavier": nn.init.xavier_uniform_,
    "he": he,
    "lecun": lecun,
    "orthogonal": nn.init.orthogonal_,
}
NORMALIZATIONS: dict[str, Callable[[int], nn.Module] | None] = {
    "none": None,
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}


class MLP(Classifier):
    """Fully connected layers with a non-linearity between them.

    Args:
        in_channels: channels of the input image, or values of an input that is a plain row.
        image_size: height and width of the input image, in pixels; 1 for a plain row.
        widths: units of each hidden layer; an empty sequence gives softmax regression.
        num_classes: number of logits.
        dropout: probability with which a hidden unit is zeroed in training; with SELU it is alpha dropout, which
            keeps mean and variance (Klambauer et al. 2017, section "New Dropout Technique").
        activation: φ: sigmoid, tanh, relu, leaky_relu, elu, selu, gelu or silu.
        initialization: of the hidden weights: zeros, normal (standard deviation 0.01), uniform (torch's own range,
            ±1/√fan_in), xavier, he, lecun or orthogonal. Biases start at 0. The last layer feeds a softmax, and its
            weights start with a standard deviation of 0.01, which puts the loss near ln K. With `zeros` they are 0
            too: the units of a layer get equal gradients and never come to differ (dropout apart).
        normalization: between affine map and φ: none, batch or layer.

    Raises:
        ValueError: a width or the input size is not positive, or a choice is unknown.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        image_size: int = 8,
        widths: Sequence[int] = (16,),
        num_classes: int = 10,
        dropout: float = 0.0,
        activation: str = "relu",
        initialization: str = "he",
        normalization: str = "none",
    ) -> None:
        super().__init__()
        if min(in_channels, image_size, num_classes, *widths) < 1:
            raise ValueError(
                f"MLP needs positive sizes, got {in_channels=}, {image_size=}, widths={list(widths)}, {num_classes=}"
            )
        choices: dict[str, tuple[str, Mapping[str, Any]]] = {
            "activation": (activation, ACTIVATIONS),
            "initialization": (initialization, INITIALIZATIONS),
            "normalization": (normalization, NORMALIZATIONS),
        }
        for key, (chosen, known) in choices.items():
            if chosen not in known:
                raise ValueError(f"MLP's {key}={chosen} must be one of {', '.join(known)}")
        self.in_channels, self.image_size = in_channels, image_size
        normalize = NORMALIZATIONS[normalization]
        drop = nn.AlphaDropout if activation == "selu" else nn.Dropout
        layers: list[nn.Module] = [nn.Flatten()]
        size = in_channels * image_size**2
        for width in widths:
            layers += [nn.Linear(size, width, bias=normalization != "batch")]
            if normalize is not None:
                layers += [normalize(width)]
            layers += [ACTIVATIONS[activation](), drop(dropout)]
            size = width
        last = nn.Linear(size, num_classes)
        self.layers = nn.Sequential(*layers, last)
        self.heads, self.num_features = (f"layers.{len(layers)}",), size
        self.initialization = initialization
        for module in self.modules():
            if isinstance(module, nn.Linear):
                INITIALIZATIONS[initialization](module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.init_head(last)

    def init_head(self, head: nn.Linear) -> None:
        if self.initialization == "zeros":
            nn.init.zeros_(head.weight)
        else:
            nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)

    def forward_features(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        """h_L."""
        *hidden, _ = self.layers
        for layer in hidden:
            x = layer(x)
        return x

    def forward_head(self, x: Float[Tensor, "b d"], pre_logits: bool = False) -> Float[Tensor, "b k"]:
        return x if pre_logits else self.layers[-1](x)

    def forward(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b k"]:
        logits: Tensor = self.layers(x)
        return logits

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.in_channels, self.image_size, self.image_size),)

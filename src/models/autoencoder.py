"""Autoencoder, dense and convolutional.

Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks", Science 313(5786), 504-507:
a network that narrows to a code of few numbers and, mirrored, widens again,

    z = f(x),    x̂ = g(z),

trained to give its input back. The paper's network for MNIST has 784-1000-500-250-30 units and the mirror image of
these; its code is linear and the other units are logistic. The convolutional form (Masci, Meier, Cireşan and
Schmidhuber 2011, "Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction", ICANN, 52-59) halves the
image with each of its convolutions and doubles it with transposed ones on the way back. With `widths=()` the dense form
is linear, and the codes of the best one span the same subspace as the principal components (Baldi and Hornik 1989,
"Neural networks and principal component analysis", Neural Networks 2(1), 53-58).

Differs from the paper: the units are ReLU unless `activation="sigmoid"` is chosen, and all layers are trained together
from torch's initial weights, without restricted Boltzmann machines before; x̂ is the last layer's affine output, to
which the task adds the logistic function where the loss is cross-entropy. The convolutions have stride 2 in place of
max pooling.

>>> import torch
>>> with torch.device("meta"):
...     network = Autoencoder(image_size=28, widths=(1000, 500, 250), latent_dim=30)
>>> sum(p.numel() for p in network.parameters())
2837314
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


def dense(sizes: Sequence[int], activation: str) -> list[nn.Module]:
    """Affine maps between layers of these sizes, each followed by the activation."""
    layers: list[nn.Module] = []
    for i, width in enumerate(sizes[1:]):
        layers += [nn.Linear(sizes[i], width), ACTIVATIONS[activation]()]
    return layers


def halving(in_channels: int, image_size: int, channels: Sequence[int], activation: str) -> list[nn.Module]:
    """4x4 convolutions with stride 2, each of which halves the image's side.

    Raises:
        ValueError: a layer would get an odd side; it names the layer and sides that work.
    """
    layers: list[nn.Module] = []
    factor = 2 ** len(channels)
    below = image_size // factor * factor
    for fan_in, fan_out in zip((in_channels, *channels[:-1]), channels, strict=True):
        side = image_size >> (len(layers) // 2)
        if side % 2:
            sides = f"{below} or {below + factor}" if below else f"{factor}"
            raise ValueError(
                f"encoder.{len(layers)} (Conv2d, stride 2) gets {side}x{side}, which does not halve: use an image_size "
                f"of {sides}, or fewer channels than {list(channels)}"
            )
        layers += [nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1), ACTIVATIONS[activation]()]
    return layers


def doubling(out_channels: int, channels: Sequence[int], activation: str) -> list[nn.Module]:
    """The mirror image of `halving`: transposed 4x4 convolutions with stride 2; none behind the last is activated."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(channels[::-1], (*channels[:-1][::-1], out_channels), strict=True):
        layers += [nn.ConvTranspose2d(fan_in, fan_out, 4, stride=2, padding=1), ACTIVATIONS[activation]()]
    return layers[:-1]


def require_sizes(name: str, *sizes: int) -> None:
    """Refuse sizes that are not positive.

    Raises:
        ValueError: it names the network.
    """
    if min(sizes) < 1:
        raise ValueError(f"{name} needs positive sizes, got {', '.join(map(str, sizes))}")


class Autoencoder(nn.Module):
    """Dense layers to a code and back.

    Args:
        in_channels, image_size: of the image, whose height and width are equal.
        widths: units of the encoder's hidden layers; the decoder has the same in reverse. None make it linear.
        latent_dim: numbers of a code.
        activation: of the hidden units: relu, sigmoid, tanh or linear.
        code: activation of the code: linear, or sigmoid or relu where the code is to be sparse.

    Raises:
        ValueError: a size is not positive, or an activation is unknown.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        image_size: int = 8,
        widths: Sequence[int] = (16,),
        latent_dim: int = 4,
        activation: str = "relu",
        code: str = "linear",
    ) -> None:
        super().__init__()
        require_sizes(type(self).__name__, in_channels, image_size, latent_dim, *widths)
        for key, chosen in (("activation", activation), ("code", code)):
            if chosen not in ACTIVATIONS:
                raise ValueError(f"{key}={chosen} must be one of {', '.join(ACTIVATIONS)}")
        self.in_channels, self.image_size, self.latent_dim, self.code = in_channels, image_size, latent_dim, code
        self.encoder, self.decoder = self.parts(widths, activation)

    def parts(self, widths: Sequence[int], activation: str) -> tuple[nn.Module, nn.Module]:
        """The encoder and the decoder."""
        shape = (self.in_channels, self.image_size, self.image_size)
        sizes = (math.prod(shape), *widths, self.latent_dim)
        encoder = nn.Sequential(
            nn.Flatten(), *dense(sizes[:-1], activation), nn.Linear(sizes[-2], sizes[-1]), ACTIVATIONS[self.code]()
        )
        decoder = nn.Sequential(*dense(sizes[:0:-1], activation), nn.Linear(sizes[1], sizes[0]), nn.Unflatten(1, shape))
        return encoder, decoder

    def encode(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """The codes of images."""
        z: Tensor = self.encoder(x)
        return z

    def decode(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b c h w"]:
        """Images, or the logits of their pixels, for codes."""
        y: Tensor = self.decoder(z)
        return y

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.decode(self.encode(x))

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """Random images with pixels from 0 to 1, for tests, tables and graphs."""
        return (torch.rand(batch, self.in_channels, self.image_size, self.image_size),)


class ConvAutoencoder(Autoencoder):
    """Convolutions that halve the image, dense layers to a code, and both back.

    Args:
        in_channels, image_size: of the image; the side has to halve once for each of the `channels`.
        channels: maps behind each 4x4 convolution with stride 2; the decoder has the same in reverse.
        widths: units of dense layers between the last maps and the code, and in reverse behind it.
        latent_dim, activation, code: see `Autoencoder`.

    Raises:
        ValueError: a side that does not halve, a size that is not positive, or an unknown activation.
    """

    convolutional = True

    def __init__(
        self,
        *,
        in_channels: int = 3,
        image_size: int = 8,
        channels: Sequence[int] = (8, 16),
        widths: Sequence[int] = (),
        latent_dim: int = 4,
        activation: str = "relu",
        code: str = "linear",
    ) -> None:
        require_sizes(type(self).__name__, len(channels), *channels)
        self.channels = tuple(channels)
        super().__init__(
            in_channels=in_channels, image_size=image_size, widths=widths, latent_dim=latent_dim,
            activation=activation, code=code,
        )  # fmt: skip

    def parts(self, widths: Sequence[int], activation: str) -> tuple[nn.Module, nn.Module]:
        channels, side = self.channels, self.image_size >> len(self.channels)
        sizes = (channels[-1] * side**2, *widths, self.latent_dim)
        encoder = nn.Sequential(
            *halving(self.in_channels, self.image_size, channels, activation),
            nn.Flatten(),
            *dense(sizes[:-1], activation),
            nn.Linear(sizes[-2], sizes[-1]),
            ACTIVATIONS[self.code](),
        )
        decoder = nn.Sequential(
            *dense(sizes[::-1], activation),
            nn.Unflatten(1, (channels[-1], side, side)),
            *doubling(self.in_channels, channels, activation),
        )
        return encoder, decoder

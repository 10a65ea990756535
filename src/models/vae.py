"""Variational autoencoder, dense and convolutional.

Kingma and Welling 2013, "Auto-Encoding Variational Bayes", arXiv:1312.6114. An encoder gives the Gaussian
q(z|x) = N(μ, diag σ²) over codes, a decoder the parameters of p(x|z), and a sample is differentiable in μ and σ
(section 2.4 and appendix B):

    z = μ + σ ⊙ ε,    ε ~ N(0, I)

The dense form with 784-400-20 units and ReLU, in place of the paper's tanh, is that of github.com/pytorch/examples. The
convolutional form for 32x32 images, three 4x4 convolutions of 32 maps with stride 2, two layers of 256 units, 10 latent
dimensions and the mirror image of these, is that of Burgess et al. 2018, "Understanding disentangling in β-VAE",
arXiv:1804.03599, appendix A, which has a fourth convolution for its 64x64 images.

The variance of a Gaussian p(x|z) can be learnt: one for all pixels (Rybkin, Daniilidis and Levine 2020, "Simple and
Effective VAE Training with Calibrated Decoders", arXiv:2006.13202, section 3) or one for each pixel, given by the
decoder (Kingma and Welling, appendix C.2). As in Rybkin et al. it is softly bounded from below, here by (1/256)², one
level of an 8-bit pixel, under which a density of such data can grow without end.

Differs from the paper: in eval mode forward takes z = μ. The likelihood and the loss are the task's.

>>> import torch
>>> with torch.device("meta"):
...     networks = VAE(image_size=28, widths=(400,), latent_dim=20), ConvVAE(
...         image_size=32, channels=(32, 32, 32), widths=(256, 256), latent_dim=10
...     )
>>> [sum(p.numel() for p in network.parameters()) for network in networks]
[652824, 471223]
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .autoencoder import dense, doubling, halving, require_sizes

VARIANCES = ("fixed", "shared", "pixel")
FLOOR = -2 * math.log(256)  # of log σ_x²


class VAE(nn.Module):
    """Dense layers to a Gaussian over codes, and from a code back.

    Args:
        in_channels, image_size: of the image, whose height and width are equal.
        widths: units of the encoder's hidden layers; the decoder has the same in reverse. None make it linear.
        latent_dim: numbers of a code.
        variance: of a Gaussian likelihood: fixed (the task's), shared (one learnt for all pixels) or pixel (given by
            the decoder for each pixel). Learnt, its logarithm is a second half of x̂'s channels.

    Raises:
        ValueError: a size is not positive, or the variance is none of these.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        image_size: int = 8,
        widths: Sequence[int] = (16,),
        latent_dim: int = 4,
        variance: str = "fixed",
    ) -> None:
        super().__init__()
        require_sizes(type(self).__name__, in_channels, image_size, latent_dim, *widths)
        if variance not in VARIANCES:
            raise ValueError(f"variance={variance} must be one of {', '.join(VARIANCES)}")
        self.in_channels, self.image_size, self.latent_dim = in_channels, image_size, latent_dim
        self.variance = variance
        out_channels = in_channels * (2 if variance == "pixel" else 1)
        encoder, decoder, features = self.parts(out_channels, widths)
        self.encoder = encoder  # modules in the order in which they are passed
        self.mean = nn.Linear(features, latent_dim)
        self.log_variance = nn.Linear(features, latent_dim)
        self.decoder = decoder
        if variance == "shared":
            # A spread of 0.22, near that of pixels from 0 to 1: from 1 on, Adam would need thousands of steps.
            self.pixel_log_variance = nn.Parameter(torch.full((), -3.0))

    def parts(self, out_channels: int, widths: Sequence[int]) -> tuple[nn.Module, nn.Module, int]:
        """The encoder up to its last hidden layer, the decoder, and the width of that layer."""
        side = self.image_size
        sizes = (self.in_channels * side**2, *widths)
        encoder = nn.Sequential(nn.Flatten(), *dense(sizes, "relu"))
        decoder = nn.Sequential(
            *dense((self.latent_dim, *sizes[:0:-1]), "relu"),
            nn.Linear(sizes[1] if widths else self.latent_dim, out_channels * side**2),
            nn.Unflatten(1, (out_channels, side, side)),
        )
        return encoder, decoder, sizes[-1]

    def encode(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """μ and log σ² of q(z|x)."""
        h = self.encoder(x)
        return self.mean(h), self.log_variance(h)

    def decode(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b k h w"]:
        """Of each pixel the mean or the logit, and behind these channels, where it is learnt, the log-variance."""
        y: Tensor = self.decoder(z)
        if self.variance == "fixed":
            return y
        mean, raw = y.chunk(2, 1) if self.variance == "pixel" else (y, self.pixel_log_variance.expand_as(y))
        return torch.cat([mean, FLOOR + F.softplus(raw - FLOOR)], 1)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        μ, log_σ2 = self.encode(x)
        z = μ + (0.5 * log_σ2).exp() * torch.randn_like(μ) if self.training else μ
        return self.decode(z), μ, log_σ2

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """Random images with pixels from 0 to 1, for tests, tables and graphs."""
        return (torch.rand(batch, self.in_channels, self.image_size, self.image_size),)


class ConvVAE(VAE):
    """Convolutions that halve the image, dense layers to a Gaussian over codes, and from a code back.

    Args:
        in_channels, image_size: of the image; the side has to halve once for each of the `channels`.
        channels: maps behind each 4x4 convolution with stride 2; the decoder has the same in reverse.
        widths: units of dense layers behind the last maps, and in reverse behind the code.
        latent_dim, variance: see `VAE`.

    Raises:
        ValueError: a side that does not halve, a size that is not positive, or an unknown variance.
    """

    convolutional = True

    def __init__(
        self,
        *,
        in_channels: int = 3,
        image_size: int = 8,
        channels: Sequence[int] = (8, 16),
        widths: Sequence[int] = (16,),
        latent_dim: int = 4,
        variance: str = "fixed",
    ) -> None:
        require_sizes(type(self).__name__, len(channels), *channels)
        self.channels = tuple(channels)
        super().__init__(
            in_channels=in_channels, image_size=image_size, widths=widths, latent_dim=latent_dim, variance=variance
        )

    def parts(self, out_channels: int, widths: Sequence[int]) -> tuple[nn.Module, nn.Module, int]:
        channels, side = self.channels, self.image_size >> len(self.channels)
        sizes = (channels[-1] * side**2, *widths)
        encoder = nn.Sequential(
            *halving(self.in_channels, self.image_size, channels, "relu"), nn.Flatten(), *dense(sizes, "relu")
        )
        decoder = nn.Sequential(
            *dense((self.latent_dim, *sizes[::-1]), "relu"),
            nn.Unflatten(1, (channels[-1], side, side)),
            *doubling(out_channels, channels, "relu"),
        )
        return encoder, decoder, sizes[-1]

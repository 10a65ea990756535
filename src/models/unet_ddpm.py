"""The U-Net of DDPM.

Ho, Jain and Abbeel 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239, appendix B. The network says
what noise there is in an image x_t of a known step t:

    ε̂ = ε_θ(x_t, t)

It is a U-Net (Ronneberger et al. 2015, arXiv:1505.04597) of residual blocks with group normalisation (Wu and He 2018,
arXiv:1803.08494) and swish, x + conv(swish(norm(conv(swish(norm(x))) + W swish(e)))), where e is a function of the
sinusoidal embedding of t (Vaswani et al. 2017, section 3.5); blocks of some levels attend over all places. Of classes
an embedding is added to that of t, with one more entry for «no class», as guidance without a classifier needs it (Ho
and Salimans 2022, arXiv:2207.12598).

Differs from the authors' code: layers whose initial weights are drawn there with a scale of 1e-10 begin at zero.

>>> import torch
>>> with torch.device("meta"):
...     sizes = dict(width=128, multipliers=(1, 2, 2, 2), blocks=2, attention=(1,), groups=32, dropout=0.1)
...     network = DDPMUNet(in_channels=3, image_size=32, **sizes)
>>> sum(p.numel() for p in network.parameters())
35746307
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from .transformer import MultiHeadAttention

EPS = 1e-6  # of all normalisations, as in the authors' code


def embed_steps(t: Real[Tensor, " b"], dim: int) -> Float[Tensor, "b d"]:
    """Sines, then cosines, of t times frequencies that fall geometrically from 1 to 1/10,000.

    Args:
        t: steps, whole numbers or real ones.
        dim: width of the embedding, even and at least 4.
    """
    half = dim // 2
    frequencies = torch.exp(torch.arange(half, device=t.device) * (-math.log(10_000) / (half - 1)))
    angles = t[:, None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


class ResidualBlock(nn.Module):
    """Two convolutions, between which the embedding of the step is added.

    Args:
        in_channels, out_channels: where they differ, the shortcut is a 1x1 convolution.
        embedding: width of the step's embedding.
        groups: of group normalisation.
        dropout: before the second convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, embedding: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, EPS)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.step = nn.Linear(embedding, out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels, EPS)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"], e: Float[Tensor, "b e"]) -> Float[Tensor, "b o h w"]:
        y = self.conv1(F.silu(self.norm1(x))) + self.step(F.silu(e))[:, :, None, None]
        y = self.conv2(self.dropout(F.silu(self.norm2(y))))
        z: Tensor = self.shortcut(x) + y
        return z


class AttentionBlock(nn.Module):
    """Each place attends to all places, with one head: x + W^O attention(norm(x))."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, EPS)
        self.attention = MultiHeadAttention(channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y, _ = self.attention(self.norm(x).flatten(2).mT)
        z: Tensor = x + y.mT.unflatten(2, x.shape[2:])
        return z


class Downsample(nn.Module):
    """Half the side by a 3x3 convolution of stride 2, padded by one row below and one column on the right."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        y: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return y


class Upsample(nn.Module):
    """Twice the side, by repetition and a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        y: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return y


class Stage(nn.Module):
    """A residual block, and attention where the level has it."""

    def __init__(
        self, in_channels: int, out_channels: int, embedding: int, groups: int, dropout: float, attends: bool
    ) -> None:
        super().__init__()
        self.block = ResidualBlock(in_channels, out_channels, embedding, groups, dropout)
        self.attention = AttentionBlock(out_channels, groups) if attends else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"], e: Float[Tensor, "b e"]) -> Float[Tensor, "b o h w"]:
        y: Tensor = self.attention(self.block(x, e))
        return y


class DDPMUNet(nn.Module):
    """Noise (or what else the task trains it for) from an image with noise, its step, and perhaps its class.

    Level i has images of side image_size / 2^i. On the way down each stage leaves its output, which the stages of the
    way up, one more in each level, take in reverse order.

    Args:
        width: channels of level 0, and half of those that t is embedded in at first; even, at least 4.
        multipliers: channels of each level, as multiples of `width`.
        blocks: residual blocks of each level on the way down.
        attention: levels whose blocks attend.
        groups: of group normalisation; divides all numbers of channels.
        dropout: in residual blocks.
        conditional: whether the class is given.
        num_classes: K; then label K is «no class».
        in_channels: channels of the image, and of the answer.
        image_size: height and width of the image, in pixels.

    Raises:
        ValueError: groups do not divide the channels, or `attention` names no level.
    """

    def __init__(
        self,
        *,
        width: int = 8,
        multipliers: Sequence[int] = (1, 2),
        blocks: int = 1,
        attention: Sequence[int] = (1,),
        groups: int = 4,
        dropout: float = 0.0,
        conditional: bool = False,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 8,
    ) -> None:
        super().__init__()
        if width < 4 or width % 2 or width % groups:
            raise ValueError(f"width={width} must be even, at least 4, and a multiple of groups={groups}")
        if not all(0 <= level < len(multipliers) for level in attention):
            raise ValueError(f"attention={list(attention)} must name levels from 0 to {len(multipliers) - 1}")
        self.width, self.conditional, self.num_classes = width, conditional, num_classes
        self.in_channels, self.image_size = in_channels, image_size
        e = 4 * width

        def stage(level: int, c: int, out: int) -> Stage:
            return Stage(c, out, e, groups, dropout, level in attention)

        self.embedding = nn.Sequential(nn.Linear(width, e), nn.SiLU(), nn.Linear(e, e))
        if conditional:
            self.classes = nn.Embedding(num_classes + 1, e)
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)

        channels, left = width, [width]
        self.down = nn.ModuleList()
        self.downsample = nn.ModuleList()
        for level, multiplier in enumerate(multipliers):
            self.down.append(nn.ModuleList())
            for _ in range(blocks):
                self.down[level].append(stage(level, channels, width * multiplier))  # type: ignore[operator]
                channels = width * multiplier
                left.append(channels)
            if level < len(multipliers) - 1:
                self.downsample.append(Downsample(channels))
                left.append(channels)

        self.middle = nn.ModuleList(
            [
                Stage(channels, channels, e, groups, dropout, attends=True),
                Stage(channels, channels, e, groups, dropout, attends=False),
            ]
        )
        self.up = nn.ModuleList()
        self.upsample = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(multipliers))):
            stages = nn.ModuleList()
            for _ in range(blocks + 1):
                stages.append(stage(level, channels + left.pop(), width * multiplier))
                channels = width * multiplier
            self.up.append(stages)
            if level > 0:
                self.upsample.append(Upsample(channels))
        self.norm = nn.GroupNorm(groups, channels, EPS)
        self.last = nn.Conv2d(channels, in_channels, 3, padding=1)

        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
            if isinstance(module, MultiHeadAttention):  # three matrices in one
                with torch.no_grad():
                    for part in module.qkv.weight.chunk(3):
                        nn.init.xavier_uniform_(part)
        silent: list[nn.Module] = [self.last]  # the network begins with the answer 0, each block with its shortcut
        silent += [m.conv2 for m in self.modules() if isinstance(m, ResidualBlock)]
        silent += [m.output for m in self.modules() if isinstance(m, MultiHeadAttention)]
        for module in silent:
            assert isinstance(module, nn.Conv2d | nn.Linear)
            nn.init.zeros_(module.weight)

    def forward(
        self, x: Float[Tensor, "b c h w"], t: Real[Tensor, " b"], labels: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """One answer for each image.

        Args:
            x: images with noise.
            t: their steps, from 0 (least noise) on.
            labels: classes, K for none; None: none at all.

        Raises:
            ValueError: the side cannot be halved as often.
        """
        dtype = self.first.weight.dtype  # of the network; tables of t and of the noise are float32
        e = self.embedding(embed_steps(t, self.width).to(dtype))
        if self.conditional:
            e = e + self.classes(torch.full_like(t, self.num_classes, dtype=torch.int64) if labels is None else labels)
        x = self.first(x.to(dtype))
        left = [x]
        for level, stages in enumerate(self.down):
            for stage in stages:  # type: ignore[attr-defined]
                x = stage(x, e)
                left.append(x)
            if level < len(self.downsample):
                if x.shape[2] % 2 or x.shape[3] % 2:
                    n = 2 ** len(self.downsample)
                    raise ValueError(
                        f"downsample.{level} gets {x.shape[2]}x{x.shape[3]} pixels, which it cannot halve: use images "
                        f"with sides that are multiples of {n}, or fewer levels than {len(self.down)} in multipliers"
                    )
                x = self.downsample[level](x)
                left.append(x)
        for stage in self.middle:
            x = stage(x, e)
        for level, stages in enumerate(self.up):
            for stage in stages:  # type: ignore[attr-defined]
                x = stage(torch.cat([x, left.pop()], 1), e)
            if level < len(self.upsample):
                x = self.upsample[level](x)
        y: Tensor = self.last(F.silu(self.norm(x)))
        return y

    def example_input(self, batch: int = 2) -> tuple[Tensor, ...]:
        """Images, steps out of 1,000 and, where it takes them, labels: for tests, tables and graphs."""
        x = torch.randn(batch, self.in_channels, self.image_size, self.image_size)
        t = torch.randint(1000, (batch,))
        return (x, t, torch.randint(self.num_classes, (batch,))) if self.conditional else (x, t)

    def extra_repr(self) -> str:
        return f"conditional on {self.num_classes} classes" if self.conditional else ""

"""Temporal convolutional network.

Bai, Kolter and Koltun 2018, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence
Modeling", arXiv:1803.01271. A convolution is causal, which here means that it pads on the left alone, and dilated
(equation in section 3.2), with kernel f of k taps and dilation d:

    F(s) = Σ_{i=0}^{k-1} f(i) x_{s - d i}

A block (figure 1b) is two of them with weight normalisation (Salimans and Kingma 2016, arXiv:1602.07868), each followed
by ReLU and dropout, beside an identity (a 1x1 convolution where the channels differ), with ReLU over the sum. Block l
has dilation 2^l, so that L blocks see 1 + 2 (k-1) (2^L - 1) steps: two convolutions a block.

Differs from the paper: dropout is of single values, as in the authors' code, and not of whole channels. Token inputs
get an embedding of `dim` values. The weights of 1x1 convolutions and of the read-out start from N(0, 0.01²), the others
from U(±1/√fan_in): their code asks for N(0, 0.01²) there too, on weights that its weight normalisation then computes
anew from others, so that it has no effect.

>>> import torch
>>> sizes = {  # the authors' configurations (section 5 and their code)
...     "sequential MNIST": dict(num_classes=10, dim=25, depth=8, kernel_size=7),
...     "adding": dict(in_channels=2, targets="horizon", dim=30, depth=8, kernel_size=7),
...     "copy memory": dict(num_classes=10, targets="step", dim=10, depth=8, kernel_size=8),
...     "JSB chorales": dict(in_channels=88, num_classes=88, targets="step", dim=150, depth=2, kernel_size=3),
... }
>>> with torch.device("meta"):
...     [sum(p.numel() for p in TCN(**{"in_channels": 1} | size).parameters()) for size in sizes.values()]
[66910, 96001, 12530, 269938]
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from .classifier import Classifier, FeatureInfo
from .rnn import output_shape


class CausalConv1d(nn.Conv1d):
    """A dilated convolution that pads with zeros on the left alone: `b c t` -> `b d t`."""

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b d t"]:
        return super().forward(F.pad(x, ((self.kernel_size[0] - 1) * self.dilation[0], 0)))


class TemporalBlock(nn.Module):
    """Figure 1b: `b c t` -> `b d t`."""

    def __init__(self, in_channels: int, dim: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        conv1 = CausalConv1d(in_channels, dim, kernel_size, dilation=dilation)
        conv2 = CausalConv1d(dim, dim, kernel_size, dilation=dilation)
        self.shortcut = nn.Conv1d(in_channels, dim, 1) if in_channels != dim else nn.Identity()
        if isinstance(self.shortcut, nn.Conv1d):
            nn.init.normal_(self.shortcut.weight, 0, 0.01)
        self.conv1, self.conv2 = weight_norm(conv1), weight_norm(conv2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b d t"]:
        y = self.dropout(F.relu(self.conv1(x)))
        y = self.dropout(F.relu(self.conv2(y)))
        return F.relu(y + self.shortcut(x))


class TCN(Classifier):
    """Blocks of growing dilation and a linear read-out.

    Args:
        in_channels, vocab_size, num_classes, targets, horizon, out_channels, quantiles, tied, length: see `RNN`.
        dim: channels of each block, and values of an embedding.
        depth: number of blocks L.
        kernel_size: taps k of each convolution.
        dropout: probability, behind each convolution.

    Raises:
        ValueError: sizes that are not positive, or tied weights without tokens in and out.
    """

    causal = True
    heads = ("decoder",)
    variable_length = True

    def __init__(
        self,
        *,
        in_channels: int = 3,
        vocab_size: int = 0,
        num_classes: int = 10,
        targets: str = "sequence",
        horizon: int = 1,
        out_channels: int = 1,
        quantiles: Sequence[float] | None = None,
        dim: int = 16,
        depth: int = 2,
        kernel_size: int = 3,
        dropout: float = 0.0,
        tied: bool = False,
        length: int = 8,
    ) -> None:
        super().__init__()
        if tied and not (vocab_size and targets == "step"):
            raise ValueError("tied=true needs tokens in and out, as of a language model: use tied=false")
        if min(dim, depth, kernel_size) < 1 or not 0 <= dropout < 1:
            raise ValueError(
                f"dim={dim}, depth={depth} and kernel_size={kernel_size} must be positive and dropout={dropout} from 0 "
                "to below 1"
            )
        self.in_channels, self.vocab_size, self.targets, self.length = in_channels, vocab_size, targets, length
        self.shape = output_shape(
            vocab_size=vocab_size, num_classes=num_classes, targets=targets, horizon=horizon, out_channels=out_channels,
            quantiles=quantiles,
        )  # fmt: skip
        self.embedding = nn.Embedding(vocab_size, dim) if vocab_size else None
        channels = [dim if vocab_size else in_channels, *[dim] * depth]
        self.blocks = nn.Sequential(
            *(TemporalBlock(channels[i], dim, kernel_size, 2**i, dropout) for i in range(depth))
        )
        self.decoder = nn.Linear(dim, math.prod(self.shape))
        self.num_features = dim
        self.feature_info = FeatureInfo(*((f"blocks.{i}", dim, 1) for i in range(depth)))
        self.init_head(self.decoder)
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, 0, 0.01)
        if tied:
            assert self.embedding is not None
            self.decoder.weight = self.embedding.weight
        self.receptive_field = 1 + 2 * (kernel_size - 1) * (2**depth - 1)

    def init_head(self, head: nn.Linear) -> None:
        nn.init.normal_(head.weight, 0, 0.01)
        nn.init.zeros_(head.bias)

    def reset_classifier(self, num_classes: int) -> None:
        super().reset_classifier(num_classes)
        self.shape = (self.decoder.out_features,)

    def extra_repr(self) -> str:
        return f"each step sees {self.receptive_field:,} steps"

    def forward(
        self, x: Float[Tensor, "b t c"] | Int[Tensor, "b t"], lengths: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b ..."]:
        """Answers, of shape `b k`, `b t k`, `b h c` or `b h c q`; see `RNN.forward`."""
        return self.forward_head(self.forward_features(x), lengths=lengths)

    def stages(
        self, x: Float[Tensor, "b t c"] | Int[Tensor, "b t"], lengths: Int[Tensor, " b"] | None = None
    ) -> Iterator[Tensor]:
        """What each block gives, `b d t`; no step sees padding behind it."""
        h = (x if self.embedding is None else self.embedding(x)).transpose(1, 2)
        for block in self.blocks:
            yield (h := block(h))

    def forward_features(
        self, x: Float[Tensor, "b t c"] | Int[Tensor, "b t"], lengths: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b d t"]:
        features: Tensor = self.blocks((x if self.embedding is None else self.embedding(x)).transpose(1, 2))
        return features

    def forward_head(
        self, x: Float[Tensor, "b d t"], pre_logits: bool = False, lengths: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b ..."]:
        h = x.transpose(1, 2)
        if self.targets != "step":
            h = h[:, -1] if lengths is None else h[torch.arange(len(h), device=h.device), lengths - 1]
        if pre_logits:
            return h
        answers: Tensor = self.decoder(h)
        return answers if self.targets == "step" else answers.unflatten(1, self.shape)

    def example_input(self, batch: int = 2) -> tuple[Tensor]:
        """Normal numbers or random tokens, for tests, tables and graphs."""
        if self.vocab_size:
            return (torch.randint(self.vocab_size, (batch, self.length)),)
        return (torch.randn(batch, self.length, self.in_channels),)

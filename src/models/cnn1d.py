"""Fully convolutional network for time series.

Wang, Yan and Oates 2017, "Time Series Classification from Scratch with Deep Neural Networks: A Strong Baseline",
arXiv:1611.06455, figure 1b. Three blocks of convolution over time, batch normalisation and ReLU, then the mean over
time, which takes sequences of any length, and a linear layer:

    y = W ⊗ x + b,    s = BN(y),    h = ReLU(s)                                                  (equation 2)

Differs from the paper: with lengths given, the steps of padding are set to zero before each convolution and left out of
the mean, so that in evaluation padding changes nothing (in training they do count in the batch statistics).

>>> import torch
>>> with torch.device("meta"):
...     network = CNN1d(in_channels=1, num_classes=2, widths=(128, 256, 128), kernel_sizes=(8, 5, 3))
>>> sum(p.numel() for p in network.parameters())
264962
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo
from .rnn import output_shape


class Block(nn.Module):
    """Equation 2, with as many steps out as in: `b c t` -> `b d t`."""

    def __init__(self, in_channels: int, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, dim, kernel_size)
        self.norm = nn.BatchNorm1d(dim)
        self.padding = ((kernel_size - 1) // 2, kernel_size // 2)
        nn.init.xavier_uniform_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b d t"]:
        return F.relu(self.norm(self.conv(F.pad(x, self.padding))))


def real(steps: int | torch.SymInt, lengths: Int[Tensor, " b"] | None) -> Bool[Tensor, "b 1 t"] | None:
    """Which steps are no padding; None: all."""
    return None if lengths is None else (torch.arange(steps, device=lengths.device) < lengths[:, None])[:, None]


class CNN1d(Classifier):
    """Blocks, the mean over time, and a linear read-out.

    Args:
        in_channels: real values of each step.
        num_classes, targets, horizon, out_channels, quantiles, length: see `RNN`; a block sees later steps, so targets
            are never those of each step.
        widths, kernel_sizes: channels and taps of each block.

    Raises:
        ValueError: targets at each step, or sizes that do not go together.
    """

    heads = ("decoder",)
    variable_length = True

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        targets: str = "sequence",
        horizon: int = 1,
        out_channels: int = 1,
        quantiles: Sequence[float] | None = None,
        widths: Sequence[int] = (8, 8),
        kernel_sizes: Sequence[int] = (4, 3),
        length: int = 8,
    ) -> None:
        super().__init__()
        if targets == "step":
            raise ValueError("cnn1d answers to a whole sequence, and these data have a target at each step: use tcn")
        if len(widths) != len(kernel_sizes) or not widths or min(*widths, *kernel_sizes) < 1:
            raise ValueError(
                f"widths={list(widths)} and kernel_sizes={list(kernel_sizes)} must be positive, one pair a block"
            )
        self.in_channels, self.targets, self.length = in_channels, targets, length
        self.shape = output_shape(
            vocab_size=0, num_classes=num_classes, targets=targets, horizon=horizon, out_channels=out_channels,
            quantiles=quantiles,
        )  # fmt: skip
        channels = [in_channels, *widths]
        self.blocks = nn.ModuleList(Block(c, d, k) for c, d, k in zip(channels, widths, kernel_sizes, strict=False))
        self.decoder = nn.Linear(widths[-1], math.prod(self.shape))
        self.num_features = widths[-1]
        self.feature_info = FeatureInfo(*((f"blocks.{i}", d, 1) for i, d in enumerate(widths)))
        self.init_head(self.decoder)

    def init_head(self, head: nn.Linear) -> None:
        nn.init.xavier_uniform_(head.weight)
        nn.init.zeros_(head.bias)

    def reset_classifier(self, num_classes: int) -> None:
        super().reset_classifier(num_classes)
        self.shape = (self.decoder.out_features,)

    def stages(self, x: Float[Tensor, "b t c"], lengths: Int[Tensor, " b"] | None = None) -> Iterator[Tensor]:
        """What each block gives, `b d t`."""
        h, mask = x.transpose(1, 2), real(x.shape[1], lengths)
        for block in self.blocks:
            yield (h := block(h if mask is None else h * mask))

    def forward_features(
        self, x: Float[Tensor, "b t c"], lengths: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b d t"]:
        """What the last block gives; at steps of padding it means nothing."""
        *_, last = self.stages(x, lengths)
        return last

    def forward_head(
        self, x: Float[Tensor, "b d t"], pre_logits: bool = False, lengths: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b ..."]:
        mask = real(x.shape[2], lengths)
        mean = x.mean(2) if lengths is None or mask is None else (x * mask).sum(2) / lengths[:, None]
        return mean if pre_logits else self.decoder(mean).unflatten(1, self.shape)

    def forward(self, x: Float[Tensor, "b t c"], lengths: Int[Tensor, " b"] | None = None) -> Float[Tensor, "b ..."]:
        """Answers, of shape `b k`, `b h c` or `b h c q`; see `RNN.forward`."""
        return self.forward_head(self.forward_features(x, lengths), lengths=lengths)

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b t c"]]:
        """Normal numbers, for tests, tables and graphs."""
        return (torch.randn(batch, self.length, self.in_channels),)

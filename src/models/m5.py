"""M5, a convolutional network for raw waveforms.

Dai, Dai, Qu, Li and Das 2016, "Very Deep Convolutional Neural Networks for Raw Waveforms", arXiv:1610.00087, table 1,
column M5. A first convolution of 80 samples, which at 8 kHz are 10 ms, as band-pass filters, then three of 3; each with
batch normalisation and ReLU, and each followed by max pooling over 4. Of 32,000 samples there remain:

    80/4 @128 -> 8000 | pool 2000 | 3 @128 | pool 500 | 3 @256 | pool 125 | 3 @512 | pool 32 | mean | logits

Convolutions are padded to keep the length (the first one to a quarter of it) and poolings round up, as the sizes in
table 1 need it; so a waveform of any length from 4 samples on is taken.

Differs from the paper: convolutions have no bias, which the normalisation behind them would take out again; the
classifier's weights start near 0 (standard deviation 0.01), so that the first loss is that of a guess.

>>> import torch
>>> with torch.device("meta"):
...     network = M5(width=128)
>>> sum(p.numel() for p in network.parameters())
558090
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo


class Block(nn.Sequential):
    """Convolution, batch normalisation, ReLU and max pooling over 4: `b c t` -> `b d u`."""

    def __init__(self, in_channels: int, dim: int, kernel_size: int, stride: int) -> None:
        super().__init__(
            nn.Conv1d(in_channels, dim, kernel_size, stride, padding=(kernel_size - stride) // 2, bias=False),
            nn.BatchNorm1d(dim),
            nn.ReLU(),
            nn.MaxPool1d(4, ceil_mode=True),
        )


class M5(Classifier):
    """Four blocks, the mean over time and a linear classifier.

    Args:
        in_channels: 1, or the channels of a recording with several.
        num_classes: number of logits.
        width: filters of the first two blocks; the others have twice and four times as many.
        length: samples of an example; the network takes any number from 4 on.
    """

    heads = ("output",)

    def __init__(self, *, in_channels: int = 1, num_classes: int = 10, width: int = 8, length: int = 640) -> None:
        super().__init__()
        self.in_channels, self.length = in_channels, length
        self.blocks = nn.Sequential(
            Block(in_channels, width, 80, 4),
            Block(width, width, 3, 1),
            Block(width, 2 * width, 3, 1),
            Block(2 * width, 4 * width, 3, 1),
        )
        self.output = nn.Linear(4 * width, num_classes)
        self.num_features = 4 * width
        widths = (width, width, 2 * width, 4 * width)
        self.feature_info = FeatureInfo(*((f"blocks.{i}", d, 4 ** (i + 2)) for i, d in enumerate(widths)))
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.xavier_uniform_(module.weight)  # section 3
        self.init_head(self.output)

    def init_head(self, head: nn.Linear) -> None:
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)

    def stages(self, x: Float[Tensor, "b t c"]) -> Iterator[Tensor]:
        """What each block gives, `b d t`."""
        x = x.transpose(1, 2)
        for block in self.blocks:
            yield (x := block(x))

    def forward_features(self, x: Float[Tensor, "b t c"]) -> Float[Tensor, "b d t2"]:
        features: Tensor = self.blocks(x.transpose(1, 2))
        return features

    def forward_head(self, x: Float[Tensor, "b d t"], pre_logits: bool = False) -> Float[Tensor, "b k"]:
        x = x.mean(2)
        return x if pre_logits else self.output(x)

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b t c"]]:
        """Normal numbers, for tests, tables and graphs."""
        return (torch.randn(batch, self.length, self.in_channels),)

"""DLinear: a trend and a remainder, each with a linear map over time.

Zeng, Chen, Zhang and Xu 2022, "Are Transformers Effective for Time Series Forecasting?", arXiv:2205.13504,
section 4.2 and figure 2. For each channel, x of the last L steps and the forecast of the next h:

    t = mean of the 25 steps around each,    s = x - t,    ŷ = W_s s + W_t t + b

At the ends the first and the last value are repeated, so that t is as long as x. One W_s and one W_t in R^(h x L) serve
all channels, or each has its own (DLinear-I). Channels do not see one another.

Differs from the paper: with quantiles, the maps have an output for each of them, and further channels (covariates) are
allowed and ignored. As in the authors' code each of the two maps has a bias.

>>> import torch
>>> with torch.device("meta"):
...     network = DLinear(in_channels=7, out_channels=7, lookback=336, horizon=96, kernel_size=25)
>>> sum(p.numel() for p in network.parameters())
64704
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .n_linear import TimeLinear, by_step


def trend(x: Float[Tensor, "b c l"], kernel_size: int) -> Float[Tensor, "b c l"]:
    """The moving average of an odd number of steps, the ends' values repeated beyond them."""
    side = kernel_size // 2
    return nn.functional.avg_pool1d(nn.functional.pad(x, (side, side), mode="replicate"), kernel_size, stride=1)


class DLinear(nn.Module):
    """Forecasts of the next h steps: linear maps of the trend and of what is left without it.

    Args:
        in_channels: channels of the input.
        out_channels: the first channels, which are forecast; the others (covariates) are ignored.
        lookback: steps of the input, L.
        horizon: steps of the forecast, h.
        kernel_size: steps of the moving average, an odd number.
        individual: whether each channel has its own maps.
        quantiles: levels that are forecast, of which each is an entry of a last axis; None: numbers.

    Raises:
        ValueError: more channels are to be forecast than there are, or the average is of an even number of steps.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 2,
        lookback: int = 16,
        horizon: int = 4,
        kernel_size: int = 5,
        individual: bool = False,
        quantiles: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if out_channels > in_channels:
            raise ValueError(
                f"{out_channels=} are to be forecast from {in_channels=}: each forecast needs its own past"
            )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"{kernel_size=} must be an odd number of steps, the same to both sides of a middle")
        self.in_channels, self.out_channels, self.lookback, self.horizon = in_channels, out_channels, lookback, horizon
        self.kernel_size = kernel_size
        self.levels = None if quantiles is None else len(quantiles)
        outputs = horizon * (self.levels or 1)
        self.remainder = TimeLinear(out_channels, lookback, outputs, individual=individual)
        self.trend = TimeLinear(out_channels, lookback, outputs, individual=individual)

    def forward(self, x: Float[Tensor, "b l c"]) -> Float[Tensor, "b h k *q"]:
        x = x[..., : self.out_channels].transpose(1, 2)
        t = trend(x, self.kernel_size)
        return by_step(self.remainder(x - t) + self.trend(t), self.horizon, self.levels)

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b l c"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.lookback, self.in_channels),)

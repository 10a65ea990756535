"""NLinear: one linear map over time, after the last value has been taken away.

Zeng, Chen, Zhang and Xu 2022, "Are Transformers Effective for Time Series Forecasting?", arXiv:2205.13504,
section 4.2. For each channel, x of the last L steps and the forecast of the next h:

    ŷ = W (x - x_L) + b + x_L

One W in R^(h x L) serves all channels, or each has its own. Channels do not see one another. A constant that is added
to a channel is added to its forecast.

Differs from the paper: with quantiles, the map has an output for each of them, and further channels (covariates) are
allowed and ignored.

>>> import torch
>>> with torch.device("meta"):
...     networks = [NLinear(in_channels=7, out_channels=7, lookback=336, horizon=96, individual=individual)
...                 for individual in (False, True)]
>>> [sum(p.numel() for p in network.parameters()) for network in networks]
[32352, 226464]
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class TimeLinear(nn.Module):
    """A linear map along time, one for all channels or one for each.

    Weights and biases start uniformly within ±lookback^(-1/2), as in the authors' code.

    Args:
        channels: how many there are.
        lookback: length of the input.
        outputs: length of the output.
        individual: whether each channel has its own map.
    """

    def __init__(self, channels: int, lookback: int, outputs: int, *, individual: bool) -> None:
        super().__init__()
        maps = channels if individual else 1
        self.weight = nn.Parameter(torch.empty(maps, outputs, lookback))
        self.bias = nn.Parameter(torch.empty(maps, outputs))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(lookback**-0.5), lookback**-0.5)

    def forward(self, x: Float[Tensor, "b c l"]) -> Float[Tensor, "b c o"]:
        if len(self.weight) == 1:
            return nn.functional.linear(x, self.weight[0], self.bias[0])
        y: Tensor = torch.einsum("bcl,col->bco", x, self.weight) + self.bias
        return y

    def extra_repr(self) -> str:
        maps, outputs, lookback = self.weight.shape
        return f"{lookback} -> {outputs}, {'one map for all channels' if maps == 1 else f'{maps} maps'}"


class NLinear(nn.Module):
    """Forecasts of the next h steps, from the differences to the last one.

    Args:
        in_channels: channels of the input.
        out_channels: the first channels, which are forecast; the others (covariates) are ignored.
        lookback: steps of the input, L.
        horizon: steps of the forecast, h.
        individual: whether each channel has its own map.
        quantiles: levels that are forecast, of which each is an entry of a last axis; None: numbers.

    Raises:
        ValueError: more channels are to be forecast than there are.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 2,
        lookback: int = 16,
        horizon: int = 4,
        individual: bool = False,
        quantiles: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if out_channels > in_channels:
            raise ValueError(
                f"{out_channels=} are to be forecast from {in_channels=}: each forecast needs its own past"
            )
        self.in_channels, self.out_channels, self.lookback, self.horizon = in_channels, out_channels, lookback, horizon
        self.levels = None if quantiles is None else len(quantiles)
        self.linear = TimeLinear(out_channels, lookback, horizon * (self.levels or 1), individual=individual)

    def forward(self, x: Float[Tensor, "b l c"]) -> Float[Tensor, "b h k *q"]:
        x = x[..., : self.out_channels].transpose(1, 2)
        last = x[..., -1:]
        y = self.linear(x - last) + last
        return by_step(y, self.horizon, self.levels)

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b l c"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.lookback, self.in_channels),)


def by_step(y: Float[Tensor, "b k o"], horizon: int, levels: int | None) -> Float[Tensor, "b h k *q"]:
    """What a map over time gives for each channel, as steps, channels and (where there are) quantiles."""
    if levels is None:
        return y.transpose(1, 2)
    steps: Tensor = y.unflatten(2, (horizon, levels))
    return steps.transpose(1, 2)

"""What a forecaster has to beat: the last value, the last season, a straight line, least squares."""

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

ROWS = 100_000  # from which the linear map is fitted at most: windows times series
RIDGE = 1e-6  # of the mean diagonal entry, so that a constant series has a solution
CHUNK = 512  # windows at a time


class Windows(Protocol):
    """Windows of a series, as `SeriesWindows` of the data: window i is forecast from row `first + i` of `values` on."""

    values: Tensor
    first: int
    lookback: int
    horizon: int
    out_channels: int

    def __len__(self) -> int: ...

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor]: ...


def drift(x: Tensor, horizon: int) -> Tensor:
    """The line through the first and the last value, continued (Hyndman and Athanasopoulos 2021, section 5.2).

    Args:
        x: `b l c`.
        horizon: h.

    Returns:
        `b h c`.
    """
    slope = (x[:, -1:] - x[:, :1]) / max(1, x.shape[1] - 1)
    return x[:, -1:] + slope * torch.arange(1, horizon + 1)[:, None]


def seasonal_rows(origins: Tensor, horizon: int, period: int) -> Tensor:
    """Rows of the latest known values whole seasons before each step, `n h`, for forecasts from `origins` on."""
    ahead = torch.arange(horizon)
    return origins[:, None] + ahead - period * (ahead // period + 1)


def fit_linear(windows: Windows) -> Tensor:
    """Least squares from all steps of the lookback and a constant to each step of the horizon.

    One map serves all series, each of which it forecasts from its own past. It is the closed form of what the
    networks of Zeng et al. 2022 (arXiv:2205.13504) are trained for. Of many windows an evenly spaced part is used.

    Returns:
        float64 `lookback+1 horizon`.
    """
    count = max(1, ROWS // windows.out_channels)
    chosen = torch.linspace(0, len(windows) - 1, min(count, len(windows)), dtype=torch.float64).round().long()
    size = windows.lookback + 1
    gram = torch.zeros(size, size, dtype=torch.float64)
    moments = torch.zeros(size, windows.horizon, dtype=torch.float64)
    for indices in chosen.split(CHUNK):
        x, y = windows[-1, indices]
        design = _design(x[..., : windows.out_channels])
        gram += design.T @ design
        moments += design.T @ y.double().transpose(1, 2).reshape(-1, windows.horizon)
    gram += RIDGE * gram.diagonal().mean() * torch.eye(size, dtype=torch.float64)
    weights: Tensor = torch.linalg.solve(gram, moments)
    return weights


def _design(x: Tensor) -> Tensor:
    """Rows of least squares: each series of each window and a one, `b*c l+1`."""
    rows = x.double().transpose(1, 2).reshape(-1, x.shape[1])
    return torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], 1)


class Baselines:
    """Forecasts that need no network, from what was known when each forecast was made.

    Args:
        train: windows of the training split, from which the linear map is fitted.
        period: rows of a season; with 1 there is no seasonal naive forecast. It may be longer than the lookback: the
            values are taken from the series.
    """

    def __init__(self, train: Windows, period: int) -> None:
        self.period, self.linear = period, fit_linear(train)

    def forecasts(self, windows: Windows, indices: Tensor) -> dict[str, Tensor]:
        """Scaled forecasts `n h c` of the windows with these numbers, by name.

        The seasonal one is left out where the series has no season, or begins less than one before the first window.
        """
        h, c = windows.horizon, windows.out_channels
        x = windows[-1, indices][0][..., :c]
        found = {"last_value": x[:, -1:].expand(-1, h, -1)}
        if self.period > 1 and windows.first >= self.period:
            found["seasonal_naive"] = windows.values[seasonal_rows(windows.first + indices, h, self.period), :c]
        found["drift"] = drift(x, h)
        found["linear"] = (_design(x) @ self.linear).view(len(x), c, h).transpose(1, 2).to(x.dtype)
        return found

    def errors(self, windows: Windows, batches: Iterable[Tensor]) -> tuple[dict[str, Tensor], int]:
        """Sums over windows of what was wrong.

        Args:
            windows: of any split.
            batches: numbers of the windows to judge.

        Returns:
            For each baseline the squared and absolute errors by step of the horizon, means over the series and sums
            over the windows, float64 `2 h`; and how many windows there were.
        """
        sums: dict[str, Tensor] = {}
        count = 0
        for indices in batches:
            y = windows[-1, indices][1]
            count += len(indices)
            for name, forecast in self.forecasts(windows, indices).items():
                error = (forecast - y).double()
                both = torch.stack([error.square().mean(2).sum(0), error.abs().mean(2).sum(0)])
                sums[name] = sums[name] + both if name in sums else both
        return sums, count

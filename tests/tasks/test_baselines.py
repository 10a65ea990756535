"""Baselines of forecasts by hand."""

import numpy as np
import torch
from helpers.series import RNG

from torchatlas.data.series.base import SeriesWindows
from torchatlas.tasks.baselines import Baselines, drift, fit_linear, seasonal_rows


def test_baselines_by_hand() -> None:
    x = torch.tensor([[[1.0], [2.0], [4.0]]])
    assert drift(x, 3)[0, :, 0].tolist() == [5.5, 7.0, 8.5]  # 3 in two steps
    origins = torch.tensor([10])
    assert seasonal_rows(origins, 5, 2).tolist() == [[8, 9, 8, 9, 8]]
    assert seasonal_rows(origins, 5, 4).tolist() == [[6, 7, 8, 9, 6]]
    values = torch.tensor([1.0, 5, 2, 6, 3, 7, 4, 8])[:, None]
    windows = SeriesWindows(values, 4, 8, lookback=1, horizon=3, out_channels=1)
    made = Baselines(windows, 2).forecasts(windows, torch.tensor([0]))
    assert made["last_value"][0, :, 0].tolist() == [6, 6, 6]
    assert made["seasonal_naive"][0, :, 0].tolist() == [2, 6, 2]  # longer than the lookback: from the series
    sums, count = Baselines(windows, 2).errors(windows, [torch.tensor([0]), torch.tensor([1])])
    assert count == 2  # y is 3 7 4, then 7 4 8; the season gives 2 6 2, then 6 3 6
    assert sums["seasonal_naive"][0].tolist() == [2, 2, 8]
    assert sums["seasonal_naive"][1].tolist() == [2, 2, 4]
    assert "seasonal_naive" not in Baselines(windows, 5).forecasts(windows, torch.tensor([0]))


def test_linear_baseline_is_least_squares() -> None:
    values = torch.from_numpy(RNG.normal(size=(200, 2))).float().cumsum(0)
    windows = SeriesWindows(values, 0, 200, lookback=4, horizon=2, out_channels=2)
    x, y = windows[-1, torch.arange(len(windows))]
    design = np.concatenate([np.append(x[:, :, k].numpy(), np.ones((len(x), 1)), 1) for k in (0, 1)])
    targets = np.concatenate([y[:, :, k].numpy() for k in (0, 1)])
    expected = np.linalg.lstsq(design, targets, rcond=None)[0]
    np.testing.assert_allclose(fit_linear(windows).numpy(), expected, atol=1e-3)
    forecast = Baselines(windows, 1).forecasts(windows, torch.tensor([3]))["linear"]
    np.testing.assert_allclose(forecast[0, :, 1].numpy(), design[len(x) + 3] @ expected, atol=1e-2)

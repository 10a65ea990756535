"""The weather of Seattle, split by years."""

import pytest
import torch

from torchatlas.data.series.weather import Weather


def test_weather_is_split_by_years() -> None:
    data = Weather(
        series=["temp_max", "temp_min"], covariates=["wind"], in_channels=3, out_channels=2, lookback=28, horizon=7,
        period=365,
    )  # fmt: skip
    data.setup()
    assert data.rows == [731, 1096, 1461]
    assert data.step == "D"
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 697, "val": 359, "test": 359}
    x, y = data.splits["test"][-1, torch.tensor([0])]
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    assert (y[0, 0] * std[:2] + mean[:2]).tolist() == pytest.approx([5.6, -3.2], abs=1e-4)  # 2015/01/01, as in the file
    assert (x[0, -1] * std + mean).tolist() == pytest.approx([3.3, -2.7, 3.0], abs=1e-4)  # 2014/12/31

"""Forecasting: windows that know no future, baselines by hand, users' files with mistakes, anomalies."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from torchatlas.data.series.base import SeriesWindows, Table, fill
from torchatlas.data.series.ett import ETT
from torchatlas.data.series.series_csv import SeriesCSV, count_csv_series, count_series, read_table
from torchatlas.data.series.weather import Weather
from torchatlas.errors import UserError
from torchatlas.models.d_linear import DLinear, trend
from torchatlas.models.n_linear import NLinear
from torchatlas.predict.series import forecast_file, robust_scores, score_file
from torchatlas.run.check import check
from torchatlas.tasks.baselines import Baselines, drift, fit_linear, seasonal_rows
from torchatlas.tasks.forecasting import Forecasting, pinball
from torchatlas.tasks.regression import Regression

RNG = np.random.default_rng(0)


def waves(rows: int, *, period: int = 24, noise: float = 0.0) -> pd.DataFrame:
    """Two hourly series, 100 + 10 sin and its half, and a column of words."""
    t = np.arange(rows)
    sine = np.sin(2 * np.pi * t / period)
    return pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=rows, freq="h").astype(str),
            "load": 100 + 10 * sine + noise * RNG.normal(size=rows),
            "oil": 50 + 5 * np.roll(sine, 3) + noise * RNG.normal(size=rows),
            "sky": "clear",
        }
    )


def write(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


def series_csv(path: Path, **options: Any) -> SeriesCSV:
    sizes = {"in_channels": 2, "out_channels": 2, "lookback": 24, "horizon": 6, "batch_size": 8, "period": None}
    data = SeriesCSV(path=str(path), **{**sizes, **options})
    data.setup()
    return data


# --- networks


def test_trend_is_the_mean_over_a_window_with_repeated_ends() -> None:
    x = torch.randn(2, 3, 40)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (12, 12)), mode="edge")
    expected = np.stack([padded[..., i : i + 25].mean(-1) for i in range(40)], -1)
    np.testing.assert_allclose(trend(x, 25).numpy(), expected, atol=1e-6)


def test_d_linear_equals_its_equation() -> None:
    network = DLinear(in_channels=3, out_channels=3, lookback=10, horizon=4, kernel_size=3, individual=True)
    x = torch.randn(5, 10, 3)
    y = network(x)
    t = trend(x.transpose(1, 2), 3)
    for k in range(3):
        remainder = (x[:, :, k] - t[:, k]) @ network.remainder.weight[k].T + network.remainder.bias[k]
        expected = remainder + t[:, k] @ network.trend.weight[k].T + network.trend.bias[k]
        torch.testing.assert_close(y[:, :, k], expected)
    with pytest.raises(ValueError, match="odd"):
        DLinear(kernel_size=4)


def test_n_linear_moves_with_its_input() -> None:
    """A constant added to a channel is added to its forecast; zero weights repeat the last value."""
    network, x = NLinear(), torch.randn(4, 16, 3)
    shift = torch.tensor([3.0, -2.0, 5.0])
    torch.testing.assert_close(network(x + shift), network(x) + shift[:2])
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    torch.testing.assert_close(network(x), x[:, -1:, :2].expand(-1, 4, -1))


@pytest.mark.parametrize("network_class", [DLinear, NLinear])
@pytest.mark.parametrize("individual", [False, True])
def test_channels_are_independent_and_covariates_are_ignored(network_class: Any, individual: bool) -> None:
    network, x = network_class(individual=individual), torch.randn(4, 16, 3)
    other = x.clone()
    other[..., 1:] += torch.randn(4, 16, 2)
    y, changed = network(x), network(other)
    assert torch.equal(y[..., 0], changed[..., 0])
    assert not torch.equal(y[..., 1], changed[..., 1])
    other = x.clone()
    other[..., 2] = 7.0
    assert torch.equal(y, network(other))
    swapped = network(x[..., [1, 0, 2]])[..., [1, 0]]
    assert torch.equal(y, swapped) is not individual
    with pytest.raises(ValueError, match="its own past"):
        network_class(in_channels=1, out_channels=2)


@pytest.mark.parametrize("network_class", [DLinear, NLinear])
def test_quantiles_are_a_last_axis(network_class: Any) -> None:
    network = network_class(quantiles=[0.1, 0.5, 0.9])
    assert network(torch.randn(5, 16, 3)).shape == (5, 4, 2, 3)


# --- windows and splits


def test_windows_have_each_place_once_and_look_back_into_the_split_before() -> None:
    values = torch.arange(100.0)[:, None].expand(-1, 2)
    windows = SeriesWindows(values, 60, 80, lookback=10, horizon=5, out_channels=1)
    assert len(windows) == 20 - 5 + 1
    x, y = windows[-1, torch.arange(len(windows))]
    assert x.shape == (16, 10, 2)
    assert y.shape == (16, 5, 1)
    assert x[0, 0, 0] == 50
    assert torch.equal(y[:, 0, 0], torch.arange(60.0, 76.0))
    assert torch.equal(x[:, -1, 0] + 1, y[:, 0, 0])
    assert y.max() == 79
    first = SeriesWindows(values, 0, 60, lookback=10, horizon=5, out_channels=1)
    assert len(first) == 60 - 15 + 1


def test_ett_has_the_windows_of_the_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    """8,209 of training, 2,785 of validation and of test with 336 hours back and 96 ahead; four times the rows by
    quarters of an hour.
    """
    columns = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
    for subset, per_hour in (("ETTh1", 1), ("ETTm2", 4)):
        data = ETT(subset=subset, series=columns, in_channels=7, out_channels=7, lookback=336, horizon=96)
        rows = 17420 * per_hour
        values = RNG.normal(size=(rows, 7))
        values[8640 * per_hour :] += 100
        times = np.datetime64("2016-07-01T00:00:00") + np.arange(rows) * np.timedelta64(3600 // per_hour, "s")
        monkeypatch.setattr(data, "read", lambda t=times, v=values: Table("date", columns, [], t, "h", v))
        data.setup()
        sizes = {name: len(split) for name, split in data.splits.items()}
        month = 2880 * per_hour
        assert sizes == {"train": 3 * month - 336 - 96 + 1, "val": month - 95, "test": month - 95}
        assert np.abs(data.mean).max() < 0.1  # validation and test are elsewhere
    with pytest.raises(UserError, match="ETTh1, ETTh2"):
        ETT(subset="ETTh3", series=columns, in_channels=7, out_channels=7, lookback=336, horizon=96)


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


def test_scaling_is_that_of_the_training_rows(tmp_path: Path) -> None:
    frame = waves(400, noise=1.0)
    data = series_csv(write(frame, tmp_path / "a.csv"))
    assert data.series == ["load", "oil"]  # words are left out
    assert data.rows == [280, 320, 400]
    assert data.period == 24
    train = frame[["load", "oil"]].iloc[:280]
    assert data.mean == pytest.approx(train.mean().tolist())
    assert data.std == pytest.approx(train.std(ddof=0).tolist())


@pytest.mark.parametrize("missing", ["error", "last", "interpolate"])
def test_the_future_changes_nothing_before_it(tmp_path: Path, missing: str) -> None:
    """Other values after a border: scaling, windows and baselines of what lies before are the same to the bit."""
    frame = waves(400, noise=1.0)
    if missing != "error":
        frame.loc[[100, 101, 279, 280, 281, 319, 320], "oil"] = np.nan  # the gaps reach over both borders
    before = series_csv(write(frame, tmp_path / "before.csv"), missing=missing)
    fitted = Baselines(before.splits["train"], 24)
    for border, known in ((280, ("train",)), (320, ("train", "val"))):
        changed = frame.copy()
        changed.loc[border + 1 :, ["load", "oil"]] = 1000 * RNG.normal(size=(400 - border - 1, 2))
        if missing == "error":
            changed.loc[border, ["load", "oil"]] = -1e6
        after = series_csv(write(changed, tmp_path / "after.csv"), missing=missing)
        assert (before.mean, before.std, before.rows) == (after.mean, after.std, after.rows)
        refitted = Baselines(after.splits["train"], 24)
        assert torch.equal(fitted.linear, refitted.linear)
        for name in known:
            indices = torch.arange(len(before.splits[name]))
            for a, b in zip(before.splits[name][-1, indices], after.splits[name][-1, indices], strict=True):
                assert torch.equal(a, b)
        # A forecast from the border on knows nothing from there on.
        split = {280: "val", 320: "test"}[border]
        first = torch.tensor([0])
        assert torch.equal(before.splits[split][-1, first][0], after.splits[split][-1, first][0])
        one, two = fitted.forecasts(before.splits[split], first), refitted.forecasts(after.splits[split], first)
        assert set(one) == {"last_value", "seasonal_naive", "drift", "linear"}
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert not torch.equal(before.splits[split][-1, first][1], after.splits[split][-1, first][1])


def test_a_checkpoint_keeps_scaling_and_splits_when_the_file_has_grown(tmp_path: Path) -> None:
    frame = waves(500, noise=1.0)
    old = series_csv(write(frame[:400], tmp_path / "a.csv"))
    data = SeriesCSV(
        path=str(write(frame, tmp_path / "a.csv")), in_channels=2, out_channels=2, lookback=24, horizon=6, period=None
    )
    data.load_state_dict(old.state_dict())
    data.setup()
    assert data.describe() == old.describe()
    indices = torch.arange(len(old.splits["test"]))
    assert torch.equal(data.splits["test"][-1, indices][0], old.splits["test"][-1, indices][0])
    short = SeriesCSV(
        path=str(write(frame[:300], tmp_path / "a.csv")), in_channels=2, out_channels=2, lookback=24, horizon=6
    )
    short.load_state_dict(old.state_dict())
    with pytest.raises(UserError, match="have 300 rows, and the checkpoint knows 400"):
        short.setup()


def test_missing_values_and_rows_are_filled_as_asked(tmp_path: Path) -> None:
    frame = waves(400)
    frame["load"] = np.arange(400.0)
    frame.loc[[10, 11, 12], "load"] = np.nan
    gap = write(frame.drop(index=[50, 51]), tmp_path / "a.csv")
    with pytest.raises(UserError, match=r"no row for 2024-01-03 02:00, and 2 of 400 times with the step h are missing"):
        series_csv(gap)
    with pytest.raises(UserError, match=r"'load' has no value at 2024-01-01 10:00 and at 2 other times: fill the file"):
        series_csv(write(frame, tmp_path / "b.csv"))
    for missing, expected in (("last", [9, 9, 9, 9, 13]), ("interpolate", [9, 10, 11, 12, 13])):
        table = read_table(gap, missing=missing)
        values = fill(table, 280, missing)
        assert len(values) == 400
        assert values[9:14, 0].tolist() == expected
        assert values[51, 0] == (49 if missing == "last" else pytest.approx(51))
    later = read_table(write(frame.drop(index=range(300, 310)), tmp_path / "c.csv"), missing="interpolate")
    assert fill(later, 280, "interpolate")[305, 0] == 299  # behind the training rows nothing knows what comes
    frame.loc[0, "oil"] = np.nan
    with pytest.raises(UserError, match=r"'oil' begins without a value"):
        series_csv(write(frame, tmp_path / "b.csv"), missing="last")


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%d/%m/%Y", "%Y-%m-%d"])
def test_months_are_months_whichever_way_they_are_written(form: str, tmp_path: Path) -> None:
    """01.02.1990 could be the second of January; as days before months the steps are even."""
    times = pd.date_range("1990-01-01", periods=48, freq="MS")
    path = tmp_path / "a.csv"
    pd.DataFrame({"month": times.strftime(form), "x": np.arange(48.0)}).to_csv(path, index=False)
    table = read_table(path)
    assert (table.step, len(table.values)) == ("MS", 48)


@pytest.mark.parametrize(("freq", "step"), [("QS", "QS-JAN"), ("YE", "YE-DEC"), ("2MS", "2MS")])
def test_a_missing_quarter_or_year_makes_no_months(freq: str, step: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"time": pd.date_range("1980-01-01", periods=24, freq=freq), "x": np.arange(24.0)})
    path = tmp_path / "a.csv"
    frame.drop(index=7).to_csv(path, index=False)
    table = read_table(path, missing="last")
    assert (table.step, len(table.values), int(np.isnan(table.values).sum())) == (step, 24, 1)


def test_decimal_commas_blank_lines_and_columns_of_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.csv"
    lines = [
        "day;a;b;who",
        "",
        *(f"{d};{i},5;{i};me" for i, d in enumerate(pd.date_range("2024-01-01", periods=30).date)),
    ]
    path.write_text("\n".join(lines))
    with caplog.at_level("INFO"):
        table = read_table(path)
    assert table.series == ["a", "b"]
    assert table.values[3].tolist() == [3.5, 3]
    assert "left out, since they hold no numbers: who" in caplog.text
    lines[5] = lines[5].replace(",5", "?")
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"'3\?' in line 6, which is no number|'2\?' in line 6"):
        read_table(path, series=["a"])


# --- baselines


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


# --- tasks


class Answer(nn.Module):
    """Gives a fixed forecast."""

    def __init__(self, y: torch.Tensor) -> None:
        super().__init__()
        self.y = nn.Parameter(y)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.y


def test_regression_figures() -> None:
    y = torch.tensor([[[1.0], [2.0]]])
    task = Regression(Answer(y + torch.tensor([[[1.0], [-3.0]]])))
    out = task.step((torch.zeros(1, 4, 1), y))
    assert out["loss"].item() == pytest.approx(5)
    assert out["metrics/mae"].item() == pytest.approx(2)
    assert Regression(Answer(y)).step((torch.zeros(1, 4, 1), y))["loss"].item() == 0
    with pytest.raises(ValueError, match=r"gives \[1, 2, 1\] where the targets are \[1, 2\]"):
        task.step((torch.zeros(1, 4, 1), y[..., 0]))


def test_forecasting_figures() -> None:
    y = torch.zeros(1, 2, 2)
    task = Forecasting(Answer(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))).eval()
    with torch.no_grad():
        out = task.step((torch.zeros(1, 4, 2), y))
    assert out["metrics/squared_by_step"].tolist() == [2.5, 12.5]
    assert out["metrics/absolute_by_series"].tolist() == [2.0, 3.0]
    figures = task.derive({key.removeprefix("metrics/"): v for key, v in out.items() if key.startswith("metrics/")})
    assert {key: float(value) for key, value in figures.items()} == {
        "mse": 7.5, "mae": 2.5, "mse_at_1": 2.5, "mse_at_2": 12.5,
    }  # fmt: skip


def test_pinball_is_minimal_at_the_quantiles() -> None:
    """Of the numbers 1..99 each level's loss is smallest at that quantile; the median's is half the absolute error."""
    y = torch.arange(1.0, 100.0).view(-1, 1, 1)
    candidates = torch.arange(1.0, 100.0)
    for level in (0.1, 0.5, 0.9):
        losses = torch.stack([pinball(torch.full((99, 1, 1, 1), float(c)), y, [level]) for c in candidates])
        assert abs(float(candidates[losses.argmin()]) - 100 * level) <= 1
    output = torch.randn(3, 2, 2, 1)
    y = torch.randn(3, 2, 2)
    torch.testing.assert_close(pinball(output, y, [0.5]), (output[..., 0] - y).abs().mean() / 2)


def test_quantiles_are_sorted_and_covered() -> None:
    levels = [0.1, 0.5, 0.9]
    crossed = torch.tensor([3.0, 1.0, 2.0]).expand(1, 2, 2, 3).contiguous()
    task = Forecasting(Answer(crossed), quantiles=levels).eval()
    y = torch.tensor([[[0.5, 1.0], [2.5, 9.0]]])
    out = task.step((torch.zeros(1, 4, 2), y))
    assert out["forecast"][0, 0, 0].tolist() == [1, 2, 3]
    assert out["metrics/coverage"].item() == 0.5
    assert out["metrics/mae"].item() == pytest.approx((1.5 + 1 + 0.5 + 7) / 4)  # of the median
    for wrong in ([0.1, 0.9], [0.5, 0.1], [0.0, 0.5], [0.5, 0.5]):
        with pytest.raises(ValueError, match=r"task\.quantiles"):
            Forecasting(Answer(crossed), quantiles=wrong)
    with pytest.raises(ValueError, match=r"where the targets are \[1, 2, 2, 3\]"):
        Forecasting(Answer(y), quantiles=levels).step((torch.zeros(1, 4, 2), y))


@pytest.fixture
def resolved(train: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """A short run on a file of waves."""
    path = write(waves(700, noise=0.5), tmp_path / "waves.csv")

    def run(*overrides: str) -> Path:
        return train(
            "data=series_csv", f"data.path={path}", "data.lookback=24", "data.horizon=6", "trainer=cpu",
            "optim.lr=0.01", *overrides,
        )  # fmt: skip

    return run


def test_training_tells_whether_it_beats_the_baselines(
    resolved: Callable[..., Path],
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from torchatlas.storage.files import read_metrics

    folder = resolved("model=n_linear", "trainer.max_epochs=3")
    metrics = read_metrics(folder)["test"]
    names = ("last_value", "seasonal_naive", "drift", "linear")
    best = min(metrics[f"test/{name}_mse"] for name in names)
    assert metrics["test/best_baseline_mse"] == best
    assert metrics["test/mse_over_best_baseline"] == pytest.approx(metrics["test/mse"] / best, rel=1e-5)
    assert {"test/mae_in_units_load", "test/mae_in_units_oil", "test/mse_at_1", "test/mse_at_6"} <= set(metrics)
    (sentence,) = re.findall(
        r"the network (?:beats|does not beat) the best baseline.*", (folder / "train.log").read_text()
    )
    assert sentence.startswith("the network beats") is (metrics["test/mse"] < best)
    # The baselines are judged on the windows of the test, here once more by hand.
    data = series_csv(folder.parents[2] / "waves.csv")
    x, y = data.splits["test"][-1, torch.arange(len(data.splits["test"]))]
    assert metrics["test/last_value_mse"] == pytest.approx(float((y - x[:, -1:]).square().mean()), rel=1e-4)
    assert metrics["test/last_value_mae"] == pytest.approx(float((y - x[:, -1:]).abs().mean()), rel=1e-4)
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    expected = {"validation/forecasts", "validation/error by step", "test/forecasts", "test/error by step"}
    assert expected | {"test/anomaly score"} <= set(events.Tags()["images"])


def test_baselines_are_judged_on_the_windows_that_were_evaluated(resolved: Callable[..., Path]) -> None:
    from torchatlas.storage.files import read_metrics

    folder = resolved("model=n_linear", "trainer.max_epochs=1", "trainer.limit_test_batches=2", "logger=none")
    data = series_csv(folder.parents[2] / "waves.csv", batch_size=32)
    first = torch.cat([indices for _, indices in list(data.loader("test").sampler)[:2]])
    x, y = data.splits["test"][-1, first]
    expected = float((y - x[:, -1:]).square().mean())
    assert read_metrics(folder)["test"]["test/last_value_mse"] == pytest.approx(expected, rel=1e-4)


def test_predict_and_anomalies(resolved: Callable[..., Path], tmp_path: Path) -> None:
    """Quantile forecasts continue a known wave; an injected value is the first that is found."""
    from torchatlas.run.restore import restore

    folder = resolved("model=n_linear", "task.quantiles=[0.1,0.5,0.9]", "trainer.max_epochs=12", "logger=none")
    _, task, about = restore(str(folder))
    assert isinstance(task, Forecasting)
    frame = waves(200)
    rows = forecast_file(task, about["data"], write(frame, tmp_path / "new.csv"))
    assert [row["time"] for row in rows][:2] == ["2024-01-09 08:00", "2024-01-09 09:00"]
    truth = waves(206)[200:]
    assert len(rows) == 6
    for row, load, oil in zip(rows, truth["load"], truth["oil"], strict=True):
        assert row["load"] == pytest.approx(load, abs=3)
        assert row["oil"] == pytest.approx(oil, abs=2)
        assert row["load 0.1"] <= row["load"] == row["load 0.5"] <= row["load 0.9"]

    frame = waves(200, noise=0.5)
    frame.loc[150, "oil"] += 15
    scored = score_file(task, about["data"], write(frame, tmp_path / "new.csv"), threshold=6.0)
    assert len(scored) == 200 - 24
    worst = max(scored, key=lambda row: row["score"])
    assert worst["time"] == "2024-01-07 06:00"  # row 150
    assert worst["anomaly"] is True
    assert worst["score"] == worst["oil score"] > worst["load score"]
    assert worst["oil"] == pytest.approx(frame.loc[150, "oil"])
    first = next(row for row in scored if row["anomaly"])
    assert first is worst

    daily = frame.assign(when=pd.date_range("2024-01-01", periods=200, freq="D").astype(str))
    mistakes = {
        r"step D, and the network was trained with the step h": daily,
        r"no column 'oil': did you mean": frame.rename(columns={"oil": "oils"}),
        r"has 20 rows, and the network looks back on 24": frame[:20],
    }
    for message, wrong in mistakes.items():
        with pytest.raises(UserError, match=message):
            forecast_file(task, about["data"], write(wrong, tmp_path / "wrong.csv"))
    with pytest.raises(UserError, match="has 24 rows: the first 24 are looked back on"):
        score_file(task, about["data"], write(frame[:24], tmp_path / "wrong.csv"))
    with pytest.raises(UserError, match="trained on image"):
        forecast_file(task, {"kind": "image"}, tmp_path / "new.csv")


def test_robust_scores() -> None:
    """Standard deviations of normal errors; a constant series has none, a single step is found among equal errors."""
    errors = RNG.normal(loc=3, scale=2, size=(100_000, 1))
    np.testing.assert_allclose(robust_scores(errors), np.abs(errors - 3) / 2, atol=0.1)
    assert robust_scores(np.ones((10, 2))).tolist() == np.zeros((10, 2)).tolist()
    one = np.zeros((100, 1))
    one[40] = 1
    assert robust_scores(one).argmax() == 40


# --- users' files


def test_times_are_found_and_understood(tmp_path: Path) -> None:
    frame = waves(50)
    steps = {
        "h": "h",
        "D": "D",
        "MS": "MS",
        "ME": "ME",
        "B": "B",
        "W": "7D",
        "15min": "15min",
        "QS": "QS-JAN",
        "YS": "YS-JAN",
    }
    for step, expected in steps.items():
        times = pd.date_range("2024-01-01", periods=50, freq=step)
        table = read_table(write(frame.assign(when=times.astype(str)), tmp_path / "a.csv"))
        assert (table.time, table.step, table.series) == ("when", expected, ["load", "oil"]), step
        assert table.times[-1] == times[-1].to_datetime64()
    for form in ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d %b %Y"):
        times = pd.date_range("2024-01-01", periods=50)
        path = write(frame.assign(when=times.strftime(form)), tmp_path / "a.csv")
        assert read_table(path).times[-1] == times[-1].to_datetime64(), form
    offsets = pd.date_range("2024-03-30", periods=50, freq="h", tz="Europe/Berlin")  # the clock moves in between
    path = write(frame.assign(when=[time.isoformat() for time in offsets]), tmp_path / "a.csv")
    assert read_table(path).step == "h"
    frame.to_csv(tmp_path / "a.csv", index=True, sep=";")  # with a column of row numbers
    assert read_table(tmp_path / "a.csv").series == ["load", "oil"]


def test_mistakes_in_a_file_are_named(tmp_path: Path) -> None:
    frame = waves(60)
    words = frame.astype({"oil": object})
    words.loc[7, "oil"] = "n.b."
    twice = pd.concat([frame[:10], frame[9:]])
    unsorted = pd.concat([frame[:10], frame[12:13], frame[10:12], frame[13:]])
    shifted = frame.copy()
    shifted.loc[20, "when"] = "2024-01-01 20:17:00"
    months = frame.assign(when=pd.date_range("2020-01-01", periods=60, freq="MS").astype(str)).drop(index=14)
    infinite = frame.assign(load=np.where(frame.index == 3, np.inf, frame["load"]))
    mistakes: list[tuple[pd.DataFrame, dict[str, Any], str]] = [
        (words, {}, r"'oil' of .* holds 'n\.b\.' in line 9, which is no number"),
        (infinite, {}, r"'load' of .* holds 'inf' in line 5"),
        (twice, {}, r"has the time 2024-01-01 09:00 twice \(line 12\)"),
        (unsorted, {}, r"not in the order of time: 2024-01-01 10:00 in line 13 is too early"),
        (shifted, {}, r"irregular: after 2024-01-01 19:00 comes 2024-01-01 20:17 \(line 22\), and most steps are h"),
        (months, {}, r"no row for 2021-03-01, and 1 of 60 times with the step MS are missing"),
        (frame, {"series": ["lode"]}, r"no column 'lode' for data\.series: did you mean load\?"),
        (frame, {"covariates": ["oill"]}, r"no column 'oill' for data\.covariates: did you mean oil\?"),
        (frame, {"time": "wen"}, r"no column 'wen' for data\.time: did you mean when\?"),
        (frame, {"time": "load"}, r"column 'load' .* does not hold a time in every row, as in 2024"),
        (frame.drop(columns="when"), {}, r"has no column in which every row has a time"),
        (frame[["when", "sky"]], {}, r"no column of numbers beside its times"),
        (frame[:0], {}, r"is empty: it has a line of names and no row"),
        (frame[:1], {}, r"has 1 row: a series"),
    ]
    for wrong, options, message in mistakes:
        path = write(wrong, tmp_path / "a.csv")
        with pytest.raises(UserError, match=message):
            read_table(path, **options)
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(UserError, match="is empty: it must have"):
        read_table(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"when,a\n\xff\xfe\x00,1\n")
    with pytest.raises(UserError, match="save it as CSV in UTF-8"):
        read_table(tmp_path / "a.csv")
    with pytest.raises(UserError, match=r"there is no file .*: name one with data\.path"):
        read_table(tmp_path / "b.csv")
    with pytest.raises(UserError, match=r"name it with data\.path=FILE\.csv"):
        read_table(None)


def test_sizes_that_do_not_fit_are_told_with_one_that_does(tmp_path: Path) -> None:
    path = write(waves(200), tmp_path / "a.csv")  # 140 train, 20 validate, 40 test
    with pytest.raises(UserError, match=r"horizon=30 needs 30 rows and the val split has 20: use data\.horizon=20"):
        series_csv(path, horizon=30)
    series_csv(path, horizon=20)
    with pytest.raises(UserError, match=r"lookback=150 need 156 rows and the training split has 140: use data\.look"):
        series_csv(path, lookback=150)
    series_csv(path, lookback=67)
    for wrong, message in (
        ({"lookback": 0}, r"data\.lookback=0 must be a positive"), ({"horizon": 2.5}, "whole number"),
        ({"missing": "drop"}, "must be error, last or interpolate"), ({"series": "load"}, "must be a list"),
        ({"in_channels": 3}, "do not agree"), ({"out_channels": 1, "in_channels": 1}, r"name them with data\.series"),
        ({"val_share": 0.6, "test_share": 0.4}, "leave rows to train"), ({"targets": "step"}, "cannot be chosen"),
        ({"series": ["load", "oil"], "covariates": ["oil"], "in_channels": 3}, r"leave it out of data\.covariates"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            series_csv(path, **wrong)


def test_channels_are_counted_before_anything_is_built(tmp_path: Path, compose: Callable[..., Any]) -> None:
    path = write(waves(300), tmp_path / "a.csv")
    assert count_series(2, ["a"], None) == 3
    assert count_csv_series(str(path), None, None, ["oil"], fake=False) == 1
    assert count_csv_series(None, None, None, [], fake=True) == 2
    config = compose("model=d_linear", "data=series_csv", f"data.path={path}", "data.covariates=[oil]")
    assert (config.data.in_channels, config.data.out_channels) == (2, 1)
    assert (config.model.in_channels, config.model.out_channels, config.model.lookback) == (2, 1, 48)
    config = compose("model=d_linear", "data=etth1", "data.series=[OT]", "data.covariates=[HUFL,LULL]")
    assert (config.model.in_channels, config.model.out_channels) == (3, 1)
    config = compose("model=n_linear", "data=weather", "task.quantiles=[0.1,0.5,0.9]")
    assert list(config.model.quantiles) == [0.1, 0.5, 0.9]
    check(config, "n_linear", "weather")


def test_a_constant_series_is_left_unscaled(tmp_path: Path) -> None:
    data = series_csv(write(waves(200).assign(load=5.0), tmp_path / "a.csv"))
    assert data.std[0] == 1
    x, _ = data.splits["train"][-1, torch.arange(3)]
    assert x.isfinite().all()
    assert float(x[..., 0].abs().max()) == 0
    task = Forecasting(NLinear(in_channels=2, out_channels=2, lookback=24, horizon=6))
    assert task.step(data.splits["train"][-1, torch.arange(3)])["loss"].isfinite()
    linear = Baselines(data.splits["train"], 1).linear
    assert linear.isfinite().all()
    assert SimpleNamespace(**data.describe()).mean[0] == 5

"""Figures of forecasts, quantiles, and runs beside the baselines."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.series import series_csv, waves, write
from torch import nn

from torchatlas.tasks.forecasting import Forecasting, pinball


class Answer(nn.Module):
    """Gives a fixed forecast."""

    def __init__(self, y: torch.Tensor) -> None:
        super().__init__()
        self.y = nn.Parameter(y)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.y


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

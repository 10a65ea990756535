"""Windows that know no future, scaling, missing values."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.series import RNG, series_csv, waves, write

from torchatlas.data.series.base import SeriesWindows
from torchatlas.data.series.series_csv import SeriesCSV
from torchatlas.data.series.tables import fill, read_table
from torchatlas.errors import UserError
from torchatlas.models.n_linear import NLinear
from torchatlas.tasks.baselines import Baselines
from torchatlas.tasks.forecasting import Forecasting

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


# --- users' files


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

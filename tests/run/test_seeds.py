"""Several seeds: mean, spread and interval."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Train

from torchatlas.run.seeds import interval, report
from torchatlas.storage.checkpoints import read
from torchatlas.storage.files import read_metrics, write_json

TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


# --- around a step


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read(folder / "checkpoints" / f"{name}.ckpt")["state_dict"]
    return found


# --- several seeds


def test_seeds(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Mean, spread and interval are those of the single runs; a series that was stopped goes on."""
    arguments = ["seeds=3", "seed=5", "trainer.max_epochs=1", *TINY]
    executed: list[int] = []
    from torchatlas import train as program

    real = program.execute

    def stops_at_the_second(asked: Any, *rest: Any, **more: Any) -> Any:
        executed.append(asked.config.seed)
        if executed == [5, 6]:
            raise KeyboardInterrupt
        return real(asked, *rest, **more)

    monkeypatch.setattr(program, "execute", stops_at_the_second)
    with pytest.raises(SystemExit) as exit_:
        train(*arguments)
    assert exit_.value.code == 130
    (series,) = {path.parent for path in tmp_path.rglob("seeds.json")}
    train(f"resume={series}")
    assert executed == [5, 6, 6, 7]
    assert train("resume=auto") is not None  # the series, not the newest of its runs
    assert executed == [5, 6, 6, 7]
    found = json.loads((series / "seeds.json").read_text())
    assert found["seeds"] == [5, 6, 7]
    singles = [read_metrics(series / f"seed-{seed}") for seed in (5, 6, 7)]
    accuracy = torch.tensor([m["test"]["test/accuracy"] for m in singles], dtype=torch.float64)
    figure = found["figures"]["test/accuracy"]
    assert figure["mean"] == pytest.approx(float(accuracy.mean()))
    assert figure["standard_deviation"] == pytest.approx(float(accuracy.std()))
    half = 4.302653 * float(accuracy.std()) / math.sqrt(3)  # Student's t, 2 degrees of freedom
    assert figure["interval"] == pytest.approx([figure["mean"] - half, figure["mean"] + half], rel=1e-5)
    assert "95 % interval" in capsys.readouterr().out
    alone = train("seed=6", "trainer.max_epochs=1", *TINY)
    for key, value in weights(alone).items():
        assert torch.equal(value, weights(series / "seed-6")[key])
    with pytest.raises(SystemExit):
        train(f"resume={series}", "trainer.max_epochs=2")


def test_a_seed_that_has_not_begun_has_the_data_of_the_others(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("load\n" + "".join(f"{i % 24}.5\n" for i in range(300)))
    data = ("model=n_linear", "data=series_csv", f"data.path={path}", "data.lookback=24", "data.horizon=6")
    from torchatlas import train as program

    real = program.execute

    def stops_at_the_second(asked: Any, *rest: Any, **more: Any) -> Any:
        if asked.config.seed == 6:
            raise KeyboardInterrupt
        return real(asked, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(program, "execute", stops_at_the_second)
        with pytest.raises(SystemExit):
            train("seeds=2", "seed=5", "trainer.max_epochs=1", *data, *TINY[1:])
    (series,) = {path.parent for path in tmp_path.rglob("seeds.json")}
    path.write_text(path.read_text().replace("3.5\n", "4.5\n"))
    with pytest.raises(SystemExit) as exit_:
        train(f"resume={series}")
    assert exit_.value.code == 2
    assert "the data are not those of the checkpoint, train has" in capsys.readouterr().err
    assert not (series / "seed-6" / "checkpoints").exists()
    train(f"resume={series}", "data.changed=accept")
    assert "the data have changed since the checkpoint" in capsys.readouterr().out
    assert (series / "seed-6" / "checkpoints" / "last.ckpt").exists()


def test_a_series_without_checkpoints_comes_to_its_end(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No weights are kept that could be tested, and a run that has ended is not made again."""
    train("seeds=2", "trainer.max_epochs=1", "callbacks.checkpoint=null", *TINY)
    (series,) = {path.parent for path in tmp_path.rglob("seeds.json")}
    found = json.loads((series / "seeds.json").read_text())["figures"]
    assert "val/accuracy" in found
    assert not any(key.startswith("test/") for key in found)
    monkeypatch.setattr("torchatlas.train.execute", None)
    train(f"resume={series}")


def test_a_series_that_nothing_records_is_refused(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train("seeds=2", "trainer.max_epochs=1", "callbacks.record=null", *TINY)
    assert "callbacks.record" in capsys.readouterr().err
    assert not list(tmp_path.rglob("seeds.json"))


def test_interval_is_scipys() -> None:
    from scipy import stats

    values = [0.91, 0.95, 0.93, 0.94, 0.90]
    mean, _, half = interval(values)
    low, high = stats.t.interval(0.95, 4, loc=mean, scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))


@pytest.mark.parametrize("number", [2, 3])
def test_an_interval_of_two_runs_is_said_to_be_wide(
    number: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    names = [f"fold-{k + 1}" for k in range(number)]
    for k, name in enumerate(names):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "metrics.json", {"test": {}, "best": {"val/loss": 1.0 + k}})
    report(tmp_path, "folds", names, {})
    assert ("the interval of two runs rests on one difference" in caplog.text) == (number == 2)

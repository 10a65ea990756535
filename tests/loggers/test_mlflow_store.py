"""MLflow with a database, by its own client."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.trackers import mlflow_points

from torchatlas.loggers.base import At, RunLogger
from torchatlas.loggers.mlflow_store import MLflowLogger
from torchatlas.storage.files import read_json, write_json

pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what it uses of others


def config(lr: float = 0.1) -> dict[str, object]:
    return {"name": "mlp-digits", "optim": {"lr": lr}, "model": {"widths": [8, 8], "long": "x" * 7000}}


def test_a_run_that_goes_on_and_a_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, show_everything: Callable[[RunLogger, At], None]
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "runs" / "mlp" / "one"
    folder.mkdir(parents=True)
    database = tmp_path / "runs" / "mlflow.db"
    for behind, steps, lr in ((None, range(1, 8), 0.1), (At(4, 1), range(5, 10), 0.2)):
        logger = MLflowLogger(folder, config(lr))
        logger.begin(behind)
        for step in steps:
            logger.figures({"step/loss": step / 3}, At(step))
            if step % 3 == 0:
                logger.figures({"val/iou of road (all)": step / 7}, At(step, step // 3))
                logger.summary({"best/loss": step / 9, "final/loss": 1.0}, At(step, step // 3))
        logger.flush()
        number = read_json(folder / "loggers.json")["mlflow"]
        client = MlflowClient(f"sqlite:///{database}")
        assert client.get_run(number).info.status == "RUNNING"
        if behind is None:
            show_everything(logger, At(7, 2))
        logger.end("stopped" if behind is None else "finished")
        run = client.get_run(number)
        assert run.info.status == ("KILLED" if behind is None else "FINISHED")
    assert mlflow_points(database, number) == {
        "step/loss": [(step, step / 3) for step in range(1, 10)],
        "val/iou of road _all_": [(step, step / 7) for step in (3, 6, 9)],
        "best/loss": [(step, step / 9) for step in (3, 6, 9)],
    }
    assert run.data.params["optim.lr"] == "0.1"
    assert run.data.tags["resumed.optim.lr"] == "0.2"
    assert len(run.data.params["model.long"]) == 500
    assert run.info.run_name == "mlp-digits"
    kept = tmp_path / "runs" / "mlflow" / number / "artifacts"
    assert {str(path.relative_to(kept)) for path in kept.rglob("*.*")} == {
        "validation/a figure/epoch 0002.png", "validation text/a text/epoch 0002.md",
        "predictions/sound 01_ nine/epoch 0002.wav",
    }  # fmt: skip
    assert "⟦x⟧" in (kept / "validation text/a text/epoch 0002.md").read_text(encoding="utf-8")

    series = tmp_path / "runs" / "mlp" / "series"
    parents = set()
    for seed in (0, 1):
        (series / f"seed-{seed}").mkdir(parents=True)
        write_json(series / "seeds.json", {})
        logger = MLflowLogger(series / f"seed-{seed}", config())
        logger.begin(None)
        logger.end("finished")
        parents.add(client.get_run(logger.number).data.tags["mlflow.parentRunId"])
    (parent,) = parents
    assert client.get_run(parent).info.run_name == "mlp/series"
    assert logger.hint().endswith(f"sqlite:///{database}")

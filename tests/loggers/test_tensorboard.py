"""TensorBoard, as its own back end for the tab HPARAMS reads it."""

from pathlib import Path
from typing import Any

import pytest
from helpers.runs import events
from helpers.trackers import hparams

from torchatlas.loggers.base import At, end_all
from torchatlas.loggers.tensorboard import EventLogger


def config(**model: Any) -> dict[str, Any]:
    return {
        "name": "mlp-digits", "seed": 0, "model": {"_target_": "torchatlas.models.mlp.MLP", "depth": 2} | model,
        "optim": {"_target_": "torch.optim.SGD", "lr": 0.1}, "data": {"batch_size": 8, "root": "/x"},
        "trainer": {"max_epochs": 3},
    }  # fmt: skip


def test_hparams_opens_on_what_differs(tmp_path: Path) -> None:
    """Then learning rate, model and batch; a run that was stopped or killed has its figures."""
    outcomes: dict[str, Any] = {"one": "finished", "two": "stopped", "three": "failed", "four": None}
    for i, (name, outcome) in enumerate(outcomes.items()):
        logger = EventLogger(tmp_path / name, config(widths=[8 * (i + 1)]) | {"seed": 3 * (i == 1)})
        logger.begin(None)
        logger.state = "open"
        logger.summary({"final/loss": 2.0, "best/loss": 1.0 + i}, At(10, 1))
        logger.summary({"final/loss": 0.5, "best/loss": 0.5 + i}, At(20, 2))
        logger.flush()  # as before each checkpoint
        if outcome is not None:
            end_all([logger], outcome)
    names, figures, rows = hparams(tmp_path)
    assert names[:5] == ["model.widths", "seed", "   optim.lr", "  model", " data.batch_size"]
    assert not {"data.root", "model._target_"} & set(names)
    assert figures == ["summary/best loss", "summary/final loss"]
    assert {name: row["status"] for name, row in rows.items()} == {
        "one/hparams": "STATUS_SUCCESS", "two/hparams": "STATUS_UNKNOWN", "three/hparams": "STATUS_FAILURE",
        "four/hparams": "STATUS_UNKNOWN",
    }  # fmt: skip
    assert [rows[f"{name}/hparams"]["summary/best loss"] for name in outcomes] == [0.5, 1.5, 2.5, 3.5]


def test_a_run_that_goes_on_says_its_hyperparameters_anew(tmp_path: Path) -> None:
    for depth, behind in ((2, None), (3, At(10, 1))):
        logger = EventLogger(tmp_path, config(depth=depth))
        logger.begin(behind)
        logger.end("finished")
    (row,) = hparams(tmp_path)[2].values()
    assert row["model.depth"].number_value == 3


def test_curves(tmp_path: Path) -> None:
    logger = EventLogger(tmp_path, config())
    logger.begin(None)
    logger.figures({"step/loss": 0.25}, At(5))
    logger.figures({"train/loss": 0.5, "val/loss": 0.75, "test/loss": 9.0}, At(10, 1))
    logger.figures({"mine": 3.0}, At(7))
    logger.end("finished")
    found = events(tmp_path)
    told = {tag: (e.step, e.value) for tag in found for e in found[tag] if hasattr(e, "value")}
    assert told == {
        "step/loss": (5, 0.25), "epoch/loss/train": (1, 0.5), "epoch/loss/val": (1, 0.75),
        "mine": (7, pytest.approx(3.0)),
    }  # fmt: skip
    assert "custom_scalars__config__" in found

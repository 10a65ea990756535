"""Weights & Biases, offline, by its own library."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.trackers import wandb_points, wandb_records, wandb_rows

from torchatlas.loggers.base import At, RunLogger
from torchatlas.loggers.weights_and_biases import BLOCK, HEADER, WandbLogger, packed, records

pytest.importorskip("wandb")
CONFIG = {"name": "mlp-digits", "optim": {"lr": 0.1}, "model": {"widths": [8, 8]}, "seed": None}


def test_an_offline_run(tmp_path: Path, show_everything: Callable[[RunLogger, At], None]) -> None:
    logger = WandbLogger(tmp_path, CONFIG, project="mine", tags=["a"])
    logger.begin(None)
    logger.figures({"step/loss": 1 / 3}, At(10))
    show_everything(logger, At(20, 1))
    logger.figures({"val/loss": 0.1 + 0.2, "train/loss": float("nan")}, At(20, 1))
    logger.summary({"best/loss": 0.25, "final/loss": 0.5}, At(20, 1))
    assert logger.hint().startswith("wandb sync ")
    logger.end("stopped")
    rows = wandb_rows(tmp_path)
    assert [row["_step"] for row in rows] == [10, 20]
    assert rows[0]["step/loss"] == 1 / 3
    assert (rows[1]["val/loss"], rows[1]["epoch"]) == (0.1 + 0.2, 1)
    shown = {key.removesuffix("/_type"): value for key, value in rows[1].items() if key.endswith("/_type")}
    assert shown == {
        "validation/a figure": "image-file", "validation text/a text": "html-file",
        "predictions/sound 01, nine": "audio-file",
    }  # fmt: skip
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    files = {path.suffix: path for path in folder.rglob("media/**/*") if path.is_file()}
    assert "1 &lt; 2" in files[".html"].read_text()
    assert {".png", ".html", ".wav"} <= set(files)
    (run,) = wandb_records(tmp_path, "run")
    assert (run.project, run.display_name, list(run.tags)) == ("mine", "mlp-digits", ["a"])
    config = {item.key: item.value_json for item in run.config.update}
    assert (config["optim"], config["model"]) == ('{"lr":0.1}', '{"widths":[8,8]}')
    summary = {u.key: u.value_json for record in wandb_records(tmp_path, "summary") for u in record.update}
    assert (summary["best/loss"], summary["outcome"]) == ("0.25", '"stopped"')
    assert "final/loss" not in summary
    assert [record.exit_code for record in wandb_records(tmp_path, "exit")] == [1]
    axes = {m.glob_name: m.step_metric for m in wandb_records(tmp_path, "metric")}
    assert axes == {"train/*": "epoch", "val/*": "epoch"}


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    """In a second file under the same number (W&B adds -1 within a second); of the first, what comes again is gone."""
    for behind, steps in ((None, range(1, 8)), (At(4, 1), range(5, 10))):
        logger = WandbLogger(tmp_path, CONFIG)
        logger.begin(behind)
        for step in steps:
            logger.figures({"step/loss": float(step)}, At(step))
            if step % 3 == 0:
                logger.figures({"val/loss": float(step)}, At(step, step // 3))
        logger.figures({"test/loss": 0.5}, At(steps[-1], steps[-1] // 3))
        logger.end("finished")
    names = [path.name.split("-")[3] for path in tmp_path.glob("wandb/offline-run-*")]
    assert len(names) == 2
    assert len(set(names)) == 1
    assert wandb_points(tmp_path) == {
        "step/loss": [(step, float(step)) for step in range(1, 10)],
        "val/loss": [(3, 3.0), (6, 6.0), (9, 9.0)],
        "test/loss": [(9, 0.5)],
    }


@pytest.mark.parametrize("seed", range(20))
def test_records_are_packed_as_they_were(seed: int) -> None:
    """Of any lengths, those that fill a block to within a header among them; a file that was cut has whole ones."""
    draw = random.Random(seed)
    around = [BLOCK - HEADER * k - extra for k in (1, 2, 3) for extra in range(-8, 9)]
    sizes = [draw.choice([draw.randrange(100), draw.choice(around), draw.randrange(3 * BLOCK)]) for _ in range(12)]
    contents = [draw.randbytes(size) for size in sizes]
    data = packed(b":W&B\xe1\xbe\x00", contents)
    assert list(records(data)) == contents
    cut = draw.randrange(HEADER, len(data))
    found = list(records(data[:cut]))
    assert found == contents[: len(found)]


def test_the_librarys_own_file_is_packed_to_the_same_bytes(tmp_path: Path) -> None:
    logger = WandbLogger(tmp_path, CONFIG)
    logger.begin(None)
    for step in range(500):  # several blocks
        logger.figures({f"step/figure {i}": step / 3 for i in range(5)}, At(step))
    logger.end("finished")
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    data = path.read_bytes()
    assert len(data) > 3 * BLOCK
    assert packed(data[:HEADER], records(data)) == data

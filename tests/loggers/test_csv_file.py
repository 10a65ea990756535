"""The table."""

import math
from pathlib import Path

from helpers.trackers import csv_points

from torchatlas.loggers.base import At
from torchatlas.loggers.csv_file import CSVLogger


def written(folder: Path, behind: At | None = None) -> CSVLogger:
    logger = CSVLogger(folder)
    logger.begin(behind)
    return logger


def test_numbers_are_read_as_they_were_told(tmp_path: Path) -> None:
    logger = written(tmp_path)
    values = [0.1 + 0.2, 1e-300, -3.0, 1 / 3, 2.0**-60]
    for step, value in enumerate(values, 1):
        logger.figures({"step/loss": value}, At(step))
    logger.figures({"val/loss": math.pi, "val/a, b": 1.0}, At(5, 1))
    logger.figures({"step/loss": float("nan"), "step/new": float("inf")}, At(6))
    logger.end("finished")
    found = csv_points(tmp_path)
    assert found["step/loss"] == list(enumerate(values, 1))
    assert (found["val/loss"], found["val/a, b"]) == ([(5, math.pi)], [(5, 1.0)])
    assert found["step/new"] == [(6, float("inf"))]
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines[0] == 'step,epoch,step/loss,val/loss,"val/a, b",step/new'
    assert lines[6].startswith("5,1,,3.14159")
    assert lines[7] == "6,,nan,,,inf"


def test_a_run_that_goes_on_has_each_line_once(tmp_path: Path) -> None:
    logger = written(tmp_path)
    for step in range(1, 7):
        logger.figures({"step/loss": float(step)}, At(step))
        if step % 3 == 0:
            logger.figures({"val/loss": float(step)}, At(step, step // 3))
    logger.figures({"test/loss": 9.0}, At(6, 2))
    logger.flush()
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("7,,0.1")  # it was killed
    again = written(tmp_path, At(4, 1))
    for step in (5, 6):
        again.figures({"step/loss": -1.0}, At(step))
    again.figures({"val/loss": -1.0}, At(6, 2))
    again.end("finished")
    found = csv_points(tmp_path)
    assert found["step/loss"] == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, -1.0), (6, -1.0)]
    assert found["val/loss"] == [(3, 3.0), (6, -1.0)]
    assert "test/loss" not in found


def test_a_new_run_begins_anew(tmp_path: Path) -> None:
    written(tmp_path).figures({"val/loss": 1.0}, At(1, 1))
    logger = written(tmp_path)
    logger.end("finished")
    assert (tmp_path / "metrics.csv").read_text() == "step,epoch\n"

"""Comet, offline, by its own library."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
from helpers.trackers import comet_messages, comet_points

from torchatlas.loggers.base import At, RunLogger
from torchatlas.loggers.comet import CometLogger

pytest.importorskip("comet_ml")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what it uses of others
CONFIG = {"name": "mlp-digits", "optim": {"lr": 0.1}, "model": {"widths": [8, 8]}}


def test_an_offline_run(tmp_path: Path, show_everything: Callable[[RunLogger, At], None]) -> None:
    logger = CometLogger(tmp_path, CONFIG, project="mine", tags=["a"])
    logger.begin(None)
    logger.figures({"step/loss": 1 / 3}, At(10))
    show_everything(logger, At(20, 1))
    logger.figures({"val/loss": 0.1 + 0.2}, At(20, 1))
    logger.summary({"best/loss": 0.25, "final/loss": 0.5}, At(20, 1))
    logger.end("stopped")
    assert comet_points(tmp_path) == {
        "step/loss": [(10, 1 / 3)], "val/loss": [(20, 0.1 + 0.2)], "best/loss": [(20, 0.25)],
    }  # fmt: skip
    payloads = [message["payload"] for message in comet_messages(tmp_path)]
    given = [payload[key] for payload in payloads for key in ("param", "params") if payload.get(key)]
    parameters = {p["paramName"]: p["paramValue"] for p in given if p["source"] == "manual"}
    assert parameters == {"name": "mlp-digits", "optim.lr": 0.1, "model.widths": "[8, 8]"}
    others = {payload["key"]: payload["value"] for payload in payloads if "key" in payload}
    assert (others["Name"], others["outcome"]) == ("mlp-digits", "stopped")
    (path,) = (tmp_path / "comet").iterdir()
    assert logger.hint() == f"comet upload {path}"
    with ZipFile(path) as archive:
        about = json.loads(archive.read("experiment.json"))
        assert (about["project_name"], about["resume_strategy"], about["tags"]) == ("mine", "create", ["a"])
        uploads = [payload for payload in payloads if "file_path" in payload]
        assert {payload["upload_type"] for payload in uploads} == {"visualization", "text-sample", "audio"}
        for payload in uploads:
            assert len(archive.read(Path(payload["file_path"]).name)) > 30


def tell(logger: RunLogger, steps: range) -> None:
    for step in steps:
        logger.figures({"step/loss": float(step)}, At(step))
        if step % 3 == 0:
            logger.figures({"val/loss": float(step)}, At(step, step // 3))


KILLED = """
import os, signal, time
from pathlib import Path
from torchatlas.loggers.base import At
from torchatlas.loggers.comet import CometLogger
logger = CometLogger(Path("."), {"name": "n"})
logger.begin(None)
for step in range(1, 8):
    logger.figures({"step/loss": float(step)}, At(step))
    if step % 3 == 0:
        logger.figures({"val/loss": float(step)}, At(step, step // 3))
logger.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("killed", [False, True])
def test_a_run_that_goes_on(killed: bool, tmp_path: Path) -> None:
    """In a second archive under the same key; what a killed one has left is the first."""
    if killed:
        ended = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, env=os.environ, timeout=120)
        assert ended.returncode == -signal.SIGKILL
    else:
        logger = CometLogger(tmp_path, CONFIG)
        logger.begin(None)
        tell(logger, range(1, 8))
        logger.figures({"test/loss": 0.1}, At(7, 2))
        logger.end("stopped")
    logger = CometLogger(tmp_path, CONFIG)
    logger.begin(At(4, 1))
    tell(logger, range(5, 10))
    logger.figures({"test/loss": 0.5}, At(9, 3))
    logger.end("finished")
    assert comet_points(tmp_path) == {
        "step/loss": [(step, float(step)) for step in range(1, 10)],
        "val/loss": [(3, 3.0), (6, 6.0), (9, 9.0)],
        "test/loss": [(9, 0.5)],
    }
    about = []
    for path in sorted((tmp_path / "comet").iterdir(), key=lambda path: path.stat().st_mtime):
        with ZipFile(path) as archive:
            about.append(json.loads(archive.read("experiment.json")))
    assert [one["resume_strategy"] for one in about] == ["create", "get"]
    assert len({one["offline_id"] for one in about}) == 1

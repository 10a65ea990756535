"""Run folders that were never trained in: the files that tables of runs are made of."""

import json
from pathlib import Path
from typing import Any

import yaml

METRICS = {
    "epochs": 2, "steps": 20, "finished": True, "monitor": "val/accuracy", "seconds": 3.0, "best_epoch": 1,
    "best": {"val/accuracy": 0.75}, "test": {"test/accuracy": 0.5},
}  # fmt: skip


def make_run(
    folder: Path, time: str = "2026-01-01T00:00:00", config: dict[str, Any] | None = None, **metrics: Any
) -> Path:
    """The files of a run on which an overview is based."""
    folder.mkdir(parents=True)
    own = {"name": "mlp-digits", "test": True, "duration": "2ep", "callbacks": {"checkpoint": {"every": "10min"}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(own | (config or {})))
    start = {"time": time, "command": "python train.py model=mlp"}
    (folder / "record.json").write_text(json.dumps({"starts": [start]}))
    (folder / "metrics.json").write_text(json.dumps(METRICS | metrics))
    return folder

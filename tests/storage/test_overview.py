"""What a run's files say of it."""

import fcntl
import json
import os
from pathlib import Path

import pytest
from helpers.folders import make_run

from torchatlas.storage.overview import find_runs, is_used, of_run


def test_states(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    assert of_run(folder).state == "finished"
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert of_run(folder).state == "running"
    os.close(handle)
    assert not is_used(folder)
    assert of_run(make_run(tmp_path / "b", test={})).state == "stopped"  # killed before its test
    assert of_run(make_run(tmp_path / "c", test={}, config={"test": False})).state == "finished"
    assert of_run(make_run(tmp_path / "d", test={}, config={"callbacks": {"checkpoint": None}})).state == "finished"
    (folder / "metrics.json").unlink()
    run = of_run(folder)
    assert (run.state, run.epochs, run.best, run.length) == ("stopped", None, None, 2)


@pytest.mark.parametrize("broken", ["config.yaml", "metrics.json", "record.json"])
def test_a_damaged_file_hides_no_run(broken: str, tmp_path: Path) -> None:
    (make_run(tmp_path / "a") / broken).write_bytes(b"\xff{[")
    (run,) = find_runs(tmp_path)
    assert run.folder == tmp_path / "a"


def test_a_series_is_one_run(tmp_path: Path) -> None:
    series = make_run(tmp_path / "series", config={"seeds": 3, "seed": 5})
    (series / "metrics.json").unlink()
    (series / "seeds.json").write_text(json.dumps({"seeds": [5, 6, 7], "figures": {}}))
    make_run(series / "seed-5")
    make_run(series / "seed-6", best={"val/accuracy": 0.25}, test={"test/accuracy": 0.1})
    make_run(tmp_path / "other", "2025-01-01T00:00:00")
    other, run = find_runs(tmp_path)
    assert other.folder == tmp_path / "other"
    assert (run.name, run.state, run.epochs, run.length, run.best) == ("mlp-digits, 3 seeds", "stopped", 4, 6, 0.5)
    make_run(series / "seed-7")
    assert find_runs(tmp_path)[1].state == "finished"
    assert [r.folder.name for r in find_runs(series)] == ["seed-5", "seed-6", "seed-7"]


def test_which_figures_fall(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", monitor="val/margin", best={"val/margin": 1.0})
    assert not of_run(run).falls
    (run / "metrics.jsonl").write_text('{"val/margin": 1.0}\n{"val/margin": 2.0}\n')
    assert of_run(run).falls
    assert of_run(make_run(tmp_path / "b", monitor="val/loss", best={"val/loss": 1.0})).falls

"""A run folder that commit 55db876 made, stopped within its second epoch: it goes on, evaluates and is exported."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import REPOSITORY, Train
from safetensors.torch import load_file

from torchatlas.storage.checkpoints import read

OLD = REPOSITORY / "tests" / "files" / "run_55db876"


def near(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Equal on the CPU that computed them; other CPUs add in another order."""
    return set(found) >= set(expected) and all(found[key] == pytest.approx(expected[key], rel=1e-4) for key in expected)


def test_it_goes_on_to_the_weights_and_figures_of_its_day(train: Train, tmp_path: Path) -> None:
    shutil.copytree(OLD / "stopped", tmp_path / "runs" / "old")
    folder = train(f"resume={tmp_path / 'runs' / 'old'}")
    expected = json.loads((OLD / "resumed.json").read_text())
    checkpoint, metrics = read(folder / "checkpoints" / "last.ckpt"), json.loads((folder / "metrics.json").read_text())
    assert checkpoint["global_step"] == expected["steps"] == 40
    for name, weights in expected["weights"].items():
        torch.testing.assert_close(checkpoint["state_dict"][name], torch.tensor(weights), rtol=1e-4, atol=1e-6)
    for kind in ("final", "best", "test"):
        assert near(metrics[kind], expected[kind])
    starts = json.loads((folder / "record.json").read_text())["starts"]
    assert starts[0]["commit"].startswith("55db876")


def test_it_is_evaluated_and_exported(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD / "stopped", "old")
    command("evaluate", "ckpt=old", "split=val", "output=figures.json")
    known = json.loads((OLD / "stopped" / "metrics.json").read_text())["best"]
    assert near(json.loads(Path("figures.json").read_text()), {k: v for k, v in known.items() if k.startswith("val/")})
    command("export", "ckpt=old", "output=exported", "formats=safetensors")
    exported, best = load_file("exported/model.safetensors"), read(Path("old/checkpoints/best.ckpt"))["state_dict"]
    assert {f"network.{name}" for name in exported} == set(best)
    assert all(torch.equal(tensor, best[f"network.{name}"]) for name, tensor in exported.items())

"""The weights of every network come back from a file."""

from pathlib import Path

import torch
from helpers import tiny_network
from helpers.weights import changed, copy_of

from torchatlas.weights import load_weights, save_weights


def test_every_model_comes_back(model_name: str, tmp_path: Path) -> None:
    theirs, ours = tiny_network(model_name), tiny_network(model_name)
    with torch.no_grad():
        for value in theirs.state_dict().values():
            value.add_(1)
    path = tmp_path / "folder" / "weights.safetensors"
    save_weights(theirs, path)
    report = load_weights(ours, path)
    assert report.source == "torchatlas"
    assert (report.missing, report.unexpected, report.reshaped, report.adapted) == ([], [], [], [])
    assert changed(ours, copy_of(theirs)) == []
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    (path.parent / "other").touch()
    assert path.stat().st_mode == (path.parent / "other").stat().st_mode

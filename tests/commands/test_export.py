"""The command `export`: places, missing packages, files that are not kept."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest
import torch
from helpers import Train
from torch import Tensor, nn

from torchatlas import cli
from torchatlas.commands import export as program
from torchatlas.commands.export import export
from torchatlas.errors import UserError
from torchatlas.run.restore import restore

FAST = ("debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default")


@pytest.fixture
def digits(train: Train) -> Path:
    return train(*FAST, "model.widths=[8]")


def test_a_checkpoint_alone_and_a_chosen_folder(digits: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "network.ckpt"
    alone.parent.mkdir()
    (digits / "checkpoints" / "best.ckpt").rename(alone)
    files = export(str(alone), formats=("safetensors",))
    assert files == {"safetensors": alone.parent / "export" / "model.safetensors"}
    chosen = tmp_path / "a" / "b"
    assert export(str(alone), str(chosen), ("torch", "torch")) == {"torch": chosen / "model.pt2"}
    with pytest.raises(UserError, match=r"network.ckpt cannot be written .*: name a folder with output=FOLDER"):
        export(str(alone), str(alone))


def test_a_full_disk_is_refused_before_torch_ends_the_process(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**20))
    said = r"model.pt2 was not written \(.*export has 1 MB left and an exported file needs about 1.1 MB: free some, or"
    with pytest.raises(UserError, match=said):
        export(str(digits), formats=("torch",))
    assert not list((digits / "export").iterdir())


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UserError, match="formats=onxx is unknown: did you mean onnx"):
        cli.run(["export", "ckpt=nowhere", "formats=torch,onxx"])


def test_a_missing_package_is_refused_before_anything_is_written(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'torchatlas\[onnx\]', or .* formats=safetensors,torch$"):
        export(str(digits))
    assert not (digits / "export").exists()
    assert set(export(str(digits), formats=("torch", "safetensors"))) == {"torch", "safetensors"}


def test_a_file_that_computes_something_else_is_not_kept(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def module(self) -> Callable[[Tensor], Tensor]:
            return lambda x: task.network(x) + (len(x) == 3)  # right for the exported size

    _, task, _ = restore(str(digits))
    monkeypatch.setattr(torch.export, "load", lambda _: Wrong())
    expected = r"^model.pt2 was not written \(its outputs differ by 1, .*: leave it out with formats=safetensors,onnx$"
    with pytest.raises(UserError, match=expected):
        export(str(digits), formats=("torch", "safetensors"))
    assert sorted(path.name for path in (digits / "export").iterdir()) == ["export.json", "model.safetensors"]
    assert list(json.loads((digits / "export" / "export.json").read_text())["formats"]) == ["safetensors"]


class Switching(nn.Module):
    """A branch that depends on the data, which no graph can hold."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if x.sum() > 0 else x

    def example_input(self, batch: int = 2) -> tuple[Tensor]:
        return (torch.randn(batch, 4),)


class Recurrent(nn.Module):
    """Layers that torch unrolls over the length of the example; two outputs."""

    def __init__(self, core: type[nn.RNNBase] = nn.GRU, **options: Any) -> None:
        super().__init__()
        self.embedding, self.layers = nn.Embedding(4, 4), core(4, 4, batch_first=True, **options)

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, state = self.layers(self.embedding(tokens), state)
        return h, h.mean((1, 2))

    def example_input(self, batch: int = 2) -> tuple[Tensor]:
        return (torch.randint(4, (batch, 9)),)


class Unrolled(Recurrent):
    """Its steps are a loop of Python, of which a graph holds as many as the example has."""

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h = torch.stack([x.cumsum(0) for x in self.embedding(tokens).unbind(1)], 1)
        return h, h.mean((1, 2))


def test_networks_that_fit_a_graph_only_in_part(
    digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, task, about = restore(str(digits))
    monkeypatch.setattr(program, "restore", lambda _: (path, task, about))
    task.network = Switching()
    with pytest.raises(UserError, match=r"^model.pt2 .*data-dependent.*; model.onnx .* with formats=safetensors$"):
        export("", formats=("torch", "onnx"))
    assert list((digits / "export").iterdir()) == []
    assert capsys.readouterr().err == ""
    task.network = Unrolled().eval()
    files = export("", formats=("onnx", "torch"))
    assert capsys.readouterr().out.count("; of 9 steps alone (") == 2
    formats = json.loads((digits / "export" / "export.json").read_text())["formats"]
    for format_ in files:
        assert formats[format_]["length"] == 9
        assert [entry["shape"] for entry in formats[format_]["inputs"]] == [["batch", 9]]
        assert [entry["shape"] for entry in formats[format_]["outputs"]] == [["batch", 9, 4], ["batch"]]
    extra = {"length": ""}
    torch.export.load(files["torch"], extra_files=extra)
    session = onnxruntime.InferenceSession(files["onnx"])
    assert extra["length"] == session.get_modelmeta().custom_metadata_map["length"] == "9"


LAYERS: dict[str, tuple[type[nn.RNNBase], dict[str, Any]]] = {
    "lstm": (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
    "gru": (nn.GRU, {"num_layers": 2, "bidirectional": True}),
    "gru without biases": (nn.GRU, {"bias": False}),
    "rnn": (nn.RNN, {"num_layers": 3}),
    "rnn of both directions": (nn.RNN, {"num_layers": 2, "bidirectional": True, "nonlinearity": "relu"}),
    "rnn without biases": (nn.RNN, {"bias": False, "bidirectional": True}),
}


@torch.no_grad()
@pytest.mark.parametrize("kind", LAYERS)
def test_recurrent_layers_of_any_length(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Longer and shorter sequences than the example, other batches, in both formats."""
    core, options = LAYERS[kind]
    network = Recurrent(core, **options).eval()
    about: dict[str, Any] = {"config": {"name": "", "model": {}, "task": {}}, "data": {}}
    restored = tmp_path / "best.ckpt", SimpleNamespace(network=network), about
    monkeypatch.setattr(program, "restore", lambda _: restored)
    files = export("", formats=("torch", "onnx"))
    assert "alone" not in capsys.readouterr().out
    loaded, session = torch.export.load(files["torch"]).module(), onnxruntime.InferenceSession(files["onnx"])
    assert session.get_inputs()[0].shape == ["batch", "length"]
    for batch, length in ((1, 1), (5, 2), (2, 9), (3, 40)):
        tokens = torch.randint(4, (batch, length))
        right = network(tokens)
        torch.testing.assert_close(loaded(tokens), right)
        torch.testing.assert_close(
            tuple(map(torch.from_numpy, session.run(None, {"tokens": tokens.numpy()}))), right, rtol=1e-4, atol=1e-5
        )

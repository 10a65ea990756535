"""What export writes is read back by the libraries alone, without torchatlas.commands.export."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from conftest import all_outputs, network_class, small_data, tiny_overrides
from safetensors import safe_open
from safetensors.torch import load_model
from torch import Tensor, nn

from torchatlas.commands import export as program
from torchatlas.commands.export import export
from torchatlas.errors import UserError
from torchatlas.run.build import build_network
from torchatlas.run.restore import restore
from torchatlas.version import __version__
from torchatlas.zoo import model_card

Train = Callable[..., Path]
FAST = ("debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default")


@pytest.fixture
def digits(train: Train) -> Path:
    return train(*FAST, "model.widths=[8]")


@torch.no_grad()
def test_every_model_in_every_format(class_name: str, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    data = small_data(model_card(class_name).data)
    folder = train(f"model={class_name}", *FAST, "data.batch_size=8", *data, *tiny_overrides(class_name))
    capsys.readouterr()
    if hasattr(network_class(class_name), "no_graph"):
        with pytest.raises(
            UserError, match=r"packs sequences.*packs sequences.*: leave it out with formats=safetensors$"
        ):
            export(str(folder))
        return
    files = export(str(folder))
    captured = capsys.readouterr()
    assert [line.split()[0] for line in captured.out.splitlines()] == [str(path) for path in files.values()]
    assert captured.err == ""
    names = ["export.json", "model.onnx", "model.pt2", "model.safetensors"]
    assert sorted(path.name for path in (folder / "export").iterdir()) == names

    _, task, about = restore(str(folder))
    network: Any = task.network
    example = network.example_input(4)
    texts = [x.ndim == 2 and not x.is_floating_point() for x in example]
    # a batch and a length that were neither exported nor checked
    inputs = tuple(
        x[:, :7] if text else x.clamp(max=7) if any(texts) else x for x, text in zip(example, texts, strict=True)
    )
    answers = all_outputs(network(*inputs))
    expected = {"name": about["config"]["name"], "data": about["data"], "torchatlas": __version__}

    def check_metadata(found: Any) -> None:
        assert {key: json.loads(found[key]) if key == "data" else found[key] for key in expected} == expected

    with safe_open(files["safetensors"], "pt") as file:
        check_metadata(file.metadata())
        fresh = build_network(json.loads(file.metadata()["model"]))
    load_model(fresh, files["safetensors"])
    for one, two in zip(all_outputs(fresh.eval()(*inputs)), answers, strict=True):
        assert torch.equal(one, two)

    extra = dict.fromkeys(expected, "")
    found = all_outputs(torch.export.load(files["torch"], extra_files=extra).module()(*inputs))
    torch.testing.assert_close(found, answers)
    check_metadata(extra)

    session = onnxruntime.InferenceSession(files["onnx"])
    given, returned = session.get_inputs(), session.get_outputs()
    for entry, x, text in zip(given, inputs, texts, strict=True):
        free = ["batch", "length"] if text else ["batch"]
        assert entry.shape == [*free, *x.shape[len(free) :]]
    feed = {entry.name: x.numpy() for entry, x in zip(given, inputs, strict=True)}
    torch.testing.assert_close(tuple(map(torch.from_numpy, session.run(None, feed))), answers)
    check_metadata(session.get_modelmeta().custom_metadata_map)

    described = json.loads((folder / "export" / "export.json").read_text())
    assert described["data"] == about["data"]
    assert list(described["formats"]) == list(files)
    for entry in described["formats"].values():
        assert entry["inputs"] == [
            {"name": one.name, "dtype": str(x.dtype).removeprefix("torch."), "shape": one.shape}
            for one, x in zip(given, inputs, strict=True)
        ]
        assert [(one["dtype"], one["shape"]) for one in entry["outputs"]] == [("float32", o.shape) for o in returned]
        assert entry["largest_difference"] <= 1e-4 * entry["largest_output"]
    assert described["formats"]["safetensors"]["largest_difference"] == 0
    assert {"torch", "onnxruntime", "safetensors"} <= set(described["versions"])


def test_a_checkpoint_alone_and_a_chosen_folder(digits: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "network.ckpt"
    alone.parent.mkdir()
    (digits / "checkpoints" / "best.ckpt").rename(alone)
    assert export(str(alone), formats="safetensors") == {"safetensors": alone.parent / "export" / "model.safetensors"}
    chosen = tmp_path / "a" / "b"
    assert export(str(alone), str(chosen), " torch,torch") == {"torch": chosen / "model.pt2"}
    with pytest.raises(UserError, match=r"network.ckpt cannot be written .*: name a folder with output=FOLDER"):
        export(str(alone), str(alone))


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UserError, match="there is no format 'onxx': did you mean onnx"):
        export("nowhere", formats="torch,onxx")


def test_a_missing_package_is_refused_before_anything_is_written(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'torchatlas\[onnx\]', or .* formats=safetensors,torch$"):
        export(str(digits))
    assert not (digits / "export").exists()
    assert set(export(str(digits), formats="torch,safetensors")) == {"torch", "safetensors"}


def test_a_file_that_computes_something_else_is_not_kept(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def module(self) -> Callable[[Tensor], Tensor]:
            return lambda x: task.network(x) + (len(x) == 3)  # right for the exported size

    _, task, _ = restore(str(digits))
    monkeypatch.setattr(torch.export, "load", lambda _: Wrong())
    expected = r"^model.pt2 was not written \(its outputs differ by 1, .*: leave it out with formats=safetensors,onnx$"
    with pytest.raises(UserError, match=expected):
        export(str(digits), formats="torch,safetensors")
    assert sorted(path.name for path in (digits / "export").iterdir()) == ["export.json", "model.safetensors"]
    assert list(json.loads((digits / "export" / "export.json").read_text())["formats"]) == ["safetensors"]


class Switching(nn.Module):
    """A branch that depends on the data, which no graph can hold."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if x.sum() > 0 else x

    def example_input(self, batch: int = 2) -> tuple[Tensor]:
        return (torch.randn(batch, 4),)


class Recurrent(nn.Module):
    """A GRU, which torch unrolls over a fixed length; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.gru = nn.Embedding(4, 4), nn.GRU(4, 4, batch_first=True)

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, state = self.gru(self.embedding(tokens), state)
        return h, h.mean((1, 2))

    def example_input(self, batch: int = 2) -> tuple[Tensor]:
        return (torch.randint(4, (batch, 9)),)


def test_networks_that_fit_a_graph_only_in_part(
    digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, task, about = restore(str(digits))
    monkeypatch.setattr(program, "restore", lambda _: (path, task, about))
    task.network = Switching()
    with pytest.raises(UserError, match=r"^model.pt2 .*data-dependent.*; model.onnx .* with formats=safetensors$"):
        export("", formats="torch,onnx")
    assert list((digits / "export").iterdir()) == []
    assert capsys.readouterr().err == ""
    task.network = Recurrent().eval()
    files = export("", formats="torch,onnx")
    formats = json.loads((digits / "export" / "export.json").read_text())["formats"]
    for format_ in files:
        assert [entry["shape"] for entry in formats[format_]["inputs"]] == [["batch", 9]]
        assert [entry["shape"] for entry in formats[format_]["outputs"]] == [["batch", 9, 4], ["batch"]]

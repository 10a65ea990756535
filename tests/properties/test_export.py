"""What export writes of every network is read back by the libraries alone, without torchatlas.export."""

import json
from typing import Any

import onnxruntime
import pytest
import torch
from helpers import Train, all_outputs, network_class, small_data, tiny_overrides
from safetensors import safe_open
from safetensors.torch import load_model

from torchatlas.commands.export import export
from torchatlas.errors import UserError
from torchatlas.run.build import build_network
from torchatlas.run.restore import restore
from torchatlas.version import __version__
from torchatlas.zoo import model_card

# Formats in which the length of sequences is fixed: matrices over the steps, and max pooling with a rounded length, in
# which `torch.export` alone finds a number.
FIXED = {"d_linear": ("torch", "onnx"), "n_linear": ("torch", "onnx"), "m5": ("torch",)}
FAST = ("debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default")


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
    assert ("steps alone (" in captured.out) == (class_name in FIXED)
    assert captured.err == ""
    names = ["export.json", "model.onnx", "model.pt2", "model.safetensors"]
    assert sorted(path.name for path in (folder / "export").iterdir()) == names

    _, task, about = restore(str(folder))
    network: Any = task.network
    example = network.example_input(4)
    texts = [x.ndim == 2 and not x.is_floating_point() for x in example]
    sequences = [text or (x.ndim == 3 and class_name not in FIXED) for x, text in zip(example, texts, strict=True)]
    # a batch and a length that were neither exported nor checked
    inputs = tuple(
        x[:, : 7 if text else x.shape[1] - 1] if sequence else x.clamp(max=7) if any(texts) else x
        for x, text, sequence in zip(example, texts, sequences, strict=True)
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
    fixed = FIXED.get(class_name, ())
    for entry, x, sequence in zip(given, inputs, sequences, strict=True):
        free = ["batch", "length"] if sequence or (fixed and "onnx" not in fixed) else ["batch"]
        assert entry.shape == [*free, *x.shape[len(free) :]]
    feed = {entry.name: x.numpy() for entry, x in zip(given, inputs, strict=True)}
    torch.testing.assert_close(tuple(map(torch.from_numpy, session.run(None, feed))), answers)
    check_metadata(session.get_modelmeta().custom_metadata_map)

    described = json.loads((folder / "export" / "export.json").read_text())
    assert described["data"] == about["data"]
    assert list(described["formats"]) == list(files)
    steps = example[0].shape[1]
    if any(sequences) or fixed:
        lengths = {name: steps if name in fixed else "free" for name in ("torch", "onnx")}
        assert {name: described["formats"][name]["length"] for name in lengths} == lengths
        assert session.get_modelmeta().custom_metadata_map["length"] == str(lengths["onnx"])
    for name, entry in described["formats"].items():
        shapes = [[steps if n == "length" and name in fixed else n for n in one.shape] for one in given]
        assert entry["inputs"] == [
            {"name": one.name, "dtype": str(x.dtype).removeprefix("torch."), "shape": shape}
            for one, x, shape in zip(given, inputs, shapes, strict=True)
        ]
        assert [(one["dtype"], one["shape"]) for one in entry["outputs"]] == [("float32", o.shape) for o in returned]
        assert entry["largest_difference"] <= 1e-4 * entry["largest_output"]
    assert described["formats"]["safetensors"]["largest_difference"] == 0
    assert {"torch", "onnxruntime", "safetensors"} <= set(described["versions"])

"""What `explain` draws of networks with attention over texts."""

import json
from pathlib import Path

import pytest
import torch
from helpers import Train

from torchatlas.commands.explain import explain
from torchatlas.errors import UserError

FAST = ("debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default")
SMALL = ("model.dim=16", "model.depth=2", "model.heads=2")


def weights_of(folder: Path, group: str) -> tuple[torch.Tensor, dict[str, list[str]]]:
    """The maps of a group, `l h t s`, and what stands at their rows and columns."""
    found = json.loads((folder / f"attention_{group}.json").read_text())
    return torch.tensor(list(found["weights"].values())), {key: found[key] for key in ("rows", "columns")}


def test_a_language_model(train: Train, tmp_path: Path) -> None:
    """Rows sum to one, the future has no weight, and each character has its name."""
    run = train("model=gpt_char_cpu", *FAST, *SMALL, "data.context=16")
    explain(str(run), "to be or not", str(tmp_path / "out"))
    names = {path.name for path in (tmp_path / "out").iterdir() if path.suffix in (".png", ".json")}
    assert names == {f"{name}.{end}" for name in ("attention_self", "gradients") for end in ("png", "json")} | {
        "positions.png"
    }
    weights, names_of = weights_of(tmp_path / "out", "self")
    assert weights.shape == (2, 2, 12, 12)
    assert names_of["rows"] == list("to␣be␣or␣not")
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 12), atol=1e-3, rtol=0)
    assert float(weights.triu(1).abs().max()) == 0


@pytest.mark.parametrize("model", ["transformer", "seq2seq_attention"])
def test_a_translator(model: str, train: Train, tmp_path: Path) -> None:
    """What its own output has looked at; the last row is the end."""
    sizes = (*SMALL, "model.hidden=32") if model == "transformer" else ("model.dim=16",)
    run = train(f"model={model}", *FAST, *sizes, "data.train_size=64", "data.batch_size=8")
    explain(str(run), "5 May 2001", str(tmp_path / "out"), methods=("attention",))
    weights, names = weights_of(tmp_path / "out", "alignment")
    assert names["columns"] == list("5␣May␣2001")
    assert names["rows"][-1] == "<eos>"
    assert weights.shape[2:] == (len(names["rows"]), 10)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:3]), atol=1e-3, rtol=0)
    groups = {path.stem for path in (tmp_path / "out").glob("*.json")}
    inside = {"attention_encoder", "attention_decoder"} if model == "transformer" else set()
    assert groups == {"attention_alignment", *inside}


def test_bert(train: Train, tmp_path: Path) -> None:
    run = train("model=bert_tiny", *FAST, *SMALL, "model.max_length=16", "data.context=16", "data.batch_size=8")
    explain(str(run), "the list of all the names that a class has, and of what they mean to it", str(tmp_path / "out"))
    weights, names = weights_of(tmp_path / "out", "self")
    assert (names["rows"][0], names["rows"][-1]) == ("[CLS]", "[SEP]")
    assert weights.shape == (2, 2, 16, 16)  # no more than the network can number
    assert float(weights.triu(1).max()) > 0


def test_mistakes(train: Train, tmp_path: Path) -> None:
    run = train("model=seq2seq", *FAST, "model.dim=16", "data.fake=true")
    with pytest.raises(UserError, match="networks with attention"):
        explain(str(run), "5 May 2001", str(tmp_path))
    run = train("model=gpt_char_cpu", *FAST, *SMALL, "data.context=16")
    with pytest.raises(UserError, match="no file nowhere: name a text"):
        explain(str(run), "nowhere", str(tmp_path))
    with pytest.raises(UserError, match="there is no method 'gates'"):
        explain(str(run), "to be", str(tmp_path), methods=("gates",))

"""Runs by word and by subword, and what is said of a user's text."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import Train
from helpers.tokens import TEXT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchatlas import cli
from torchatlas.commands.prepare import prepare
from torchatlas.data.text.base import codec_of
from torchatlas.data.text.text_file import TextFile
from torchatlas.data.text.tokenizer import load_codec
from torchatlas.storage.checkpoints import read
from torchatlas.tasks.language_modeling import trigram_nll

# --- the carried state

TINY = ("model=lstm_lm", "model.dim=8", "trainer=cpu", "data.context=16", "data.batch_size=8")


# --- through the command line


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        monkeypatch.setattr("sys.argv", ["torchatlas", "predict", *arguments])
        capsys.readouterr()
        cli.main()
        printed = capsys.readouterr()
        return json.loads(printed.out.splitlines()[-1]), printed.out + printed.err

    return run


def test_a_run_by_word(train: Train, predict: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures have the names of words; samples and predictions are words, with a carried state."""
    folder = train(
        *TINY, "data=pydoc_words", "task.carry=true", "trainer.max_epochs=1", "trainer.limit_train_batches=5",
        "callbacks.samples.length=12", "callbacks.samples.temperatures=[0.5,1.0]", "trainer.limit_val_batches=2",
        "trainer.limit_test_batches=2",
    )  # fmt: skip
    figures = json.loads((folder / "metrics.json").read_text())["test"]
    assert {"test/loss", "test/perplexity", "test/trigram_perplexity"} == set(figures)
    assert figures["test/perplexity"] == pytest.approx(math.exp(figures["test/loss"]), rel=1e-4)
    assert 10 < figures["test/trigram_perplexity"] < 100
    assert "trigram baseline: perplexity" in (folder / "train.log").read_text()
    events = EventAccumulator(str(folder))
    events.Reload()
    assert "epoch/trigram_perplexity/val" in events.Tags()["scalars"]
    compared = EventAccumulator(str(folder / "hparams"))
    compared.Reload()
    assert "summary/test perplexity" in compared.Tags()["scalars"]
    for temperature in (0.5, 1.0):
        (event, *_) = events.Tensors(f"validation text/temperature {temperature}/text_summary")
        assert " ⟦" in event.tensor_proto.string_val[0].decode()

    file = tmp_path / "a.txt"
    file.write_text("the zebra is a list of zebra objects\n")
    row, printed = predict(f"ckpt={folder}", f"input={file}", "length=6")
    assert "2 of 9 words are unknown to the network" in printed
    assert "'zebra' 2" in printed
    assert row["words"] == 9
    assert 1000 < row["perplexity"] < 3000  # five steps of training: near the 2,000 of no knowledge
    assert "bits_per_character" not in row
    file.write_text("zebra zebra")
    with pytest.raises(SystemExit):
        predict(f"ckpt={folder}", f"input={file}")
    assert "a.txt has no word that the network was trained on" in capsys.readouterr().err
    file.write_bytes(b"\xffabc")
    with pytest.raises(SystemExit):
        predict(f"ckpt={folder}", f"input={file}")
    assert "a.txt is no UTF-8 text" in capsys.readouterr().err


# --- through the command line


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["torchatlas", *arguments])
    cli.main()


FEW_STEPS = (
    "model=lstm_lm", "model.dim=16", "model.depth=1", "trainer.max_epochs=1", "trainer.limit_train_batches=3",
    "trainer.limit_val_batches=2", "trainer.limit_test_batches=2", "data.context=16", "data.batch_size=8",
    "callbacks.samples.length=10",
)  # fmt: skip


def test_a_run_by_subwords(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures per token and per byte; the tokeniser is in the checkpoint."""
    path = tmp_path / "own.txt"
    path.write_text(TEXT)
    arguments = ["data=text_file", f"data.path={path}", "data.by=bpe", "data.max_tokens=500", "data.share=0.1"]
    folder = train(*FEW_STEPS, *arguments)
    figures = json.loads((folder / "metrics.json").read_text())["test"]
    assert set(figures) == {
        f"test/{name}"
        for name in ("loss", "perplexity", "bits_per_byte", "trigram_perplexity", "trigram_bits_per_byte")
    }
    data = TextFile(path=str(path), by="bpe", max_tokens=500, share=0.1, vocab_size=500, context=16, batch_size=8)
    data.setup()
    text = data.read_texts()["test"]
    size = len(text.encode()) / len(data.splits["test"].tokens)
    assert figures["test/bits_per_byte"] == pytest.approx(figures["test/loss"] / size / math.log(2), rel=1e-3)
    nll = trigram_nll(data.splits["train"], data.splits["test"], 500)
    assert figures["test/trigram_bits_per_byte"] == pytest.approx(nll / size / math.log(2), rel=1e-3)
    assert "bits per byte on validation" in (folder / "train.log").read_text()

    about = read(folder / "checkpoints" / "best.ckpt")["torchatlas"]["data"]
    assert codec_of(about).describe() == data.codec.describe()
    assert load_codec(folder).fingerprint == load_codec(folder / "checkpoints" / "last.ckpt").fingerprint
    capsys.readouterr()
    run(monkeypatch, "evaluate", f"ckpt={folder}", "split=val", f"output={tmp_path / 'val.json'}")
    val = json.loads((tmp_path / "val.json").read_text())
    size = data.bytes_per_token["val"]
    assert val["val/bits_per_byte"] == pytest.approx(val["val/loss"] / size / math.log(2), rel=1e-3)
    file = tmp_path / "a.txt"
    file.write_text("balo kün ter\n")
    capsys.readouterr()
    run(monkeypatch, "predict", f"ckpt={folder}", f"input={file}", "length=5")
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["tokens"] == len(data.codec.encode("balo kün ter\n"))
    expected = math.log2(row["perplexity"]) * row["tokens"] / len("balo kün ter\n".encode())
    assert row["bits_per_byte"] == pytest.approx(expected, rel=1e-3)

    # The same tokens from a folder, by the run's tokeniser, and another run on them.
    tokens = tmp_path / "tokens"
    run(monkeypatch, "prepare", f"input={path}", f"output={tokens}", f"tokenizer={folder}", "share=0.1")
    assert load_codec(tokens).fingerprint == load_codec(folder).fingerprint
    second = train(*FEW_STEPS, "data=token_file", f"data.path={tokens}", "task.carry=true")
    assert json.loads((second / "metrics.json").read_text())["test"]["test/bits_per_byte"] > 0
    shutil.rmtree(tokens)
    prepare(str(path), str(tokens), share=0.1, vocab_size=500)
    with pytest.raises(SystemExit):
        run(monkeypatch, "evaluate", f"ckpt={second}")
    assert "are by tokeniser" in capsys.readouterr().err

"""The command `translate`, on small trained runs."""

import importlib
from pathlib import Path
from typing import Any

import pytest
from helpers import Train
from PIL import Image

from torchatlas.commands.translate import translate
from torchatlas.data.pairs.parallel_files import ParallelFiles
from torchatlas.data.text.tokenizer import TRANSLATION, train_codec
from torchatlas.errors import UserError

QUICK = ("trainer=cpu", "logger=none", "callbacks=default", "debug=one_batch")


# --- translate

PAIRS = [
    (f"{a} {b}", f"{b.upper()} {a.upper()}") for a in ("one", "two", "six", "ten") for b in ("cats", "dogs", "hens")
]


@pytest.fixture
def translator(train: Train, tmp_path: Path) -> Path:
    """A small Transformer that has learned a dozen pairs by heart: two words change places, in capitals."""
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS * 4))
    return train(
        "model=transformer", "model.dim=32", "model.depth=2", "model.heads=2", "model.hidden=64",
        "model.dropout=0.0",
        "model.shared=false", "model.tied=false",
        "data=parallel_files", *(f"data.{split}source_path={pairs}" for split in ("", "val_", "test_")), "data.by=word",
        "data.batch_size=12", "trainer.max_epochs=40",
        "optim=adam", "optim.lr=0.003", "schedule=constant", "task.decode=0", "trainer=cpu", "logger=none",
        "callbacks=default",
    )  # fmt: skip


def test_translate(translator: Path, terminal: Any, tmp_path: Path) -> None:
    """Right answers, one line out for each line in, in their order, in batches and alone, with and without a cache."""
    learned = dict(PAIRS)
    out, err = terminal("translate", f"ckpt={translator}", "input=two hens")
    assert out == "HENS TWO\n"
    assert "1 sentence in" in err
    lines = ["ten dogs", "", "one cats", "six", "two hens", "one cats"]
    (tmp_path / "in.txt").write_text("\n".join(lines) + "\n")
    out, _ = terminal("translate", f"ckpt={translator}", f"input={tmp_path / 'in.txt'}")
    found = out.split("\n")[:-1]
    assert len(found) == len(lines)
    assert found[1] == ""
    for line, text in zip(lines, found, strict=True):
        if line in learned:
            assert text == learned[line]
    for options in (["cache=false"], ["beams=1"], ["length_penalty=0"]):
        again, _ = terminal("translate", f"ckpt={translator}", f"input={tmp_path / 'in.txt'}", *options)
        assert [t for t, line in zip(again.split("\n"), lines, strict=False) if line in learned] == [
            learned[line] for line in lines if line in learned
        ]
    out, _ = terminal(
        "translate", f"ckpt={translator}", f"input={tmp_path / 'in.txt'}", f"output={tmp_path / 'out.txt'}"
    )
    assert out == ""
    assert (tmp_path / "out.txt").read_text().split("\n")[:-1] == found
    out, _ = terminal("translate", f"ckpt={translator}", "input=two hens", "max_length=1")
    assert out == "HENS\n"
    said = "".join(terminal("translate", f"ckpt={translator}", "input=two zebras"))
    assert "1 of 2 words are unknown to the network, which sees one sign for all of them: 'zebras' 1" in said

    # The picture of an alignment.
    picture = tmp_path / "pictures" / "a.png"
    _, err = terminal("translate", f"ckpt={translator}", "input=two hens", f"alignment={picture}")
    assert str(picture) in err
    with Image.open(picture) as image:
        assert min(image.size) > 100
        assert len(image.convert("L").getcolors() or range(257)) > 20  # it is not empty
    two = tmp_path / "two.txt"
    two.write_text("two hens\none cats\n")
    for arguments, said in (
        ([f"input={two}", f"alignment={picture}"], "shows one sentence, and"),
        (["input=two hens", "alignment=a.jpg"], "alignment=a.jpg must end in .png"),
    ):
        _, err = terminal("translate", f"ckpt={translator}", *arguments, status=2)
        assert said in err


def test_what_translate_refuses(train: Train, terminal: Any, tmp_path: Path) -> None:
    small = ("model.dim=8", "model.embedding_dim=8", "model.depth=1", "data.fake=true", "data=dates", "task.decode=4")
    folder = train("model=seq2seq", *small, *QUICK)
    digits = train(*QUICK)
    for arguments, said in (
        (["input="], 'input= is empty: give a value, as in input="Ein Hund läuft."'),
        (["input= "], "there is nothing to translate"),
        (["input=nowhere.txt"], "there is no file nowhere.txt"),
        (["input=word1", "beams=0"], "beams=0 must be a positive whole number"),
        (["input=a", "max_length=-1"], "max_length=-1 must be"),
        (["input=a", "length_penalty=x"], "length_penalty=x must be a number, as in length_penalty=0.6"),
        (["input=word1 word2", "alignment=a.png"], "Seq2Seq does not attend to its source: leave out alignment"),
        (["input=word1", f"ckpt={digits}"], "was trained for classification: use torchatlas predict ckpt=..."),
        ([], "input=... is missing"),
    ):
        _, err = terminal("translate", f"ckpt={folder}", *arguments, status=2)
        assert said in err, err
    _, err = terminal("generate", f"ckpt={folder}", "prompt=a", status=2)
    assert "was trained for seq2seq: use torchatlas translate ckpt=..." in err
    lm = train("model=lstm_lm", "model.dim=8", *QUICK)
    _, err = terminal("translate", f"ckpt={lm}", "input=a", status=2)
    assert "was trained for language_modeling: use torchatlas generate ckpt=..." in err
    _, err = terminal("predict", f"ckpt={folder}", f"input={tmp_path}", status=2)
    assert "seq2seq" in err


def test_a_source_beyond_the_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchatlas.models.transformer import Transformer
    from torchatlas.tasks.seq2seq import SequenceToSequence

    codec = train_codec(["a b c d"], "word", 8, TRANSLATION)
    network = Transformer(source_vocab_size=8, target_vocab_size=8, max_length=5)
    data = ParallelFiles(source_vocab_size=8, target_vocab_size=8)
    data.load_state_dict({"source": codec.describe(), "target": codec.describe()})
    task = SequenceToSequence(network).eval()
    command = importlib.import_module("torchatlas.commands.translate")
    monkeypatch.setattr(command, "restore", lambda where: (Path("x.ckpt"), task, {}))
    monkeypatch.setattr(command, "reader", lambda about: data)
    with pytest.raises(UserError, match="line 2 has 6 words, more than the 5 that the network can read: divide it"):
        translate("x", "a b\na b c d a b")
    (text,) = translate("x", "a b c d a")  # a target stays below it
    assert len(codec.encode(text)) <= 5

"""How files of tokens are written: as of the texts, whenever it is stopped."""

import contextlib
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.tokens import TEXT, codec

from torchatlas import cli
from torchatlas.data.text.token_file import TokenFile
from torchatlas.data.text.tokenizer import GPT, load_codec
from torchatlas.errors import UserError


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write(source: Any, target: Path, *more: str) -> None:
    cli.run(["prepare", f"input={source}", f"output={target}", "vocab_size=400", "share=0.1", *more])


def test_tokens_of_files_are_those_of_their_texts(
    small: None, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tokens"
    write(texts, folder)
    printed = capsys.readouterr().out
    assert "tokeniser: bpe, 400 tokens" in printed
    assert "train: shard 3 of" in printed
    assert sorted(contents(folder)) == ["index.json", "test.bin", "tokenizer.json", "train.bin", "val.bin"]
    index = json.loads((folder / "index.json").read_text())
    found = load_codec(folder)
    assert found.fingerprint == index["fingerprint"]
    text = "".join(
        [(texts / "a.txt").read_text(), "|", "one", "|", "two\n", "|", "\n", (texts / "more/c.txt").read_text(), "|"]
    )
    end = found.number(*GPT)
    expected = [i for part in text[:-1].split("|") for i in [*found.encode(part).tolist(), end]]
    tokens = {name: np.fromfile(folder / f"{name}.bin", dtype="uint16") for name in ("train", "val", "test")}
    joined = np.concatenate(list(tokens.values())).tolist()
    assert found.decode([i for i in joined if i != end]) == text.replace("|", "")
    assert joined.count(end) == 4
    assert joined == expected
    data = TokenFile(path=str(folder), vocab_size=400, context=16, batch_size=2)
    data.setup()
    for name, part in tokens.items():
        size = len(found.decode([i for i in part.tolist() if i != end]).encode())
        assert index["splits"][name] == {"tokens": len(part), "bytes": size}
        assert data.bytes_per_token[name] == size / len(part)
    sizes = [index["splits"][name]["bytes"] for name in ("train", "val", "test")]
    assert [size / sum(sizes) for size in sizes] == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    assert TokenFile.declare_vocab_size(str(folder)) == 400


def test_a_tokeniser_without_an_end_has_empty_lines_between_documents(texts: Path, tmp_path: Path) -> None:
    write(f"{texts}/**/*.txt", tmp_path / "tokens", "by=character", "vocab_size=100")
    found = load_codec(tmp_path / "tokens")
    parts = [np.fromfile(tmp_path / "tokens" / f"{name}.bin", dtype="uint16") for name in ("train", "val", "test")]
    text = (texts / "a.txt").read_text() + "\n\none\n\ntwo\n\n\n\n" + (texts / "more/c.txt").read_text()
    assert found.decode(np.concatenate(parts).tolist()) == text


class Killed(BaseException):
    """As if the power had gone."""


def test_a_stop_at_any_moment_changes_nothing(
    small: None, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each file gets its name, and while it is written; each attempt gets one step further."""
    whole, folder = tmp_path / "whole", tmp_path / "stopped"
    write(texts, whole)
    replace = os.replace
    done = stop = 0
    after = False

    def counted(source: Any, target: Any) -> None:
        nonlocal done
        done += 1
        if done == stop and not after:
            Path(source).write_bytes(b"half of it")  # without its name yet
            raise Killed
        replace(source, target)
        if done == stop:
            raise Killed

    monkeypatch.setattr(os, "replace", counted)
    steps = 0
    for after in (False, True):  # noqa: B007  # `counted` reads it
        shutil.rmtree(folder, ignore_errors=True)
        done = 1
        while done and steps < 200:  # the last attempt finds all done
            done, stop = 0, 3 + steps % 2  # the second notes a shard in the index: each attempt gets on
            with contextlib.suppress(Killed):
                write(texts, folder)
            steps += 1
        assert contents(folder) == contents(whole)
    assert 15 < steps < 200


def test_sigkill(small: None, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = (
        "import sys, time\n"
        "from torchatlas import cli\nfrom torchatlas.data.text import token_writing as w\n"
        "w.SHARD = 6000; write = w._write_shard\n"
        "def slow(*a, **k):\n    time.sleep(0.05); return write(*a, **k)\n"
        "w._write_shard = slow; cli.run(['prepare', *sys.argv[1:]])"
    )
    folder = tmp_path / "killed"
    arguments = [f"input={texts}", f"output={folder}", "vocab_size=400", "share=0.1"]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.DEVNULL)
    while len(list(folder.glob("shards/*.bin"))) < 3 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (folder / "train.bin").exists()
    with pytest.raises(UserError, match="is not finished: type its torchatlas prepare again"):
        TokenFile.declare_vocab_size(str(folder))
    capsys.readouterr()
    write(texts, folder)
    printed = capsys.readouterr().out
    assert "train: shard 1 of" not in printed  # it is there
    assert "train: shard 13 of 13" in printed
    write(texts, tmp_path / "whole")
    assert contents(folder) == contents(tmp_path / "whole")


def test_another_text_or_tokeniser_is_refused(
    small: None, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tokens"
    with pytest.raises(UserError, match="has no room"):
        write(texts, folder, "vocab_size=100")
    write(texts, folder)  # a mistake that wrote nothing is no choice
    before = contents(folder)
    capsys.readouterr()
    write(texts, folder)
    assert "is complete" in capsys.readouterr().out
    codec("bpe").save(tmp_path / "tokenizer.json")
    for more in (["vocab_size=401"], ["by=word"], ["share=0.2"]):
        with pytest.raises(UserError, match=r"holds tokens (of another text|by another tokeniser or share)"):
            write(texts, folder, *more)
    with pytest.raises(UserError, match="leave them out with tokenizer"):
        write(texts, folder, f"tokenizer={tmp_path / 'tokenizer.json'}")
    with pytest.raises(UserError, match="holds tokens by another tokeniser"):
        cli.run(
            ["prepare", f"input={texts}", f"output={folder}", "share=0.1", f"tokenizer={tmp_path / 'tokenizer.json'}"]
        )
    data = bytearray((texts / "a.txt").read_bytes())
    data[5] ^= 1
    (texts / "a.txt").write_bytes(data)
    with pytest.raises(UserError, match="holds tokens of another text: name another folder"):
        write(texts, folder)
    assert contents(folder) == before
    with pytest.raises(UserError, match=r"holds other files and no index.json"):
        write(texts, texts)


def test_mistakes_in_texts_are_named(tmp_path: Path) -> None:
    target = tmp_path / "tokens"
    with pytest.raises(UserError, match="nowhere is no text"):
        write(tmp_path / "nowhere", target)
    with pytest.raises(UserError, match="is no text"):
        write(tmp_path, target)
    with pytest.raises(UserError, match=r"input=\.\.\. is missing"):
        cli.run(["prepare", f"output={target}"])
    path = tmp_path / "a.txt"
    path.write_text("a")
    with pytest.raises(UserError, match="text is empty"):
        write(path, target)
    path.write_bytes(b"ten bytes " * 10 + b"\xff" + TEXT.encode())
    with pytest.raises(UserError, match=r"a.txt is no UTF-8 text \(.* at byte 100\)"):
        write(path, target)
    for given, said in (
        ("share=0.5", "share=0.5 must be between"),
        ("by=letter", "by=letter is unknown: it is one of bpe"),
    ):
        with pytest.raises(UserError, match=said):
            write(path, target, given)
    with pytest.raises(UserError, match="no key"):
        write(path, target, "inputs=a")


def test_other_files_are_named_or_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "texts"
    source.mkdir()
    (source / "a.txt").write_text("one two three four " * 500)
    (source / "b.md").write_text("five")
    write(source, tmp_path / "tokens")
    assert "left out are 1 files of other endings (.md)" in capsys.readouterr().out
    for data, message in {
        gzip.compress(b"one two " * 500): r"c\.txt is packed by gzip: unpack it first",
        ("one two " * 500).encode("utf-16-le"): r"c\.txt holds a zero byte \(byte 1\), so it is no UTF-8 text",
    }.items():
        (tmp_path / "c.txt").write_bytes(data)
        with pytest.raises(UserError, match=message):
            write(tmp_path / "c.txt", tmp_path / "others")


def test_a_text_without_blanks_is_cut_between_characters(small: None, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("日本語€" * 4000)
    write(tmp_path / "a.txt", tmp_path / "tokens", "by=character", "vocab_size=50")
    found = load_codec(tmp_path / "tokens")
    parts = [np.fromfile(tmp_path / "tokens" / f"{name}.bin", dtype="uint16") for name in ("train", "val", "test")]
    assert found.decode(np.concatenate(parts).tolist()) == "日本語€" * 4000


def test_files_of_splits_are_the_splits(tmp_path: Path) -> None:
    texts = {name: f"{name} " * 300 for name in ("train", "valid", "test")}
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"my.{name}.txt").write_text(text)
    write(folder, tmp_path / "tokens")
    found = load_codec(tmp_path / "tokens")

    def text_of(split: str, tokens: Path) -> str:
        return found.decode(np.fromfile(tokens / f"{split}.bin", dtype="uint16").tolist()).replace(GPT[0], "")

    assert {split: text_of(split, tmp_path / "tokens") for split in ("train", "val", "test")} == {
        "train": texts["train"], "val": texts["valid"], "test": texts["test"],
    }  # fmt: skip
    (folder / "my.valid.txt").unlink()
    write(folder, tmp_path / "cut")
    assert text_of("train", tmp_path / "cut") + text_of("val", tmp_path / "cut") == texts["train"]
    assert 0.08 < len(text_of("val", tmp_path / "cut")) / len(texts["train"]) < 0.12
    assert text_of("test", tmp_path / "cut") == texts["test"]

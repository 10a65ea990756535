"""Files of tokens: windows as of memory, damaged folders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tokens import codec, load

from torchatlas import cli
from torchatlas.data.text.base import Streams, Windows
from torchatlas.data.text.token_file import StoredTokens, TokenFile
from torchatlas.data.text.tokenizer import load_codec
from torchatlas.errors import UserError


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write(source: Any, target: Path, *more: str) -> None:
    cli.run(["prepare", f"input={source}", f"output={target}", "vocab_size=400", "share=0.1", *more])


@pytest.mark.parametrize("context", [1, 7, 16])
def test_windows_of_a_file_are_those_of_memory(context: int, tmp_path: Path) -> None:
    for dtype, top in (("uint16", 60_000), ("uint32", 100_000)):
        tokens = torch.randint(top, (1000,))
        tokens.numpy().astype(dtype).tofile(tmp_path / "a.bin")
        stored = StoredTokens(tmp_path / "a.bin", dtype, top)
        assert len(stored) == 1000
        assert torch.equal(stored[:7], tokens[:7])
        for shift in (True, False):
            ours, theirs = (Windows(t, context, 3, shift=shift) for t in (stored, tokens))
            indices = torch.randperm(len(theirs))[:20]
            for epoch in (-1, 0, 5):
                assert torch.equal(ours[epoch, indices][0], theirs[epoch, indices][0])
            assert all(map(torch.equal, ours.windows(), theirs.windows()))
        ours, theirs = (Streams(t, context) for t in (stored, tokens))
        positions = torch.randint(1000, (4, context + 1))
        assert torch.equal(ours[0, positions][0], theirs[0, positions][0])
        assert all(map(torch.equal, ours.windows(), theirs.windows()))
        assert ours[0, positions][0].dtype == torch.int64
        with pytest.raises(UserError, match=r"a.bin is damaged, it has a token"):
            StoredTokens(tmp_path / "a.bin", dtype, int(tokens.max()))[:]


def test_workers_open_the_file_and_copy_nothing(tmp_path: Path) -> None:
    import pickle

    np.arange(100_000, dtype="uint32").tofile(tmp_path / "a.bin")
    packed = pickle.dumps(Windows(StoredTokens(tmp_path / "a.bin", "uint32", 10**6), 8, 0, shift=True))
    assert len(packed) < 2000
    assert torch.equal(pickle.loads(packed)[-1, torch.tensor([1])][0], torch.arange(8, 17)[None])


def test_damaged_folders_are_refused(texts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    write(texts, folder)
    good = contents(folder)

    def refuses(match: str) -> None:
        with pytest.raises(UserError, match=match):
            TokenFile(path=str(folder), vocab_size=400, context=16).setup()
        for name, data in good.items():
            (folder / name).write_bytes(data)

    (folder / "val.bin").write_bytes(good["val.bin"][:-2])
    refuses(r"val.bin has [\d,]+ bytes where [\d,]+ are right")
    (folder / "val.bin").unlink()
    refuses(r"val.bin has 0 bytes")
    codec("bpe").save(folder / "tokenizer.json")
    refuses(rf"tokenizer.json is tokeniser {codec('bpe').fingerprint}, and the tokens there are by")
    (folder / "tokenizer.json").unlink()
    refuses("there is no tokeniser")
    (folder / "index.json").write_text("{")
    refuses("index.json is damaged")
    index = json.loads(good["index.json"])
    for change in ({"dtype": "float32"}, {"splits": {}}, {"vocab_size": None}, {"fingerprint": "0" * 12}):
        (folder / "index.json").write_text(json.dumps({**index, **change}))
        refuses("is damaged|and the tokens there are by")
    (folder / "index.json").unlink()
    refuses("is no folder of tokens: write one with torchatlas prepare")
    with pytest.raises(UserError, match="needs a folder of tokens"):
        TokenFile.declare_vocab_size(None)
    with pytest.raises(UserError, match="is not the 400 of this text"):
        TokenFile(path=str(folder), vocab_size=401, context=16).setup()
    with pytest.raises(UserError, match=r"are by tokeniser .* and the checkpoint's is"):
        load(TokenFile, codec("bpe"), path=str(folder), vocab_size=400).setup()
    load(TokenFile, load_codec(folder), path=str(folder), vocab_size=400).setup()

"""Folders of texts, in small shards."""

from pathlib import Path

import pytest
from helpers.tokens import made_text

from torchatlas.data.text import token_writing


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_writing, "SHARD", 6000)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    (folder / "more").mkdir(parents=True)
    (folder / "a.txt").write_text(made_text(4000, 4) + "the end")
    (folder / "b.txt").write_text("\N{BOM}one<|endoftext|>two\r\n<|endoftext|>\r\n")
    (folder / "more" / "c.txt").write_text(made_text(5000, 5))
    (folder / "d.md").write_text("no text")
    return folder

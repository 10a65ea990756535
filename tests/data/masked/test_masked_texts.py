"""Documents of a user's text and of WikiText."""

from pathlib import Path

import pytest
from helpers.masked import toy_documents

from torchatlas.data.masked.masked_texts import TextFileMasked, WikiText2Masked, own_documents
from torchatlas.data.text import wikitext2
from torchatlas.errors import UserError


def test_a_users_text(tmp_path: Path) -> None:
    """Whole documents by position, and the vocabulary of the training part."""
    path = tmp_path / "own.txt"
    path.write_text("\n\n".join(toy_documents(0, 40)) + "\n \n\n")
    splits = own_documents(str(path), None, 0.1)
    assert [text for split in ("train", "val", "test") for text in splits[split]] == toy_documents(0, 40)
    sizes = {split: sum(map(len, texts)) for split, texts in splits.items()}
    assert all(0.05 < sizes[split] / sum(sizes.values()) <= 0.1 for split in ("val", "test"))
    size = TextFileMasked.declare_vocab_size(None, str(path), None, 0.1, 60)
    assert size == 60
    assert TextFileMasked.declare_vocab_size(None, str(path), None, 0.1, 8000) < 200  # there are no more
    data = TextFileMasked(path=str(path), share=0.1, max_tokens=60, vocab_size=60, context=32, batch_size=4)
    data.setup()
    assert "[UNK]" not in data.codec.pieces(data.splits["train"].tokens)
    folder = tmp_path / "folder"
    folder.mkdir()
    for i in range(7):
        (folder / f"{i}.txt").write_text(f"{i}\n\nmore")
    assert own_documents(str(folder), None, 0.01)["test"] == ["5\n\nmore", "6\n\nmore"]
    assert own_documents(str(folder), "paragraph", 0.01)["test"] == ["6", "more"]


def test_files_of_splits_are_the_splits(tmp_path: Path) -> None:
    """Their documents are paragraphs; what has no file is cut from training."""
    for name in ("train", "test"):
        (tmp_path / f"my.{name}.txt").write_bytes("\n\n".join(f"{name} né {i}" for i in range(9)).encode("latin-1"))
    found = own_documents(str(tmp_path), None, 0.1, "latin-1")
    assert found["test"] == [f"test né {i}" for i in range(9)]
    assert found["train"] + found["val"] == [f"train né {i}" for i in range(9)]
    assert len(found["val"]) == 2
    size = TextFileMasked.declare_vocab_size(path=str(tmp_path), max_tokens=60, encoding="latin-1", parts="files")
    data = TextFileMasked(
        path=str(tmp_path), encoding="latin-1", parts="files", max_tokens=60, vocab_size=size, context=8
    )
    data.setup()
    assert "[UNK]" not in data.codec.pieces(data.splits["train"].tokens)


def test_mistakes_in_a_users_text_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one\n\ntwo")
    for path, match in (
        (None, "data=text_file_masked needs a text"),
        (str(tmp_path / "no"), "there is no file or folder"),
        (str(file), r"has 2 documents where at least 6 are needed"),
    ):
        with pytest.raises(UserError, match=match):
            own_documents(path, None, 0.1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no file that ends in .txt"):
        own_documents(str(tmp_path / "empty"), None, 0.1)
    for options, match in (
        ({"documents": "page"}, "data.documents=page must be file or paragraph"),
        ({"share": 0.5}, "data.share=0.5 must be between"),
        ({"max_tokens": 5}, "data.max_tokens=5 must be more than the 5"),
        ({"context": 7}, "data.context=7 must be at least 8"),
        ({"vocab_size": 5}, "data.vocab_size=5 must be more than the 5"),
    ):
        with pytest.raises(UserError, match=match):
            TextFileMasked(**{"vocab_size": 60, **options})
    file.write_text("\n\n".join(["word " * 9] * 4 + ["x"] * 4))
    size = TextFileMasked.declare_vocab_size(None, str(file), None, 0.01, 60)
    data = TextFileMasked(path=str(file), share=0.01, max_tokens=60, vocab_size=size)
    with pytest.raises(UserError, match=r"val: 0 documents have two tokens or more, .*: give more text, or divide"):
        data.setup()


def test_articles_of_wikitext_are_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(
        f" = {name} = \n \n The <unk> cat {name} sat . The dog = {name} = ran . \n = = Part = = \n \n Two . \n \n"
        for name in ("One", "Two = Three", "Four")
    )
    folder = tmp_path / "wikitext-2"
    folder.mkdir()
    for name in wikitext2.FILES.values():
        (folder / name).write_text(" \n" + text)
    monkeypatch.setattr(wikitext2, "LINES", dict.fromkeys(wikitext2.FILES, 1 + text.count("\n")))
    data = WikiText2Masked(root=str(tmp_path), vocab_size=60, context=16)
    data.prepare_data()
    found = data.read_documents()["val"]
    assert [article.splitlines()[0].strip() for article in found] == ["= One =", "= Two = Three =", "= Four ="]
    assert all("<unk>" not in article and "The ⁇ cat" in article for article in found)
    data.known_codec = data.make_codec(found)
    assert "⁇" in data.codec.pieces(data.codec.encode(found[0]))

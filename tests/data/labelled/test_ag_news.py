"""AG News as its files have it."""

from pathlib import Path

import pytest

from torchatlas.data.labelled import ag_news
from torchatlas.errors import UserError


@pytest.mark.parametrize("names", ["", "Class Index,Title,Description\n"])
def test_news(names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """With a line of names or without, as both are passed on."""
    monkeypatch.setattr(ag_news, "SIZES", {"train": 40, "test": 4})
    for part, n in ag_news.SIZES.items():
        (tmp_path / "ag_news").mkdir(exist_ok=True)
        text = "".join(f'"{i % 4 + 1}","Title {i}","He said ""yes""\\to {part}, {i}."\n' for i in range(n))
        (tmp_path / "ag_news" / f"{part}.csv").write_text(names + text)
    news = ag_news.AGNews(root=str(tmp_path), vocab_size=60, val_share=0.1)
    news.prepare_data()
    parts = news.read_examples()
    assert parts["test"].texts[1] == 'Title 1 He said "yes" to test, 1.'
    assert parts["test"].labels == [0, 1, 2, 3]
    assert {split: len(part.texts) for split, part in parts.items()} == {"train": 36, "val": 4, "test": 4}
    assert "authors" not in caplog.text
    path = tmp_path / "ag_news" / "test.csv"
    assert [text.text for text in news.texts_of(str(path))[0]] == parts["test"].texts
    path.write_text(names + '"1","Title","Text"\n' * 3)
    assert len(news.read_examples()["test"].texts) == 3
    assert "test.csv has 3 texts where the authors have 4: they are used" in caplog.text
    path.write_text("9,a,b\n8,c,d\n")
    with pytest.raises(UserError, match=r"test\.csv, line 1: the class is 9, not one of 1, 2, 3, 4"):
        news.read_examples()
    path.write_text("a,b\nc,d\n")
    with pytest.raises(UserError, match="does not have three columns"):
        news.read_examples()

"""Reviews of IMDb, and AG News."""

from collections import Counter
from pathlib import Path

import pytest

from torchatlas.data.labelled import ag_news, imdb
from torchatlas.errors import UserError


def test_reviews_and_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imdb, "OF_EACH", 6)
    for part in ("train", "test"):
        for k, name in enumerate(imdb.FOLDERS):
            folder = tmp_path / "aclImdb" / part / name
            folder.mkdir(parents=True)
            for i in range(6):
                (folder / f"{i}_{k}.txt").write_text(f"{part} {name} {i}<br /><br />end")
    data = imdb.IMDB(root=str(tmp_path), vocab_size=60, val_share=0.3)
    data.prepare_data()
    found = data.read_examples()
    assert {split: Counter(part.labels) for split, part in found.items()} == {
        "train": {0: 4, 1: 4}, "val": {0: 2, 1: 2}, "test": {0: 6, 1: 6},
    }  # fmt: skip
    assert found["test"].texts[-1] == "test pos 5  end"
    assert not set(found["train"].texts) & set(found["val"].texts)
    (tmp_path / "aclImdb" / "test" / "pos" / "0_1.txt").unlink()
    with pytest.raises(UserError, match="has 5 reviews where 6 are right"):
        data.read_examples()

    monkeypatch.setattr(ag_news, "SIZES", {"train": 40, "test": 4})
    for part, n in ag_news.SIZES.items():
        (tmp_path / "ag_news").mkdir(exist_ok=True)
        text = "".join(f'"{i % 4 + 1}","Title {i}","He said ""yes""\\to {part}, {i}."\n' for i in range(n))
        (tmp_path / "ag_news" / f"{part}.csv").write_text(text)
    news = ag_news.AGNews(root=str(tmp_path), vocab_size=60, val_share=0.1)
    parts = news.read_examples()
    assert parts["test"].texts[1] == 'Title 1 He said "yes" to test, 1.'
    assert parts["test"].labels == [0, 1, 2, 3]
    assert {split: len(part.texts) for split, part in parts.items()} == {"train": 36, "val": 4, "test": 4}
    (tmp_path / "ag_news" / "test.csv").write_text("9,a,b\n")
    with pytest.raises(UserError, match="does not have a class from 1 to 4"):
        news.read_examples()

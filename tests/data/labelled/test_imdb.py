"""Reviews of IMDb in their folders."""

import io
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from torchatlas.data.labelled import imdb
from torchatlas.errors import UserError


def write(folder: Path, part: str, of_each: int) -> None:
    for k, name in enumerate(imdb.FOLDERS):
        (folder / part / name).mkdir(parents=True)
        for i in range(of_each):
            (folder / part / name / f"{i}_{k}.txt").write_text(f"{part} {name} {i}<br /><br />end")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imdb, "SIZES", {"train": 12, "test": 12})


def sizes(data: imdb.IMDB) -> dict[str, dict[int, int]]:
    return {split: dict(Counter(part.labels)) for split, part in data.read_examples().items()}


def test_reviews(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part in imdb.PARTS:
        write(tmp_path / "aclImdb", part, 6)
    data = imdb.IMDB(root=str(tmp_path), vocab_size=60, val_share=0.3)
    data.prepare_data()
    assert sizes(data) == {"train": {0: 4, 1: 4}, "val": {0: 2, 1: 2}, "test": {0: 6, 1: 6}}
    found = data.read_examples()
    assert found["test"].texts[-1] == "test pos 5  end"
    assert not set(found["train"].texts) & set(found["val"].texts)
    assert not caplog.messages
    path = tmp_path / "new.txt"
    path.write_text("fine<br />film\n")
    assert data.texts_of(str(path))[0][0].text == "fine film"


def test_another_cut_is_used_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A share of the training reviews lies in a folder of its own."""
    for part, of_each in (("train", 5), ("val", 1), ("test", 6)):
        write(tmp_path / "aclImdb", part, of_each)
    data = imdb.IMDB(root=str(tmp_path), vocab_size=60)
    data.prepare_data()
    assert sizes(data) == {"train": {0: 5, 1: 5}, "val": {0: 1, 1: 1}, "test": {0: 6, 1: 6}}
    assert "has 10 + 12 reviews, and 2 in val where the authors have 12 + 12: they are used" in caplog.text
    (tmp_path / "aclImdb" / "test" / "pos").rename(tmp_path / "elsewhere")
    (tmp_path / "aclImdb" / "test" / "pos").mkdir()
    with pytest.raises(UserError, match=r"pos holds no review: name another folder with data\.root=FOLDER"):
        data.read_examples()


def test_an_archive_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "aclImdb_v1.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        for part in ("train", "test"):
            for name in (*imdb.FOLDERS, "unsup"):
                for i in range(6):
                    member = tarfile.TarInfo(f"aclImdb/{part}/{name}/{i}.txt")
                    member.size = 4
                    archive.addfile(member, io.BytesIO(b"text"))
    monkeypatch.setattr(imdb, "fetch", lambda *_: packed)
    data = imdb.IMDB(root=str(tmp_path), vocab_size=60, val_share=0.3)
    data.prepare_data()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aclImdb", "aclImdb_v1.tar.gz"]
    assert sizes(data)["test"] == {0: 6, 1: 6}
    assert not (tmp_path / "aclImdb" / "train" / "unsup").exists()

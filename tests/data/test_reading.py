"""A user's own files."""

from pathlib import Path

import pytest

from torchatlas.data.reading import list_files

ENDINGS = (".png", ".jpg", ".jpeg")


def test_images_are_listed_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.JPG", "a/c/d.jpeg", "a.b/x.png", "notes.txt", "a/.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.suffix.lower() in ENDINGS)
    assert list_files(tmp_path, ENDINGS) == [path.as_posix() for path in expected]
    with pytest.raises(OSError, match="nowhere"):
        list_files(tmp_path / "nowhere", ENDINGS)

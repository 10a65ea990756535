"""A user's folder: its classes."""

from pathlib import Path

from PIL import Image

from torchatlas.data.folders import find_classes


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("car", "plane", "train"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "a.png")
    assert find_classes(tmp_path) == ["car", "plane", "train"]

"""A user's own files are read as those of a data set."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from helpers.data import ready
from helpers.sound import LOGMEL, RATE
from PIL import Image

from torchatlas.data.images.digits import Digits
from torchatlas.data.images.pixels import DigitSequences
from torchatlas.data.masks.digit_scenes import DigitScenes
from torchatlas.data.reading import LeftOut, find_files, list_files, read_each
from torchatlas.data.sound.sound_folder import SoundFolder
from torchatlas.errors import UserError

ENDINGS = (".png", ".jpg", ".jpeg")


def test_files_are_found_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.JPG", "a.b/x.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = ["a/z.JPG", "a.b/x.png", "b.png"]
    assert list_files(tmp_path, (".png", ".jpg")) == found
    assert find_files(str(tmp_path), (".png", ".jpg")) == [tmp_path / name for name in found]
    assert find_files(tmp_path / "notes.txt", (".png",)) == [tmp_path / "notes.txt"]  # it was named
    for given, sentence in (
        (tmp_path / "c", f"there is no file or folder {tmp_path / 'c'}: name one with input=PATH"),
        (tmp_path / "a", f"{tmp_path / 'a'} holds no file that ends in .wav, .flac: those there are .jpg"),
    ):
        with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
            find_files(given, (".wav", ".flac"))


def test_images_are_listed_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.JPG", "a/c/d.jpeg", "a.b/x.png", "notes.txt", "a/.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.suffix.lower() in ENDINGS)
    assert list_files(tmp_path, ENDINGS) == [path.as_posix() for path in expected]
    with pytest.raises(OSError, match="nowhere"):
        list_files(tmp_path / "nowhere", ENDINGS)


LITTER = (
    ".ipynb_checkpoints/b-checkpoint.png", "a/.ipynb_checkpoints/z.png", "._b.png", "__MACOSX/a/._z.png",
    "__MACOSX/b.png", ".DS_Store", "a/Thumbs.db", "a/desktop.ini",
    "@eaDir/b.png/SYNOPHOTO_THUMB_M.png", ".git/objects/b.png",
)  # fmt: skip


def made(root: Path, names: Sequence[str]) -> Path:
    """A folder with empty files."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_what_systems_and_programs_leave_in_a_folder_is_left_out_and_said(tmp_path: Path, caplog: Any) -> None:
    clean = list_files(made(tmp_path / "clean", ["a/z.png", "b.png"]), ENDINGS)
    left = LeftOut()
    root = made(tmp_path / "set", ["a/z.png", "b.png", *LITTER])
    assert list_files(root, ENDINGS, left) == clean
    assert left.hidden.total() == 9  # two of them are in one folder
    assert not left.endings
    with caplog.at_level(logging.INFO):
        assert find_files(root, ENDINGS) == [root / name for name in clean]
        made(root, ["a/c.heic", "d.HEIC", "notes"])
        find_files(root, ENDINGS)
    first, second = caplog.messages
    assert first.startswith(f"of {root} left out are 9 hidden files and folders (.ipynb_checkpoints 2, ")
    assert second == f"{first}, 3 files of other endings (.heic 2, notes)"
    caplog.clear()
    find_files(tmp_path / "clean", ENDINGS)
    assert not caplog.messages  # there is nothing to say
    hidden = made(tmp_path / ".cache" / "set", ["a.png"])
    assert list_files(hidden, ENDINGS) == ["a.png"]  # what is above the folder says nothing of its files


def test_linked_folders_are_followed_but_none_is_listed_twice(tmp_path: Path, caplog: Any) -> None:
    root = made(tmp_path / "set", ["b/one.png", "c.png"])
    outside = made(tmp_path / "elsewhere", ["two.png", "deep/three.png"])
    (root / "a").symlink_to(root / "b")  # its files have a path of their own
    (root / "b" / "up").symlink_to(root)
    (root / "d").symlink_to(outside)
    (root / "e").symlink_to(outside / "deep")
    (outside / "back").symlink_to(root)
    (root / "circle").symlink_to(root / "circle")
    (root / "four.png").symlink_to(outside / "two.png")  # a file by another name
    with caplog.at_level(logging.INFO):
        found = find_files(root, ENDINGS)
    assert [path.relative_to(root).as_posix() for path in found] == [
        "b/one.png", "c.png", "d/deep/three.png", "d/two.png", "four.png",
    ]  # fmt: skip
    assert caplog.messages == [
        f"of {root} left out are 1 files of other endings (circle), 4 links to folders that are read already; 1 linked "
        "folders are followed"
    ]


IMAGES: tuple[Any, ...] = (
    lambda: Digits(in_channels=1, image_size=8, num_classes=10),
    lambda: DigitSequences(by="row", in_channels=8),
    lambda: DigitSequences(by="pixel", permute=True, in_channels=1),
    lambda: DigitScenes(in_channels=1, image_size=32, num_classes=11, train_size=4, test_size=70, val_size=4),
)


@pytest.mark.parametrize("make", IMAGES)
def test_images_are_seen_as_in_training(make: Any, tmp_path: Path) -> None:
    """The very numbers that the same images have in their split."""
    data = ready(make())
    raw = data.splits["test"][-1, torch.arange(70)]
    expected = data.transform(raw)[0]
    for i, image in enumerate(raw[0]):
        Image.fromarray(image[0].numpy()).save(tmp_path / f"{i:02}.png")
    given = data.read(str(tmp_path))
    assert [each["file"] for each in given.about][:2] == [str(tmp_path / "00.png"), str(tmp_path / "01.png")]
    batches = [x for x, *_ in data.batches(given, "cpu")]
    assert len(batches) == (70 if data.tasks == ("segmentation",) else 2)  # images of any size come one by one
    assert torch.equal(torch.cat(batches), expected)


def test_sounds_are_heard_as_in_training(tmp_path: Path) -> None:
    data = ready(SoundFolder(num_classes=3, fake=True, batch_size=8, **LOGMEL))
    waves, lengths, *_ = raw = data.splits["test"][-1, torch.arange(8)]
    for i, (wave, length) in enumerate(zip(waves, lengths.tolist(), strict=True)):
        soundfile.write(tmp_path / f"{i}.wav", wave[:length].numpy(), RATE, "PCM_16")
    ((x, steps, _),) = data.batches(data.read(str(tmp_path)), "cpu")
    expected, numbers, _ = data.transform(raw)
    assert torch.equal(x, expected)
    assert torch.equal(steps, numbers)


def test_one_file_that_cannot_be_read_keeps_no_other_from_being_answered(tmp_path: Path) -> None:
    data = ready(Digits(in_channels=1, image_size=8, num_classes=10))
    for i in range(70):
        Image.fromarray(data.splits["test"][-1, torch.tensor([i])][0][0, 0].numpy()).save(tmp_path / f"{i:02}.png")
    torn = tmp_path / "05.png"
    torn.write_bytes(torn.read_bytes()[:40])
    whole = data.transform(data.splits["test"][-1, torch.arange(70)])[0]
    told = [(one["file"], one.get("error"), part) for about, batch in data.told(data.read(str(tmp_path)), "cpu")
            for one, part in zip(about, batch[0] if batch else [None], strict=True)]  # fmt: skip
    assert [Path(file).name for file, *_ in told] == [f"{i:02}.png" for i in range(70)]
    for i, (_, error, x) in enumerate(told):
        if i == 5:
            assert x is None
            assert error is not None
            assert error.startswith(f"{torn} cannot be read as an image")
        else:
            assert error is None
            assert torch.equal(x, whole[i])
    with pytest.raises(UserError, match=r"05\.png cannot be read"):  # it is alone
        list(data.told(data.read(str(torn)), "cpu"))


def test_files_are_read_one_by_one(tmp_path: Path) -> None:
    made(tmp_path, ["a.txt", "b.txt"])

    def read(path: Path) -> str:
        if path.name == "b.txt":
            raise UserError("torn")
        return "whole"

    one, other = tmp_path / "a.txt", tmp_path / "b.txt"
    assert read_each([one, other], read, "place") == ([(one, "whole")], [{"place": str(other), "error": "torn"}])
    with pytest.raises(UserError, match="torn"):
        read_each([other], read)


def test_labels_are_unknown(tmp_path: Path) -> None:
    """And of masks all pixels are ignored."""
    Image.fromarray(np.zeros((5, 7), dtype=np.uint8)).save(tmp_path / "a.png")
    data = DigitScenes(in_channels=1, image_size=32, num_classes=11)
    x, mask = next(iter(data.batches(data.read(str(tmp_path / "a.png")), "cpu")))
    assert x.shape == (1, 1, 5, 7)
    assert mask.unique().tolist() == [data.ignore_index]

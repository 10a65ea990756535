"""A user's own files are read as those of a data set."""

import re
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
from torchatlas.data.reading import find_files, list_files
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
        (tmp_path / "a", f"{tmp_path / 'a'} holds no file that ends in .wav, .flac"),
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


def test_labels_are_unknown(tmp_path: Path) -> None:
    """And of masks all pixels are ignored."""
    Image.fromarray(np.zeros((5, 7), dtype=np.uint8)).save(tmp_path / "a.png")
    data = DigitScenes(in_channels=1, image_size=32, num_classes=11)
    x, mask = next(iter(data.batches(data.read(str(tmp_path / "a.png")), "cpu")))
    assert x.shape == (1, 1, 5, 7)
    assert mask.unique().tolist() == [data.ignore_index]

"""What a split holds: the same wherever it lies, and something else when samples are."""

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import model_for
from helpers.runs import make_folder
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from torchatlas.data import contents
from torchatlas.data.contents import changes, checksum_of_file, checksum_of_files, checksum_of_numbers
from torchatlas.data.images.base import InMemoryImages

SPLITS = ("train", "val", "test")


# --- checksums


def write(folder: Path, sizes: dict[str, int]) -> list[bytes]:
    for name, size in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(size))
    return [name.encode() for name in sizes]


def test_files_are_known_by_name_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {f"cat/ä {i}.png": i for i in range(25)}
    names = write(tmp_path / "one", sizes)
    known = checksum_of_files(tmp_path / "one", names)
    (tmp_path / "one").rename(tmp_path / "two")
    assert checksum_of_files(tmp_path / "two", names) == known
    assert checksum_of_files(f"{tmp_path}/two", np.array(names)) == known
    monkeypatch.setattr(contents, "CHUNK", 4)
    assert checksum_of_files(tmp_path / "two", names) == known
    monkeypatch.setattr(contents, "SLOW", -1.0)  # as over a network: by several threads
    assert checksum_of_files(tmp_path / "two", names) == known
    assert checksum_of_files(tmp_path / "two", names[:-1]) != known
    assert checksum_of_files(tmp_path / "two", names[::-1]) != known
    (tmp_path / "two" / "cat" / "ä 3.png").write_bytes(b"four")
    changed = checksum_of_files(tmp_path / "two", names)
    assert changed != known
    (tmp_path / "two" / "cat" / "ä 3.png").unlink()  # the run itself says which file is missing
    assert checksum_of_files(tmp_path / "two", names) not in (known, changed)


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_file_is_known_by_what_it_holds(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "BLOCK", 16)
    monkeypatch.setattr(contents, "BLOCKS", 8)  # 5,000 bytes are looked at in parts
    content = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8).tobytes()
    (tmp_path / "one").write_bytes(content)
    (tmp_path / "two").write_bytes(content)
    assert checksum_of_file(tmp_path / "one") == checksum_of_file(tmp_path / "two")
    others = [content + b"x"] + ([b"x" + content[1:], content[:-1] + bytes([content[-1] ^ 1])] if size else [])
    for other in others:
        (tmp_path / "two").write_bytes(other)
        assert checksum_of_file(tmp_path / "one") != checksum_of_file(tmp_path / "two")


def test_numbers_are_those_that_no_machine_rounds() -> None:
    images, labels = torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1, 0])
    known = checksum_of_numbers(InMemoryImages(images, labels))
    assert checksum_of_numbers(InMemoryImages(images + 1, labels)) == known  # resized, perhaps otherwise elsewhere
    assert checksum_of_numbers(InMemoryImages(images, labels.flip(0))) == known
    assert checksum_of_numbers(InMemoryImages(images, 1 - labels)) != known
    assert checksum_of_numbers(InMemoryImages(images[:3], labels[:3])) != known


def test_changes_are_counted() -> None:
    def split(samples: int, checksum: str) -> contents.Contents:
        return {"samples": samples, "checksum": checksum}

    before = {"train": split(40, "a"), "val": split(5, "b"), "test": split(5, "c")}
    assert changes(before, before) == ""
    assert changes({}, before) == ""  # a checkpoint of a former version
    assert changes(before, before | {"val": split(5, "d")}) == "val has 5 samples as before, but not the same ones"
    now = before | {"train": split(30, "e"), "test": split(7, "f")}
    assert changes(before, now) == "train has 30 samples where it had 40 (10 fewer), test has 7 where it had 5 (2 more)"


# --- each kind of data


def sound(path: Path, pitch: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (8000 * np.sin(pitch * np.arange(800))).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(values.tobytes())


def sounds(folder: Path, number: int) -> None:
    for k, name in enumerate(("low", "high")):
        for i in range(number):
            sound(folder / name / f"{i}.wav", 0.1 * (1 + k))


def masks(folder: Path, number: int) -> None:
    for part, levels in (("images", 256), ("masks", 2)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for i in range(number):
            pixels = np.random.default_rng(i).integers(0, levels, (16, 16)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / part / f"{i}.png")


def lines(name: str, line: Callable[[int], str], head: str = "") -> Callable[[Path, int], None]:
    def make(folder: Path, number: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(head + "".join(line(i) + "\n" for i in range(number)))

    return make


def series(folder: Path, number: int) -> None:
    for part in ("TRAIN", "TEST"):
        line = lines(f"Own_{part}.tsv", lambda i: "\t".join(map(str, (i % 2, *np.sin(0.1 * i + np.arange(8))))))
        line(folder / "ucr" / "Own", number + len(part))


WORDS = ["the", "cat", "sat", "on", "a", "mat", "while", "it", "rained", "and", "the", "dog", "slept"]


def sentence(i: int) -> str:
    return " ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 6))


def day(i: int) -> str:
    return f"{np.datetime64('2024-01-01') + i},{i % 7},{i % 5}"


def images(folder: Path, number: int) -> None:
    make_folder(folder)


KINDS: dict[str, tuple[Callable[[Path, int], None], int, tuple[str, ...]]] = {
    "image_folder": (images, 40, ("root=HERE", "image_size=8")),
    "unlabelled_folder": (images, 40, ("root=HERE", "image_size=8")),
    "sound_folder": (sounds, 20, ("root=HERE", "share=0.3", "sample_rate=8000", "seconds=0.1")),
    "mask_folder": (masks, 30, ("root=HERE", "image_size=16", "full_size=16", "share=0.3")),
    "text_file": (lines("text.txt", sentence), 400, ("path=HERE/text.txt", "context=16")),
    "text_file_masked": (
        lines("text.txt", lambda i: sentence(i) + "\n" * (i % 10 == 9)),
        2000,
        ("path=HERE/text.txt", "context=32", "documents=paragraph"),
    ),
    "text_csv": (lines("t.csv", lambda i: f"{sentence(i)},{i % 2}", "text,label\n"), 90, ("path=HERE/t.csv",)),
    "parallel_files": (lines("t.tsv", lambda i: f"{sentence(i)}\t{sentence(i + 1)}"), 200, ("source_path=HERE/t.tsv",)),
    "series_csv": (lines("t.csv", day, "date,a,b\n"), 300, ("path=HERE/t.csv", "lookback=8", "horizon=4")),
    "ucr": (series, 20, ("root=HERE", "name=Own")),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_knows_what_it_holds(name: str, tmp_path: Path, compose: Callable[..., Any]) -> None:
    """A folder that was moved is the same; one that has grown is another, but for a series, which keeps its rows."""
    make, number, words = KINDS[name]
    make(tmp_path / "one", number)
    placed = [f"data.{word.replace('HERE', str(tmp_path / 'one'))}" for word in words]
    config = compose(f"model={model_for(name)}", f"data={name}", "data.batch_size=4", "data.num_workers=0", *placed)
    section: Any = OmegaConf.to_container(config.data, resolve=True)

    def found(folder: str, known: Any = None) -> tuple[dict[str, contents.Contents], Any]:
        there = {
            key: value.replace(str(tmp_path / "one"), str(tmp_path / folder)) if isinstance(value, str) else value
            for key, value in section.items()
        }
        data = instantiate(there, _convert_="all")
        if known is not None:
            data.load_state_dict(known)
        data.setup()
        return data.contents(SPLITS), dict(data.describe())

    before, known = found("one")
    assert all(before[split]["checksum"] for split in SPLITS)
    assert len({before[split]["checksum"] for split in SPLITS}) == (2 if name == "ucr" else 3)
    (tmp_path / "one").rename(tmp_path / "two")
    assert changes(before, found("two", known)[0]) == ""
    if "root=HERE" in words and name in ("image_folder", "unlabelled_folder", "sound_folder"):
        first = min(path for path in (tmp_path / "two").rglob("*.*") if path.is_file())
        first.with_name(f"more{first.suffix}").write_bytes(first.read_bytes())
    else:
        make(tmp_path / "two", 2 * number)
    assert bool(changes(before, found("two", known)[0])) == (name != "series_csv")


@pytest.mark.parametrize("name", ["digits", "digits_rows", "weather", "pydoc", "dates", "logic", "adding"])
def test_data_at_hand_are_always_the_same(name: str, compose: Callable[..., Any]) -> None:
    def found(*words: str) -> Any:
        data = instantiate(compose(f"model={model_for(name)}", f"data={name}", *words).data, _convert_="all")
        data.setup()
        return data.contents(SPLITS)

    assert found() == found("seed=1")

"""Data sets of Hugging Face, made here: how they are found, and what becomes of their splits and labels."""

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Image, Sequence, Value
from helpers import Train
from PIL import Image as Pillow

from torchatlas import cli
from torchatlas.data import hub
from torchatlas.errors import UserError
from torchatlas.run.build import build_data
from torchatlas.run.compose import composed
from torchatlas.run.mistakes import in_a_sentence
from torchatlas.run.restore import restored_data

FAST = (
    "trainer=cpu",
    "logger=none",
    "callbacks=default",
    "trainer.max_epochs=2",
    "data.batch_size=8",
    "data.share=0.2",
)
NAMES = ["light", "dark"]  # not in the order of the alphabet


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a network, nor of a cache that is there."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    hub.load.cache_clear()


def image(label: int, row: int) -> dict[str, Any]:
    pixels = np.random.default_rng(row).integers(0, 100, (12, 12, 3)) + 150 * (NAMES[label] == "light")
    Pillow.fromarray(pixels.astype(np.uint8)).save(file := io.BytesIO(), "PNG")
    return {"bytes": file.getvalue(), "path": None}


def sound(label: int, row: int) -> dict[str, Any]:
    wave = np.sin(np.arange(4000) * (0.05 if label else 0.4) + row)
    soundfile.write(file := io.BytesIO(), wave.astype(np.float32), 8000, format="WAV")
    return {"bytes": file.getvalue(), "path": f"{row}.wav"}


def text(label: int, row: int) -> str:
    return f"the {'sun shines' if label == 0 else 'moon hides'} on day {row}"


KINDS: dict[str, tuple[Callable[[int, int], Any], Any]] = {
    "image": (image, Image()), "audio": (sound, Audio()), "text": (text, Value("string")),
}  # fmt: skip


def table(kind: str, rows: int, label: Any = None, begin: int = 0) -> Dataset:
    """Rows whose label is that of their number."""
    make, feature = KINDS[kind]
    labels = [row % 2 for row in range(begin, begin + rows)]
    content = {kind: [make(k, begin + row) for row, k in enumerate(labels)], "row": list(range(rows))}
    made = Dataset.from_dict(content | {"label": [NAMES[k] for k in labels] if label else labels})
    made = made.cast_column("label", label or ClassLabel(names=NAMES))
    return made.cast_column(kind, feature)  # a sound is not encoded anew, for which torchcodec would be needed


def saved(kind: str, path: Path, **splits: int) -> str:
    DatasetDict({name: table(kind, rows, begin=7 * i) for i, (name, rows) in enumerate(splits.items())}).save_to_disk(
        path
    )
    return str(path)


def parquet(kind: str, path: Path) -> str:
    path.mkdir()
    table(kind, 40).to_parquet(path / "train-00000-of-00001.parquet")
    table(kind, 8, begin=40).to_parquet(path / "test-00000-of-00001.parquet")
    return str(path)


def made(kind: str, name: str, *words: str) -> Any:
    data = {"image": "hf_images", "audio": "hf_sounds", "text": "hf_texts"}[kind]
    small = {"image": "data.image_size=8", "audio": "data.seconds=0.5", "text": "data.max_length=16"}[kind]
    model = "model=mlp" if kind == "image" else "model=lstm"
    typed = [model, f"data={data}", f"data.name={name}", small, *words]
    with in_a_sentence(typed):
        found = build_data(composed(typed).config.data)
        found.prepare_data()
        found.setup("fit")
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", [saved, parquet])
def test_splits_and_classes(kind: str, layout: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"train": 40, "validation": 12, "test": 8} if layout is saved else {}
    data = made(kind, layout(kind, tmp_path / "set", **options), "data.share=0.2")
    assert list(data.classes) == NAMES
    sizes = {split: len(found) for split, found in data.splits.items()}
    assert sizes["test"] == 8
    assert sizes["train"] + sizes["val"] == (52 if layout is saved else 40)
    assert sizes["val"] == 12 if layout is saved else 0 < sizes["val"] < 20
    again = made(kind, str(tmp_path / "set"), "data.share=0.2")
    assert {split: len(found) for split, found in again.splits.items()} == sizes


def test_images_have_the_labels_of_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = made("image", saved("image", tmp_path / "set", train=30, validation=8, test=8))
    for split in data.splits.values():
        light = split.images.float().mean((1, 2, 3)) > 120
        assert (light == (split.labels == NAMES.index("light"))).all()
    assert len(list(Path("data").iterdir())) == 1  # nothing half-written beside it


def test_labels_that_are_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    DatasetDict({"train": table("text", 40, Value("string"))}).save_to_disk(tmp_path / "set")
    data = made("text", str(tmp_path / "set"))
    assert list(data.classes) == ["dark", "light"]


def test_a_split_without_labels_is_cut_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As the test sets of GLUE, whose labels are -1."""
    monkeypatch.chdir(tmp_path)
    hidden = table("text", 9).remove_columns("label").add_column("label", [-1] * 9, feature=ClassLabel(names=NAMES))
    DatasetDict({"train": table("text", 60), "test": hidden}).save_to_disk(tmp_path / "set")
    with caplog.at_level("INFO"):
        data = made("text", str(tmp_path / "set"))
    assert sum(map(len, data.splits.values())) == 60
    assert "the split test has no labels and is left out" in caplog.text


@pytest.mark.parametrize(
    ("kind", "words", "sentence"),
    [
        ("text", ("data.label=kind",), "has no column 'kind' for the labels .*name one with data.label=COLUMN"),
        ("text", ("data.text=txt",), "has no column 'txt': did you mean text"),
        ("text", ("data.name=null",), r"data.name=... is missing"),
        ("text", ("data.name=./nowhere",), r"data.name=./nowhere: there is no such file or folder"),
        ("text", ("data.name=nobody/nothing",), "data.name=nobody/nothing cannot be read by datasets"),
        ("text", ("data.share=0.7",), "data.share=0.7 must be between"),
        (
            "image",
            ("data.image=row",),
            r"data.image=row holds no images: name another of the columns image, row, label",
        ),
    ],
)
def test_mistakes(kind: str, words: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    name = saved(kind, tmp_path / "set", train=30)
    with pytest.raises(UserError, match=sentence) as error:
        made(kind, name, *words)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_columns_that_cannot_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    two = table("text", 30).add_column("title", ["a title"] * 30)
    DatasetDict({"train": two}).save_to_disk(tmp_path / "two")
    with pytest.raises(UserError, match=r"2 columns of texts \(its columns are text, row, label, title\): name one"):
        made("text", str(tmp_path / "two"))
    assert len(made("text", str(tmp_path / "two"), "data.text=text").splits["train"]) < 30
    many = table("text", 30).remove_columns("label").add_column("label", [[1]] * 30, feature=Sequence(Value("int64")))
    many.save_to_disk(tmp_path / "many")
    with pytest.raises(UserError, match=r"data.label=label holds no classes"):
        made("text", str(tmp_path / "many"))


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(UserError, match=r'pip install "torchatlas\[datasets\]"'):
        hub.load("a/b")


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_and_what_is_done_with_it(kind: str, train: Train, tmp_path: Path) -> None:
    """It trains, goes on, is evaluated, and answers for files."""
    data = {"image": "hf_images", "audio": "hf_sounds", "text": "hf_texts"}[kind]
    words = {
        "image": ("model=mlp", "data.image_size=8", "data.flip=false", "data.crop_padding=0"),
        "audio": ("model=lstm", "model.dim=8", "data.seconds=0.5"),
        "text": ("model=lstm", "model.dim=8", "data.vocab_size=60", "data.max_length=16"),
    }[kind]
    name = saved(kind, tmp_path / "set", train=40, test=8)
    folder = train(*words, f"data={data}", f"data.name={name}", *FAST)
    assert json.loads((folder / "data.json").read_text())["classes"] == NAMES
    train(f"resume={folder}", "trainer.max_epochs=3")
    figures = cli.run(["evaluate", f"ckpt={folder}"])
    assert figures == pytest.approx(json.loads((folder / "metrics.json").read_text())["test"])
    given = tmp_path / "given"
    given.mkdir()
    if kind == "text":
        (given / "a.txt").write_text("the sun shines on day 3\n")
    else:
        made_file = {"image": image, "audio": sound}[kind](0, 3)
        (given / f"a.{'png' if kind == 'image' else 'wav'}").write_bytes(made_file["bytes"])
    cli.run(["predict", f"ckpt={folder}", f"input={given}", f"output={tmp_path / 'out.csv'}"])
    assert "light" in (tmp_path / "out.csv").read_text()


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_a_folder_of_the_users_is_judged_and_nothing_is_unpacked_into_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What `evaluate` does with data.root=FOLDER."""
    monkeypatch.chdir(tmp_path)
    data = made(kind, saved(kind, tmp_path / "set", train=30, test=8), "data.share=0.2")
    about, own = data.describe(), tmp_path / "own"
    for label, name in enumerate(NAMES):
        (own / name).mkdir(parents=True)
        for row in range(50, 53 + label):
            file = {"image": image, "audio": sound}[kind](label, row)
            (own / name / f"{row}.{'png' if kind == 'image' else 'wav'}").write_bytes(file["bytes"])

    def judged(root: Path, everything: bool = True) -> Any:
        config = {"_target_": f"{type(data).__module__}.{type(data).__qualname__}", "name": str(tmp_path / "set")}
        sizes: Any = {"image": {"image_size": 8, "in_channels": 3}, "audio": {"seconds": 0.5, "in_channels": 40}}[kind]
        options = {"root": str(root), "num_classes": 2, "classes": None, "share": 0.2, **sizes}
        other = restored_data({"config": {"data": config | options}, "data": about})
        new = other.is_new()
        if everything:
            other.judge_all()
        other.prepare_data()
        other.setup("test")
        return new, {split: len(found) for split, found in other.splits.items()}

    with caplog.at_level(logging.INFO):
        assert judged(own) == (True, {"test": 7})
    assert "own has folders of these classes: its files are judged" in caplog.text
    assert sorted(path.name for path in own.iterdir()) == sorted(NAMES)
    assert judged(Path("data")) == (False, {"test": 38})
    new, sizes = judged(tmp_path / "elsewhere", everything=False)
    assert (new, sizes["test"]) == (False, 8)
    assert [path.name[:3] for path in (tmp_path / "elsewhere").iterdir()] == ["hf-"]

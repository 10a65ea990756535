"""A user's folder of classes, of images and of sounds alike."""

import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from helpers.sound import LOGMEL, RATE, tone
from PIL import Image

from torchatlas.data.counts import describe_counts
from torchatlas.data.images.files import ENDINGS, load_image
from torchatlas.data.images.image_folder import ImageFolder
from torchatlas.data.sound.sound_folder import SoundFolder
from torchatlas.errors import UserError

CLASSES = ("cat", "dog", "owl")
ANY = {"batch_size": 4, "share": 0.25}


def write_image(path: Path, k: int, i: int) -> None:
    Image.fromarray(np.full((9, 11, 3), 20 + 60 * k + i, np.uint8)).save(path)


def write_sound(path: Path, k: int, i: int) -> None:
    soundfile.write(path, tone(200 * (k + 1), 0.1 + 0.001 * i), RATE)


def images(root: Path, number: int = 3, **options: Any) -> Any:
    return ImageFolder(root=str(root), in_channels=3, image_size=8, num_classes=number, **{**ANY, **options})


def sounds(root: Path, number: int = 3, **options: Any) -> Any:
    return SoundFolder(root=str(root), num_classes=number, **{**LOGMEL, "seconds": 0.2, **ANY, **options})


Kind = tuple[Callable[..., Any], Callable[..., Any], str]
KINDS: dict[str, Kind] = {"images": (images, write_image, "png"), "sounds": (sounds, write_sound, "wav")}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def fill(root: Path, kind: Kind, number: int = 10, name: str = "{label}/{i:02}.{ending}") -> Path:
    """Files of three classes."""
    for k, label in enumerate(CLASSES):
        for i in range(number):
            path = root / name.format(label=label, i=i, ending=kind[2])
            path.parent.mkdir(parents=True, exist_ok=True)
            kind[1](path, k, i)
    return root


def content(data: Any) -> dict[str, tuple[torch.Tensor, ...]]:
    """The samples of all splits, in an order of their own, and their labels."""
    if not data.splits:
        data.setup()
    found: dict[str, tuple[torch.Tensor, ...]] = {}
    for split, dataset in data.splits.items():
        raw, labels = dataset[-1, torch.arange(len(dataset))][0].flatten(1), dataset.labels
        order = torch.from_numpy(np.lexsort([*raw.numpy().T, labels.numpy()]))
        found[split] = raw[order], labels[order]
    return found


def same(one: Any, other: Any) -> bool:
    a, b = content(one), content(other)
    return a.keys() == b.keys() and all(all(map(torch.equal, a[split], b[split])) for split in a)


# --- which files


def test_litter_and_other_files_change_nothing_and_are_said(tmp_path: Path, kind: Kind, caplog: Any) -> None:
    make, write, ending = kind
    clean = fill(tmp_path / "clean", kind)
    root = fill(tmp_path / "set", kind)
    for name in (".ipynb_checkpoints", "cat/.ipynb_checkpoints", "__MACOSX", "__MACOSX/cat"):
        (root / name).mkdir()
        write(root / name / f"copy.{ending}", 2, 50)
    for name in (f"dog/._00.{ending}", ".DS_Store", "cat/Thumbs.db", "cat/notes.txt", "list.csv", f"beside.{ending}"):
        (root / name).write_bytes(b"?")
    with caplog.at_level(logging.INFO):
        assert same(make(clean), make(root))
    (line,) = [line for line in caplog.messages if line.startswith(f"of {root} left out are")]
    for part in (
        "6 hidden files and folders",
        "2 files of other endings (",
        f"1 beside the folders that are read (.{ending})",
    ):
        assert part in line


def test_an_ending_says_nothing_of_the_content(tmp_path: Path, kind: Kind) -> None:
    make, _, ending = kind
    plain = fill(tmp_path / "plain", kind)
    named = shutil.copytree(plain, tmp_path / "named")
    others = (".PNG", ".Png") if ending == "png" else (".WAV", ".wave", ".Wav")
    for i, file in enumerate(sorted(named.rglob(f"*.{ending}"))):
        file.rename(file.with_suffix(others[i % len(others)]))
    one, other = make(plain), make(named)
    assert torch.equal(*(torch.cat([x for x, _ in content(data).values()]).sort(0).values for data in (one, other)))
    if ending == "png":
        for file in plain.rglob("*.png"):
            with Image.open(file) as image:
                image.save(file.with_suffix(".jpg"))
            file.unlink()
        alike = shutil.copytree(plain, tmp_path / "alike")
        for file in alike.rglob("*.jpg"):
            file.rename(file.with_suffix((".jfif", ".JPE", ".jpeg")[int(file.stem) % 3]))
        one, other = make(plain), make(alike)
        assert torch.equal(*(torch.cat([x for x, _ in content(data).values()]).sort(0).values for data in (one, other)))


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending not in (".jpg", ".jpeg", ".jpe", ".jfif")])
def test_all_formats_that_lose_nothing_are_the_same_images(ending: str, tmp_path: Path) -> None:
    grey = ending == ".pgm"
    pixels = np.random.default_rng(0).integers(
        0, 2 if ending == ".pbm" else 4, (8, 8, 1 if grey or ending == ".pbm" else 3)
    )
    levels = (pixels * (255 if ending == ".pbm" else 85)).astype(np.uint8)
    image = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    image.save(tmp_path / "a.png")
    lossless = {".webp": {"lossless": True}, ".avif": {"quality": 100, "subsampling": "4:4:4"}}.get(ending, {})
    (image.convert("1") if ending == ".pbm" else image).save(tmp_path / f"b{ending}", **lossless)
    one, other = (load_image(tmp_path / name, 3, 8).int() for name in ("a.png", f"b{ending}"))
    assert (one - other).abs().max() <= (3 if ending == ".avif" else 0)


def test_linked_classes_and_splits_are_followed(tmp_path: Path, kind: Kind) -> None:
    make, *_ = kind
    root = fill(tmp_path / "set", kind)
    linked = tmp_path / "linked"
    linked.mkdir()
    for label in CLASSES:
        (linked / label).symlink_to(root / label)
    assert same(make(root), make(linked))
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "train").symlink_to(root)
    shutil.copytree(root, tmp_path / "whole" / "train")
    assert same(make(tmp_path / "split"), make(tmp_path / "whole"))


def test_folders_beside_the_splits_are_said(tmp_path: Path, kind: Kind, caplog: Any) -> None:
    make, *_ = kind
    for split in ("train", "val", "test", "extra"):
        fill(tmp_path / split, kind, 2)
    with caplog.at_level(logging.INFO):
        content(make(tmp_path))
    assert f"of {tmp_path} left out are 1 beside the folders that are read (extra)" in caplog.messages


# --- which splits


def test_a_rare_class_may_be_missing_where_nothing_is_trained(tmp_path: Path, kind: Kind) -> None:
    make, *_ = kind
    root = tmp_path / "set"
    for split, number in (("train", 4), ("val", 2), ("test", 2)):
        fill(root / split, kind, number)
    shutil.rmtree(root / "val" / "owl")
    for file in (root / "test" / "dog").iterdir():
        file.unlink()
    data = make(root)
    found = content(data)
    assert found["val"][1].tolist() == [0, 0, 1, 1]
    assert found["test"][1].tolist() == [0, 0, 2, 2]
    assert describe_counts(data) == "samples of train, val, test: cat 4, 2, 2; dog 4, 2, 0; owl 4, 0, 2"
    shutil.rmtree(root / "train" / "owl")
    (root / "train" / "owl").mkdir()
    with pytest.raises(
        UserError, match=r"train/owl holds no (image|sound) .*: put some there, or move the folder elsewhere"
    ):
        content(make(root))


def test_what_there_is_of_a_rare_class_is_trained_on(tmp_path: Path, kind: Kind) -> None:
    make, *_ = kind
    root = fill(tmp_path / "set", kind, 12)
    for i in range(12):  # whichever it is
        few = tmp_path / f"{i}"
        shutil.copytree(root, few)
        for file in sorted((few / "owl").iterdir()):
            if file.stem != f"{i:02}":
                file.unlink()
        found = content(make(few))
        assert (found["train"][1] == 2).sum() == 1
        assert not any((found[split][1] == 2).any() for split in ("val", "test"))


def test_a_whole_folder_is_judged_that_was_not_trained_on(tmp_path: Path, kind: Kind, caplog: Any) -> None:
    make, write, ending = kind
    trained = make(fill(tmp_path / "trained", kind))
    content(trained)
    about = trained.describe()

    def known(root: Path) -> Any:
        data = make(root)
        data.load_state_dict(dict(about))
        return data

    new = fill(tmp_path / "new", kind, 5, "{label}/other{i}.{ending}")
    for file in (new / "owl").iterdir():  # one class is rare, or not there at all
        file.unlink()
    assert known(new).is_new()
    data = known(new)
    data.judge_all()
    found = content(data)
    assert found.keys() == {"test"}
    assert found["test"][1].tolist() == [0] * 5 + [1] * 5
    assert data.mean == about["mean"]
    moved = tmp_path / "moved" / "deeper"
    shutil.copytree(tmp_path / "trained", moved)
    assert not known(moved).is_new()
    shutil.copytree(moved, tmp_path / "more")
    write(tmp_path / "more" / "cat" / f"another.{ending}", 0, 99)
    assert not known(tmp_path / "more").is_new()
    same_names = fill(tmp_path / "same names", kind, 10)
    for file in same_names.rglob(f"*.{ending}"):
        write(file, 1, 70 + int(file.stem))
    assert known(same_names).is_new()
    divided = tmp_path / "divided"
    for split in ("train", "test"):
        shutil.copytree(new, divided / split)
    assert not known(divided).is_new()
    old = make(new)
    old.load_state_dict({key: value for key, value in about.items() if key != "seen"})
    assert not old.is_new()  # a checkpoint of old does not say
    data = known(moved)
    data.judge_all()
    with caplog.at_level(logging.WARNING):
        assert len(content(data)["test"][1]) == 30
    assert f"{moved} has files that were trained on" in caplog.text


# --- classes in the names of files


NAMES = {
    r"^([a-z]+)\.": "{label}.{i}.{ending}",
    r"_([a-z]+)\.": "some/where/{i}_{label}.{ending}",
    r"(\w+)/": "{label}/video{i}/1.{ending}",
    r"([^/]+)/[^/]*$": "deep/er/{label}/{i}.{ending}",
    "(?i)id-(?P<label>[a-z]+)": "ID-{label}-{i}.{ending}",
}


@pytest.mark.parametrize("pattern", list(NAMES))
def test_the_names_of_files_say_the_class(pattern: str, tmp_path: Path, kind: Kind) -> None:
    make, *_ = kind
    data = make(fill(tmp_path / "set", kind, 10, NAMES[pattern]), label_from=pattern)
    assert data.declare_num_classes(str(tmp_path / "set"), pattern) == 3
    assert data.classes == list(CLASSES)
    found = content(data)
    for k in range(3):
        assert sum(int((labels == k).sum()) for _, labels in found.values()) == 10
    for split in ("train", "val", "test"):
        fill(tmp_path / "divided" / split, kind, 2, NAMES[pattern])
    assert {s: len(y) for s, (_, y) in content(make(tmp_path / "divided", label_from=pattern)).items()} == {
        "train": 6, "val": 6, "test": 6,
    }  # fmt: skip
    about = data.describe()
    fake = make(tmp_path / "nowhere", label_from=pattern, fake=True)  # as `predict` makes it
    fake.load_state_dict(dict(about))
    assert list(fake.classes) == list(CLASSES)


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path, kind: Kind) -> None:
    make, write, ending = kind
    for k in range(12):
        for i in range(4):
            write(tmp_path / f"{k}_{i}.{ending}", k % 3, i)
    data = make(tmp_path, 12, label_from=r"^(\d+)_", share=0.1)
    assert data.classes == [str(k) for k in range(12)]


def test_mistakes_in_label_from(tmp_path: Path, kind: Kind) -> None:
    make, write, ending = kind
    root = fill(tmp_path / "set", kind, 4, "{label}.{i}.{ending}")
    write(root / f"README.{ending}", 0, 0)

    def refuses(pattern: str, sentence: str, **options: Any) -> None:
        with pytest.raises(UserError, match=re.escape(sentence)):
            content(make(root, label_from=pattern, **options))

    refuses("(cat", "data.label_from=(cat is no regular expression (missing ), unterminated subpattern at position 0)")
    refuses("cat", "data.label_from=cat needs parentheses around the part that is the class")
    refuses(r"([a-z]+)\.\d", f"is not in the names of 1 of 13 files, as {root / f'README.{ending}'}")
    (root / f"README.{ending}").unlink()
    refuses(r"(cat)|dog|owl", "is not in the names of 8 of 12 files")
    refuses(r"\.(\d)\.", "has 4 classes, not data.num_classes=3")
    refuses(
        rf"({ending})$", f"finds 1 classes in the names of the files in {root} where at least 2 are needed: {ending}"
    )
    refuses(
        r"^([a-z]+)",
        "is of the class owl, which is none of the training classes cat, dog",
        number=2,
        classes=["cat", "dog"],
    )


def test_links_bring_no_files_of_other_classes(kind: Kind, tmp_path: Path, caplog: Any) -> None:
    """One that leads back up has all classes below it, another one leads to one of them."""
    root = fill(tmp_path / "set", kind)
    plain = kind[0](root)
    plain.setup()
    (root / "cat" / "loop").symlink_to("..")
    (root / "cat" / "up").symlink_to(tmp_path)
    (root / "owl" / "friends").symlink_to("../dog")
    (root / "cat").rename(tmp_path / "elsewhere")
    (root / "cat").symlink_to(tmp_path / "elsewhere")  # the folder of a class may be a link itself
    data = kind[0](root)
    with caplog.at_level(logging.INFO):
        data.setup()
    assert describe_counts(data) == describe_counts(plain)
    assert data.list_splits()["train"][0].tolist() == plain.list_splits()["train"][0].tolist()
    assert "3 links to folders that are read already" in caplog.text


def test_one_of_mean_and_spread_may_be_given(tmp_path: Path) -> None:
    root = fill(tmp_path / "set", KINDS["images"])
    computed = images(root)
    computed.setup()
    for key, other in (("mean", "std"), ("std", "mean")):
        given: dict[str, Any] = {key: [0.1, 0.2, 0.3]}
        data = images(root, **given)
        data.setup()
        assert list(getattr(data, key)) == [0.1, 0.2, 0.3]
        assert getattr(data, other) == getattr(computed, other)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"mean": "abc"}, "data.mean=abc must be one or three numbers on the scale"),
        ({"mean": [0.5, 0.5]}, "must be one or three numbers"),
        ({"std": 0}, "data.std=0 must be one or three numbers over 0"),
        ({"std": [0.0, 0.1, 0.1]}, "over 0"),
        ({"std": [float("nan")]}, "over 0"),
        ({"memory": None}, "data.memory=None must be a number of bytes"),
        ({"memory": -1}, "data.memory=-1 must be a number of bytes"),
        ({"seed": None}, "data.seed=None must be a whole number"),
        ({"seed": 1e9}, "data.seed=1000000000.0 must be a whole number"),
    ],
)
def test_values_that_mean_nothing_are_refused(words: dict[str, Any], said: str, tmp_path: Path) -> None:
    root = fill(tmp_path / "set", KINDS["images"])
    with pytest.raises(UserError, match=re.escape(said)):
        images(root, **words)
    if "mean" not in words and "std" not in words:
        with pytest.raises(UserError, match=re.escape(said)):
            sounds(root, **words)

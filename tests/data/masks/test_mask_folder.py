"""A user's folder of images with masks: files say what they mean."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.masks import save
from PIL import Image

from torchatlas.data.masks.mask_folder import MaskFolder
from torchatlas.errors import UserError
from torchatlas.run.restore import restored_data

COLOURS = np.array([[0, 0, 0], [0, 128, 0], [200, 0, 0]], dtype=np.uint8)
CODINGS: dict[str, Callable[[Any, Path, str], None]] = {
    "indexed": lambda mask, folder, name: save(folder, name, mask),
    "palette": lambda mask, folder, name: save(folder, name, mask, COLOURS.flatten().tolist()),
    "coloured": lambda mask, folder, name: save(folder, name, COLOURS[mask]),
    "levels": lambda mask, folder, name: save(folder, name, np.array([10, 90, 200])[mask]),
}
MEANING = {"levels": {"ground": 10, "leaf": 90, "berry": 200}}


def write(root: Path, coding: str, n: int, prefix: str = "") -> list[Any]:
    """Images of several sizes with masks of three classes; the mask's levels are in the image's first channel."""
    rng = np.random.default_rng(0)
    masks = []
    for i in range(n):
        mask = rng.integers(0, 3, (10 + i % 3, 12 - i % 2))
        mask[0, :3] = 0, 1, 2
        save(root / "images", f"{prefix}{i}.png", np.stack([80 * mask] * 3, -1))
        CODINGS[coding](mask, root / "Labels", f"{prefix}{i}.png")
        masks.append(mask)
    return masks


def mask_folder(root: Path, **options: Any) -> MaskFolder:
    colours = options.get("colours")
    options = {"num_classes": MaskFolder.declare_num_classes(str(root), colours), **options}
    data = MaskFolder(**{"root": str(root), "in_channels": 3, "image_size": 16, "batch_size": 2, **options})
    data.setup()
    return data


@pytest.mark.parametrize("coding", CODINGS)
def test_masks_say_their_classes_in_four_ways(coding: str, tmp_path: Path) -> None:
    masks = write(tmp_path, coding, 12)
    data = mask_folder(tmp_path, share=0.3, colours=MEANING.get(coding))
    lazy = mask_folder(tmp_path, share=0.3, colours=MEANING.get(coding), memory=0)
    assert sum(map(len, data.splits.values())) == 12
    assert min(map(len, data.splits.values())) > 0
    assert (data.in_memory, lazy.in_memory) == (True, False)
    for split, dataset in data.splits.items():
        i = torch.arange(len(dataset))
        for here, there in zip(dataset[-1, i], lazy.splits[split][-1, i], strict=True):
            assert here is there or np.array_equal(here, there)
        assert torch.equal(lazy.splits[split].masks_of(i), dataset.masks)
        known = dataset.masks != 255
        assert torch.equal(dataset.images[:, 0][known], 80 * dataset.masks[known])
        assert int(known.sum()) == int(dataset.sizes.prod(1).sum())
    assert sum(map(sum, (data.count_pixels(s) for s in data.splits))) == sum(mask.size for mask in masks)
    if coding in ("palette", "coloured"):
        assert np.array_equal(data.colours, COLOURS)
    if coding == "levels":
        assert data.classes == ["ground", "leaf", "berry"]
    levels = data.splits["train"].images.double() / 255
    assert data.mean == pytest.approx(levels.mean((0, 2, 3)).tolist())
    assert data.std == pytest.approx(levels.std((0, 2, 3), correction=0).tolist())
    weighed = [mask_folder(tmp_path, share=0.3, colours=MEANING.get(coding), memory=m, border_weights=True,
                           border_sigma=1.0).splits["train"][0, torch.arange(3)][2] for m in (2**30, 0)]  # fmt: skip
    assert torch.equal(*weighed)


def test_splits_of_the_users_own_and_binary_masks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    for split, n in (("Training", 5), ("valid", 2), ("test", 3)):
        for i in range(n):
            save(tmp_path / split / "Imgs" / "sub", f"{i}.png", rng.integers(0, 256, (8, 8)))
            save(tmp_path / split / "annotations" / "sub", f"{i}_mask.png", 255 * rng.integers(0, 2, (8, 8)))
    save(tmp_path / "test" / "annotations", "more.png", np.zeros((8, 8)))
    with caplog.at_level(logging.WARNING):
        data = mask_folder(tmp_path, image_size=8)
    assert "1 masks in" in caplog.text
    assert {split: len(dataset) for split, dataset in data.splits.items()} == {"train": 5, "val": 2, "test": 3}
    assert data.splits["train"].masks.unique().tolist() == [0, 1]


def test_folders_of_splits_may_lie_within_those_of_images_and_masks(tmp_path: Path) -> None:
    write(tmp_path, "indexed", 9)
    for kind in ("images", "Labels"):
        files = sorted((tmp_path / kind).iterdir())
        for split, part in (("Train", files[:6]), ("val", files[6:7]), ("test", files[7:])):
            (tmp_path / kind / split).mkdir()
            for file in part:
                file.rename(tmp_path / kind / split / file.name)
    data = mask_folder(tmp_path)
    assert {split: len(dataset) for split, dataset in data.splits.items()} == {"train": 6, "val": 1, "test": 2}
    (tmp_path / "Labels" / "test").rename(tmp_path / "Labels" / "other")
    with pytest.raises(UserError, match=r"images/test has no folder beside it in .*Labels"):
        mask_folder(tmp_path)


def test_masks_of_another_folder_mean_what_they_did_in_training(tmp_path: Path) -> None:
    """Colours that are looked up anew there would be other classes."""
    write(tmp_path / "one", "coloured", 12)
    data = mask_folder(tmp_path / "one", share=0.3)
    about = data.describe()
    for colours, name in ((COLOURS[[0, 2, 0]], "fewer"), (COLOURS + np.uint8(7), "others")):
        for i, mask in enumerate(write(tmp_path / name, "coloured", 12)):
            save(tmp_path / name / "Labels", f"{i}.png", colours[mask])
    config = {"_target_": "torchatlas.data.masks.mask_folder.MaskFolder", "root": "", "in_channels": 3,
              "image_size": 16, "num_classes": 3, "batch_size": 2, "share": 0.3, "colours": None,
              "classes": None}  # fmt: skip
    other: Any = restored_data({"config": {"data": dict(config)}, "data": about}, str(tmp_path / "fewer"))
    other.setup()
    assert other.splits["train"].masks.unique().tolist() == [0, 2, 255]  # that lie between looked up ones
    assert np.array_equal(other.colours, COLOURS)
    other = restored_data({"config": {"data": dict(config)}, "data": about}, str(tmp_path / "others"))
    with pytest.raises(UserError, match=r"\d.png has the colour 7,7,7, which is of no class: masks may have 0,0,0"):
        other.setup()
    data.load_state_dict(about)
    changed = mask_folder(tmp_path / "others", share=0.3)
    with pytest.raises(UserError, match="where the colour 0,0,0 meant another class or none"):
        changed.load_state_dict(about)


def test_images_are_normalised_as_for_published_weights() -> None:
    """As an encoder's weights expect it, before any mask is read."""
    data = MaskFolder(in_channels=3, image_size=16, num_classes=2, fake=True)
    said = data.preprocess_as([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 224)
    assert data.describe()["mean"] == [0.485, 0.456, 0.406]
    assert said[0].startswith("images are normalised as for these weights: mean 0.485")


def test_the_config_counts_the_classes(tmp_path: Path, compose: Callable[..., Any]) -> None:
    write(tmp_path, "indexed", 12)
    assert compose("model=mlp", "data=mask_folder", f"data.root={tmp_path}").data.num_classes == 3
    given = "data.colours={ground: 0, plant: 1, void: 2}"
    assert compose("model=mlp", "data=mask_folder", given, f"data.root={tmp_path}").data.num_classes == 2
    for given in ("data.colours={plant: 1..255}", "data.colours={ground: 0, plant: 1..2}"):
        config = compose("model=mlp", "data=mask_folder", given, f"data.root={tmp_path}", "data.ground=[1,2,3]")
        assert config.data.num_classes == 2
        named = mask_folder(tmp_path, colours=dict(config.data.colours), share=0.3, ground=list(config.data.ground))
        assert named.classes[1:] == ["plant"]
        assert named.splits["train"].masks.unique().tolist() == [0, 1, 255]
        assert named.describe()["ground"] == [1, 2, 3]
    data = mask_folder(tmp_path, colours={"ground": 0, "plant": 1, "void": 2}, share=0.3)
    assert data.classes == ["ground", "plant"]


def test_masks_that_cannot_be_are_refused_in_a_sentence(tmp_path: Path) -> None:
    def folder(name: str, coding: str = "indexed", n: int = 12) -> Path:
        write(tmp_path / name, coding, n)
        return tmp_path / name

    with pytest.raises(UserError, match=r"does not exist: data.root=FOLDER needs images in"):
        mask_folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no pair of folders"):
        mask_folder(tmp_path)
    root = folder("missing")
    (root / "Labels" / "2.png").unlink()
    with pytest.raises(UserError, match=r"images/2.png has no mask: add .*Labels/2.png"):
        mask_folder(root)
    root = folder("empty", n=1)
    (root / "images" / "0.png").unlink()
    with pytest.raises(UserError, match="holds no image"):
        mask_folder(root)
    root = folder("sizes")
    save(root / "Labels", "1.png", np.ones((4, 5)))
    with pytest.raises(UserError, match=r"1.png is of 5x4 pixels and its image .*1.png of 11x11"):
        mask_folder(root, share=0.3)
    root = folder("alone")
    for i in range(12):
        save(root / "Labels", f"{i}.png", np.zeros((10, 12)))
    with pytest.raises(UserError, match="the value 0 alone, where at least two classes"):
        mask_folder(root)
    for i in range(12):
        save(root / "Labels", f"{i}.png", np.ones((10, 12)))
    with pytest.raises(UserError, match="the value 1 alone, where at least two classes"):
        mask_folder(root)
    root = folder("deep")
    Image.fromarray(np.full((10, 12), 0.5, dtype=np.float32)).save(root / "Labels" / "0.tif")
    (root / "Labels" / "0.png").unlink()
    with pytest.raises(UserError, match=r"0.tif has values from 0.5 to 0.5, and those of masks are whole numbers"):
        mask_folder(root)
    with pytest.raises(UserError, match=r"values 10, 90, 200 .200 in .*png.*data.colours="):
        mask_folder(folder("levels", "levels"))
    root = folder("smoothed")
    for values in ((200, 255), range(256)):
        for i in range(12):
            save(root / "Labels", f"{i}.png", np.resize(np.array(values), (16, 16)))
        with pytest.raises(UserError, match="smoothing or JPEG"):
            mask_folder(root)
    for i in range(12):
        save(root / "Labels", f"{i}.png", np.resize([1, 255], (16, 16)))
    assert MaskFolder.declare_num_classes(str(root)) == 2
    given = {"ground": [0, 0, 0], "leaf": [0, 128, 0]}
    with pytest.raises(UserError, match=r"\d.png has the colour 200,0,0, which is of no class.*0,128,0"):
        mask_folder(folder("unknown", "coloured"), colours=given, share=0.3)
    root = folder("photograph", "coloured")
    save(root / "Labels", "3.png", np.random.default_rng(0).integers(0, 256, (10, 12, 3)))
    with pytest.raises(UserError, match="colours, as after scaling or JPEG"):
        mask_folder(root)
    root = folder("mixed", "coloured")
    save(root / "Labels", "3.png", np.ones((10, 11)))
    with pytest.raises(UserError, match=r"is in colour and .*3.png has one channel"):
        mask_folder(root)
    with pytest.raises(UserError, match="too few to cut the val split"):
        mask_folder(folder("few", n=2), share=0.01)


def test_runs_of_earlier_versions_read_as_they_did(tmp_path: Path) -> None:
    """Photographs were turned, transparency was left out, and a palette's indices were the classes."""
    write(tmp_path, "palette", 12)
    for path in (tmp_path / "images").iterdir():
        with Image.open(path) as image:
            image.putalpha(0)
            image.save(path)
    data = mask_folder(tmp_path, share=0.3)
    assert data.splits["train"].images[data.splits["train"].masks[:, None].expand(-1, 3, -1, -1) != 255].min() == 255
    about: dict[str, Any] = {key: v for key, v in data.describe().items() if key not in ("ground", "upright")}
    about["codes"] = [[0, 0], [1, 1], [2, 2], [255, 255]]
    old = MaskFolder(root=str(tmp_path), in_channels=3, image_size=16, num_classes=3, batch_size=2, share=0.3)
    old.load_state_dict(about)
    old.setup()
    assert (old.describe()["ground"], old.describe()["upright"]) == (None, True)
    assert torch.equal(old.splits["train"].masks, data.splits["train"].masks)
    known = old.splits["train"].masks != 255
    assert torch.equal(old.splits["train"].images[:, 0][known], 80 * old.splits["train"].masks[known])


def test_what_the_masks_mean_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "colours", "coloured", 12)
    with caplog.at_level(logging.INFO):
        mask_folder(tmp_path / "colours", share=0.3)
    assert "the masks have 3 classes by colour: 0,0,0; 0,128,0; 200,0,0" in caplog.messages
    masks = write(tmp_path / "values", "indexed", 12)
    for i, mask in enumerate(masks):
        save(tmp_path / "values" / "Labels", f"{i}.png", np.array([0, 1, 3])[mask])
    caplog.clear()
    with caplog.at_level(logging.INFO):
        mask_folder(tmp_path / "values", share=0.3)
    assert "no mask that was looked at has the values 2: these classes have no pixels" in caplog.messages
    assert "the masks have 4 classes by value: 0; 1; 2; 3" in caplog.messages


@pytest.mark.parametrize("memory", [0, 2**30])
@pytest.mark.parametrize("options", [{}, {"border_weights": True}])
def test_a_whole_folder_is_judged_that_was_not_trained_on(
    options: dict[str, Any], memory: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "one", "coloured", 12)
    trained = mask_folder(tmp_path / "one", share=0.3, memory=memory, **options)
    about = trained.describe()
    write(tmp_path / "two", "coloured", 5, "new ")
    config = {"_target_": "torchatlas.data.masks.mask_folder.MaskFolder", "root": "", "in_channels": 3,
              "image_size": 16, "num_classes": 3, "batch_size": 2, "share": 0.3, "colours": None, "memory": memory,
              "classes": None, **options}  # fmt: skip

    def judged(folder: str, about: Any = about) -> Any:
        data = restored_data({"config": {"data": dict(config)}, "data": about}, str(tmp_path / folder))
        new = data.is_new()
        data.judge_all()
        data.setup("test")
        assert list(data.splits) == ["test"]
        assert data.baselines == {}
        return new, len(data.splits["test"])

    with caplog.at_level(logging.WARNING):
        assert judged("two") == (True, 5)
        assert "trained on" not in caplog.text
        assert judged("one") == (False, 12)
    assert "one has files that were trained on, " in caplog.text
    old = {key: value for key, value in about.items() if key != "seen"}
    assert judged("two", old) == (False, 5)  # a checkpoint of a former version does not know
    mixed = tmp_path / "two" / "images" / "new 0.jpg"
    save(tmp_path / "two" / "images", mixed.name, np.ones((10, 12, 3)))
    with pytest.raises(UserError, match=r"new 0.jpg and .*new 0.png are two images of one mask"):
        judged("two")
    mixed.rename(tmp_path / "two" / "Labels" / "new 0.jpg")
    with pytest.raises(UserError, match=r"new 0.jpg and .*new 0.png are two masks of one image"):
        judged("two")

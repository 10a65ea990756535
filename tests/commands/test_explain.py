"""From a run to the pictures of `explain`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Train, tiny_overrides
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchatlas.commands.explain import explain
from torchatlas.errors import UserError
from torchatlas.explain.images import METHODS
from torchatlas.explain.sequences import METHODS as SEQUENCE_METHODS
from torchatlas.storage.checkpoints import write


@pytest.fixture
def run(train: Train) -> Path:
    return train(
        "model=resnet18", *tiny_overrides("resnet18"), "data=cifar10", "data.fake=true", "data.batch_size=32",
        "debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default",
    )  # fmt: skip


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two pictures of other sizes than the network's; names are shown as they are, without mathematics."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("$a_$b.png", (40, 50, 3)), ("c.png", (32, 32))):
        Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8)).save(tmp_path / "images" / name)
    return tmp_path / "images"


def tags(folder: Path) -> Iterator[str]:
    (events,) = folder.glob("events.out.tfevents.*.explain")
    found = EventAccumulator(str(events), size_guidance={"images": 0}).Reload()
    yield from found.Tags()["images"]


PICTURES = [
    "features-1", "features-2", "filters", "gradcam", "gradients", "lesion", "maximisation-channels",
    "maximisation-classes", "occlusion", "saliency",
]  # fmt: skip


def test_a_run_is_explained(run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All methods, in the run folder; a second time; and one alone, elsewhere, from the checkpoint alone."""
    weights = (run / "checkpoints" / "best.ckpt").read_bytes()
    random = torch.get_rng_state()
    folder = explain(str(run), str(images))
    assert folder == run / "explain"
    assert torch.equal(torch.get_rng_state(), random)
    assert (run / "checkpoints" / "best.ckpt").read_bytes() == weights
    assert sorted(path.stem for path in folder.glob("*.png")) == PICTURES
    assert sorted(tags(run)) == [f"explain/{name}" for name in PICTURES]
    assert "left out" not in capsys.readouterr().out
    lesion = json.loads((folder / "lesion.json").read_text())
    assert [part["left_out"] for part in lesion["without"]] == ["block", "branch", "branch", "branch"]
    assert lesion["samples"] == 32
    assert 0 <= lesion["accuracy"] <= 1
    gradients = json.loads((folder / "gradients.json").read_text())
    assert gradients["samples"] == "64 training samples"
    assert next(iter(gradients["norms"]["new weights"])) == "conv1"

    first = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    explain(str(run), str(images), methods=("gradcam", "maximisation"))
    assert sorted(tags(run)) == [
        "explain/gradcam", "explain/maximisation-channels", "explain/maximisation-classes"
    ]  # fmt: skip
    assert {path.name: path.read_bytes() for path in folder.glob("*.png")} == first

    alone = tmp_path / "alone.ckpt"
    alone.write_bytes(weights)
    output = tmp_path / "out"
    picture = str(images / "c.png")
    assert explain(str(alone), picture, str(output), ("gradcam",), class_="8", layer="layer2.0.conv1") == output
    assert sorted(path.name for path in output.iterdir())[-1] == "gradcam.png"
    assert list(tags(output)) == ["explain/gradcam"]
    assert explain(str(alone), methods=("filters",)) == tmp_path / "explain"


def test_mistakes(run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    good: dict[str, Any] = {"ckpt": str(run), "input": str(images)}
    for wrong, expected in (
        ({"methods": ("gates",)}, "there is no method 'gates'"),
        ({"class_": "ship"}, "there is no class 'ship': it is one of 0, 1, 2"),
        ({"layer": "layer33"}, "there is no feature map 'layer33': did you mean layer3"),
        ({"layer": "zzz"}, "it is one of maxpool, layer1, layer2, layer3, layer4"),
        ({"layer": "fc"}, "there is no feature map 'fc'"),
        ({"input": "nowhere"}, "there is no file or folder nowhere"),
        ({"input": str(tmp_path / "text.png")}, "text.png cannot be read as an image"),
        ({"input": str(tmp_path / "empty")}, "holds no file that ends in"),
        ({"input": "", "methods": ("filters", "saliency")}, "saliency: it needs images: name a file or a folder"),
        ({"ckpt": "nowhere"}, "there is no checkpoint nowhere"),
        ({"output": str(tmp_path / "file")}, "cannot be written .*name a folder with output=FOLDER"),
    ):
        with pytest.raises(UserError, match=expected):
            explain(**{**good, **wrong})
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(UserError, match=r"pip install captum"):
        explain(**good, methods=("gradcam",))


def test_what_does_not_apply_is_left_out(
    run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without captum, data and images some methods remain, and each other one says why it does not."""
    path = run / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["torchatlas"]["config"]["data"] |= {"fake": False, "root": str(tmp_path / "nowhere")}
    write(checkpoint, path)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    capsys.readouterr()
    folder = explain(str(run), str(images / "c.png"))
    assert sorted(p.stem for p in folder.glob("*.png")) == [
        "features-1", "filters", "gradients", "maximisation-channels", "maximisation-classes"
    ]  # fmt: skip
    assert json.loads((folder / "gradients.json").read_text())["samples"].startswith("1 given images")
    said = capsys.readouterr().out
    for method in ("gradcam", "saliency", "occlusion"):
        assert f"{method} is left out: gradcam, saliency and occlusion need captum" in said
    assert f"lesion is left out: the data of training are not in {tmp_path / 'nowhere'}" in said
    with pytest.raises(UserError, match="lesion: the data of training are not in"):
        explain(str(run), methods=("lesion",))
    with pytest.raises(UserError, match="gradients: the data of training are not in"):
        explain(str(run), methods=("gradients",))


def test_data_that_have_moved_are_found(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k, name in enumerate(("dark", "light")):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(20):
            Image.new("RGB", (8, 8), (120 * k + i,) * 3).save(tmp_path / "set" / name / f"{i}.png")
    run = train(
        "model=mlp", "data=image_folder", f"data.root={tmp_path / 'set'}", "data.image_size=8", "data.batch_size=8",
        "data.share=0.2", "debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default",
    )  # fmt: skip
    (tmp_path / "set").rename(tmp_path / "moved")
    with pytest.raises(UserError, match="the data of training are not in"):
        explain(str(run), methods=("gradients",))
    monkeypatch.setenv("TORCHATLAS_DATA", str(tmp_path / "moved"))
    folder = explain(str(run), methods=("gradients",))
    assert "training samples" in json.loads((folder / "gradients.json").read_text())["samples"]


def test_a_network_without_convolutions(train: Train, tmp_path: Path) -> None:
    folder = train("model=mlp", "debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default")
    made = explain(str(folder), methods=("filters", "gradients"))
    assert {path.name for path in made.iterdir()} == {"filters.png", "gradients.png", "gradients.json"}
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    for method in ("features", "gradcam"):
        with pytest.raises(UserError, match=f"{method}: the network has no convolution"):
            explain(str(folder), str(tmp_path / "a.png"), methods=(method,))


def test_each_method_has_a_line_in_the_documentation() -> None:
    assert explain.__doc__
    assert all(f"{name}" in explain.__doc__ for name in (*METHODS, *SEQUENCE_METHODS))

"""A trained network in a program: the answers of the command, to files and to what is in memory."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import torchatlas
from torchatlas import UserError
from torchatlas.api.trained import TrainedModel
from torchatlas.data.images.digits import Digits


def some_images(number: int, size: int = 8) -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (size, size + i, 3), np.uint8)) for i in range(number)]


def bare(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """What is answered, without what tells the rows from one another."""
    return [{key: value for key, value in row.items() if key not in ("file", "input", "place")} for row in rows]


def test_what_is_in_memory_is_answered_as_its_file(
    trained_digits: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    images, folder = some_images(5), tmp_path / "images"
    folder.mkdir()
    for i, image in enumerate(images):
        image.save(folder / f"{i}.png")
    command("predict", f"ckpt={trained_digits}", f"input={folder}", "top=2")
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    model = torchatlas.load(trained_digits, "cpu")
    paths = sorted(folder.iterdir())
    assert model.predict(folder, top=2) == model.predict(str(folder), top=2) == printed
    for row, said in zip(model.predict(paths[::-1], top=2), printed[::-1], strict=True):  # at another place of a batch
        assert row == {key: pytest.approx(v, abs=2e-6) if isinstance(v, float) else v for key, v in said.items()}
    arrays = [np.asarray(image) for image in images]
    same = {
        "pillow": images,
        "arrays": arrays,
        "floats": [(array / 255).astype(np.float32) for array in arrays],
        "whole numbers": [array.astype(np.int64) for array in arrays],
        "16 bits": [array.astype(np.uint16) * 257 for array in arrays],
        "channels first": [array.transpose(2, 0, 1) for array in arrays],
        "tensors": [torch.from_numpy(array.copy()).permute(2, 0, 1) for array in arrays],
        "float tensors": [torch.from_numpy(array.copy()).permute(2, 0, 1) / 255 for array in arrays],
        "transparent": [image.convert("RGBA") for image in images],
        "a tuple": tuple(images),
    }
    for name, values in same.items():
        rows = model.predict(values, top=2)
        assert [row["input"] for row in rows] == list(range(5)), name
        assert bare(rows) == bare(printed), name
    assert bare(model.predict(arrays[0], top=2)) == bare(printed[:1])
    batch = np.stack([arrays[0], arrays[0]])
    assert bare(model.predict(batch, top=2)) == bare(model.predict(torch.from_numpy(batch).permute(0, 3, 1, 2), top=2))


def test_grey_images_of_the_data_set_get_their_digits(trained_digits: Path) -> None:
    data = Digits(in_channels=1, image_size=8, num_classes=10)
    data.setup()
    images, labels, *_ = data.splits["test"][-1, torch.arange(50)]
    model = torchatlas.load(trained_digits, "cpu")
    x, _ = data.transform(data.splits["test"][-1, torch.arange(50)])
    if model.data.image_size == 8:  # type: ignore[attr-defined]
        assert torch.equal(model.preprocess(images), x)
    rows = model.predict([image[0].numpy() for image in images])
    assert [row["class"] for row in rows] == [model.classes[k] for k in model.network(x).argmax(1)]
    assert sum(row["class"] == str(int(label)) for row, label in zip(rows, labels, strict=True)) > 40


@pytest.mark.parametrize("n", [3, 4])
def test_grey_images_in_one_array_are_not_taken_for_one_with_channels(trained_digits: Path, n: int) -> None:
    model = torchatlas.load(trained_digits, "cpu")
    images = np.random.default_rng(0).integers(256, size=(n, 8, 8), dtype=np.uint8)
    for given in (images, torch.from_numpy(images), images / 255):
        with pytest.raises(UserError, match=rf"{n} x 8 x 8 may be {n} grey images, .* list\(x\) for several"):
            model.predict(given)
    assert len(model.predict(list(images))) == n
    assert len(model.predict(images[:, None])) == n
    assert len(model.predict([images])) == 1
    assert len(model.preprocess(images[:1])) == 1
    one = np.ascontiguousarray(images.transpose(1, 2, 0))
    assert bare(model.predict(one)) == bare(model.predict([images]))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.random.default_rng(0).normal(size=(8, 8)), r"input 0 has numbers from -.* not normalised"),
        (np.full((8, 8), np.nan), "input 0 has numbers from nan"),
        (np.zeros((8, 8, 5)), "input 0 has the shape 8 x 8 x 5, where 1, 3 or 4 channels"),
        (np.zeros((2, 3, 4, 5, 6)), "has the shape 2 x 3 x 4 x 5 x 6, which is none of"),
        (np.array(["a"]), "is a ndarray, and no image"),
        (np.full((8, 8), 300), "whole numbers from 300 to 300"),
        (object(), "is a object, and no image"),
        ([], "there is nothing to answer"),
        ("nowhere.png", "there is no file or folder nowhere.png"),
        (["nowhere.png"], "there is no file or folder nowhere.png"),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(trained_digits: Path, value: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as error:
        torchatlas.load(trained_digits, "cpu").predict(value)
    assert "\n" not in str(error.value)
    assert "/tmp/torchatlas" not in str(error.value)


def test_one_file_of_several_that_cannot_be_read_has_the_reason(trained_digits: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"no image")
    some_images(1)[0].save(tmp_path / "good.png")
    rows = torchatlas.load(trained_digits, "cpu").predict([tmp_path / "torn.png", tmp_path / "good.png"])
    assert [row["file"] for row in rows] == [str(tmp_path / "torn.png"), str(tmp_path / "good.png")]
    assert rows[0]["error"].startswith(f"{tmp_path / 'torn.png'} cannot be read as an image")
    assert "class" in rows[1]


def test_an_option_of_one_call_is_not_that_of_the_next(trained_digits: Path) -> None:
    model, image = torchatlas.load(trained_digits, "cpu"), some_images(1)
    before = model.predict(image)
    assert model.predict(image, tta="flip") != before
    assert model.predict(image) == before
    with pytest.raises(UserError, match="mode=forecast does nothing for image data"):
        model.predict(image, mode="forecast")


def test_the_last_weights_answer_where_none_were_validated(
    trained_digits: Path, tmp_path: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    folder = tmp_path / "stopped"
    shutil.copytree(trained_digits, folder)
    (folder / "checkpoints" / "best.ckpt").unlink()
    some_images(1)[0].save(tmp_path / "one.png")
    model = torchatlas.load(folder, "cpu")
    assert model.checkpoint.name == "last.ckpt"
    assert model.evaluate()["test/accuracy"] > 0.8
    (row,) = model.predict(tmp_path / "one.png")
    capsys.readouterr()
    command("predict", f"ckpt={folder}", f"input={tmp_path / 'one.png'}")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert json.loads(line)["class"] == row["class"]
    assert "has no best weights, since none were validated yet: last.ckpt is taken" in caplog.text


def test_a_run_is_named_in_many_ways(trained_digits: Path, tmp_path: Path) -> None:
    best = trained_digits / "checkpoints" / "best.ckpt"
    found: list[TrainedModel] = [
        torchatlas.load(where, "cpu")
        for where in (trained_digits, str(best), best, best.parent, trained_digits.parent, "runs", "auto")
    ]
    assert [model.checkpoint.resolve() for model in found] == [best.resolve()] * 7
    assert "MLP with" in repr(found[0])
    for wrong, sentence in ((3, "a int is no run"), (tmp_path / "no", "there is no checkpoint")):
        with pytest.raises(UserError, match=sentence):
            torchatlas.load(wrong)

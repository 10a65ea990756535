"""Data sets of a program's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import torchatlas
from torchatlas import UserError
from torchatlas.api.own_data import own_words
from torchatlas.data import held
from torchatlas.data.held import HeldLoader

SMALL: dict[str, Any] = {"trainer": "cpu", "duration": "3ep", "model__widths": [16], "logger": "none"}


class Pictures(Dataset[Any]):
    """Grey squares, bright or dark, as PIL images."""

    classes = ("dark", "bright")

    def __init__(self, n: int = 60, size: int = 8, form: str = "pillow") -> None:
        self.n, self.size, self.form = n, size, form

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        if not 0 <= i < self.n:
            raise IndexError
        random = np.random.default_rng(i)
        pixels = random.integers(0, 100, (self.size, self.size)).astype(np.uint8) + np.uint8(150 * (i % 2))
        if self.form == "dictionary":
            return {"image": Image.fromarray(pixels), "label": i % 2}
        forms = {"pillow": Image.fromarray(pixels), "array": pixels, "tensor": torch.from_numpy(pixels)[None]}
        return forms[self.form], i % 2


def rows(n: int = 80) -> TensorDataset:
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x[:, :3].argmax(1))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(held, "_held", {})


def test_images_of_a_data_set_are_trained_on_and_files_answered(tmp_path: Path) -> None:
    run = torchatlas.train("mlp", data=Pictures(), test=Pictures(20), **SMALL, data__batch_size=6, optim__lr=0.01)
    assert run.config["data"]["image_size"] == 8
    assert run.config["data"]["in_channels"] == 1
    assert run.model.classes == ["dark", "bright"]
    assert run.figures["test/accuracy"] == 1
    bright = Pictures()[1][0]
    bright.save(tmp_path / "bright.png")
    ((in_memory,), (of_file,)) = run.predict(bright), run.predict("bright.png")
    assert in_memory["class"] == "bright"
    assert in_memory["probability"] == of_file["probability"]
    other = torchatlas.train("mlp", data=Pictures(40), **SMALL | {"duration": "1ep"}, data__batch_size=6)
    assert other.config["data"]["held"] == "Pictures-2"
    assert run.evaluate(Pictures(30))["test/accuracy"] == 1
    assert run.evaluate() == pytest.approx({k: v for k, v in run.figures.items() if k.startswith("test/")})
    more = run.resume(duration="4ep")
    assert [epoch["epoch"] for epoch in more.history] == [1, 2, 3, 4]
    held._held.clear()  # another program, which knows nothing of the data
    with pytest.raises(UserError, match=r"of a program's own \(Pictures, which no file has\): give them in Python"):
        run.resume(duration="5ep")
    assert len(torchatlas.train(resume=run, data=Pictures(), test=Pictures(20), duration="5ep").history) == 5


def test_all_forms_of_images_are_the_same_training() -> None:
    figures = [
        torchatlas.train("mlp", data=Pictures(form=form), **SMALL | {"duration": "1ep"}, data__batch_size=6).figures
        for form in ("pillow", "array", "tensor", "dictionary")
    ]
    assert figures[1:] == figures[:1] * 3


def test_rows_of_numbers_and_arrays(tmp_path: Path) -> None:
    run = torchatlas.train("mlp", data=rows(), **SMALL, data__batch_size=8, optim__lr=0.01)
    assert run.config["data"] | {"held": 0} == run.config["data"] | {"held": 0, "shape": [6], "num_classes": 3}
    x, y = rows().tensors
    same = torchatlas.train("mlp", data=(x.numpy(), y.numpy()), **SMALL, data__batch_size=8, optim__lr=0.01)
    assert same.figures == run.figures
    answers = run.predict(x[:5].numpy())
    assert answers == run.predict(list(x[:5])) == run.predict(x[:5])
    assert [int(row["class"]) for row in answers] == run.network(x[:5]).argmax(1).tolist()
    assert run.evaluate((x, y))["test/accuracy"] == run.evaluate(DataLoader(rows(), 7))["test/accuracy"]
    numbers = torchatlas.train("mlp", data=(x, x[:, :2].sum(1)), **SMALL, data__batch_size=8)
    assert numbers.config["task"]["_target_"].endswith("Regression")
    assert "val/mse" in numbers.figures


def test_a_loader_is_read_in_its_order_and_goes_on_in_it() -> None:
    loader = DataLoader(rows(), batch_size=8, shuffle=True)
    settings = SMALL | {"data": loader, "val": DataLoader(rows(24), batch_size=8), "schedule": "constant"}
    whole = torchatlas.train("mlp", **settings | {"duration": "25st"})
    part = torchatlas.train("mlp", **settings | {"duration": "13st"})  # ends within the second epoch
    more = part.resume(duration="25st")
    one, two = (torch.load(run.folder / "checkpoints/last.ckpt")["state_dict"] for run in (whole, more))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_each_epoch_of_a_loader_has_another_order_and_leaves_the_random_state() -> None:
    held_loader = HeldLoader(DataLoader(rows(), batch_size=8, shuffle=True), 0, shuffled=True)

    def epoch(number: int, start: int = 0) -> list[Tensor]:
        held_loader.sampler.set_epoch(number)
        held_loader.sampler.start = start
        return [x for x, _ in held_loader]

    state = torch.get_rng_state()
    one = epoch(0)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, one, epoch(0)))
    assert all(map(torch.equal, one[4:], epoch(0, 4)))
    assert not torch.equal(one[0], epoch(1)[0])


class NoLength(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from rows()


class Texts(Dataset[Any]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int) -> Any:
        return "a text", i


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (NoLength(), "a NoLength has no length"),
        (Texts(), "an input is a text and no image or array: texts are read of files"),
        (3, "data= is a int: give the name of a data set"),
        (TensorDataset(torch.zeros(4, 2)), "gives 1 things, where a pair"),
        (TensorDataset(torch.zeros(0, 2), torch.zeros(0)), "the TensorDataset is empty"),
        ((np.zeros((3, 2)), np.zeros(4)), "3 inputs and 4 targets do not go together"),
        ({"training": rows()}, "has parts for train, val and test, and training is none"),
        ({"val": rows()}, "there is nothing to train on"),
        ([{"a": 1, "b": 2}], "data= is a list"),
        (Pictures(1), "val_share=0.1 of 1 samples leaves nothing"),
        (DataLoader(rows(), 8), r"a DataLoader cannot be divided .* give val= too"),
        (DataLoader(Pictures(form="tensor")), "gives images of uint8"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_on_is_refused_in_a_sentence(data: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence) as error:
        torchatlas.train("mlp", data=data, **SMALL, data__batch_size=1)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_sizes_that_differ_are_asked_for() -> None:
    class Mixed(Pictures):
        def __getitem__(self, i: int) -> Any:
            return Image.new("RGB", (8 + i, 8)), i % 2

    with pytest.raises(UserError, match=r"8x8, .* say to which side they are scaled, data__image_size=64"):
        own_words(Mixed())
    assert "data.in_channels=3" in own_words(Mixed(), given=["data.image_size=8"])


def test_what_is_known_of_a_data_set_is_found() -> None:
    assert own_words(Pictures())[:3] == ["data=own_images", "data.held=Pictures", "data.in_channels=1"]
    assert "data.classes=[dark,bright]" in own_words(Subset(Pictures(), [3, 4, 5]))
    assert "data.num_classes=3" in own_words(Subset(rows(), list(range(40))))
    words = own_words({"train": rows(), "validation": rows(8), "test": rows(8)})
    assert "test=false" not in words
    assert set(held.held(words[1].removeprefix("data.held="))) == {"train", "val", "test"}

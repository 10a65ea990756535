"""What a program gives by mistake is refused in a sentence, and never trained on as something else."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import torchatlas
from torchatlas import UserError
from torchatlas.api import training
from torchatlas.api.own_data import own_words
from torchatlas.data import held

SMALL: dict[str, Any] = {
    "trainer": "cpu", "duration": "1ep", "model__widths": [16], "logger": "none", "callbacks": "none",
    "data__batch_size": 20,
}  # fmt: skip
X = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)


class Stream(IterableDataset[Any]):
    """Samples without places, of a known number."""

    def __len__(self) -> int:
        return 60

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(zip(X, Y, strict=True))


class Unlabelled(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> tuple[Tensor, None]:
        return X[i], None


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(held, "_held", {})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((X, np.array(["a", "b", "c"])[Y]), "targets are <U1, and no numbers: np.unique"),
        ((X.numpy().astype(object), Y), "inputs are object, and no numbers: use .astype"),
        ((X + 1j, Y), "inputs are complex"),
        ((X, torch.nn.functional.one_hot(Y)), "3 whole numbers.*argmax"),
        ((X, Y * 5000), "10000, of 60 samples"),
        ((X, Y - 1), "counted from 0"),
        (Stream(), "give a DataLoader"),
        (Unlabelled(), "a target is a NoneType"),
    ],
)
def test_what_is_no_class_is_refused(data: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        own_words(data)


def test_classes_from_1_on_are_told(caplog: pytest.LogCaptureFixture) -> None:
    words = own_words((X, Y + 1))
    assert "data.num_classes=4" in words
    assert "no target is below 1" in caplog.text


class Listed(Dataset[Any]):
    """Samples whose targets are floats of Python."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, i: int) -> tuple[Tensor, float]:
        return X[i], float(Y[i])


@pytest.mark.parametrize(
    "data", [(X, Y.double()), (X, Y.numpy().astype("float32")), TensorDataset(X, Y.float()[:, None]), Listed(),
             DataLoader(TensorDataset(X, Y.half()), 20)],
)  # fmt: skip
def test_whole_targets_of_floats_are_numbers_as_is_said_or_classes_if_asked(
    data: Any, caplog: pytest.LogCaptureFixture
) -> None:
    words = own_words(data)
    assert {"data.target=number", "task=regression"} <= set(words)
    assert "targets such as 0, 1" in caplog.text
    assert "learned as numbers: task='classification' takes them as classes" in caplog.text
    caplog.clear()
    assert {"data.target=number"} <= set(own_words(data, given=["task=regression"]))
    for word in ("task=classification", "data.target=class"):
        words = own_words(data, given=[word])
        assert {"data.target=class", "data.num_classes=3"} <= set(words)
        assert "task=regression" not in words
    assert not caplog.text
    assert {"data.target=number", "data.num_classes=1"} <= set(own_words((X, Y), given=["task=regression"]))


def test_what_is_real_needs_no_word_and_what_is_one_hot_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert "task=regression" in own_words((X, X[:, 0]))
    assert "task=regression" in own_words((X, X[:, :2]))
    assert not caplog.text
    assert "data.num_classes=3" in own_words((X, torch.nn.functional.one_hot(Y).float()))
    assert "one-hot and are learned as numbers: give y.argmax(1)" in caplog.text
    with pytest.raises(UserError, match=r"a target is 0\.5, and classes are whole numbers: task='regression'"):
        own_words((X, Y / 2), given=["task=classification"])


@pytest.mark.parametrize("images", [False, True])
def test_classes_of_floats_train_and_judge_as_whole_numbers_do(images: bool) -> None:
    x = torch.randint(256, (60, 1, 8, 8), dtype=torch.uint8) if images else X
    settings = SMALL | {"callbacks": "default", "task": "classification", "data__sampling": "balanced"}
    one = torchatlas.train("mlp", data=(x, Y), test=(x, Y), **settings)
    two = torchatlas.train("mlp", data=(x, Y.float()), test=(x, Y.float()), **settings)
    assert one.figures == two.figures
    assert one.evaluate((x, Y.float())) == two.evaluate((x, Y)) == one.evaluate((x, Y))
    with pytest.raises(UserError, match=r"a target is 0\.5, and classes are whole numbers"):
        one.evaluate((x, Y / 2))


def test_classes_of_a_loader_without_places_are_counted() -> None:
    assert "data.num_classes=3" in own_words(DataLoader(Stream(), 20), val=DataLoader(TensorDataset(X, Y), 20))


@pytest.mark.parametrize("loader", [False, True])
def test_validation_with_other_classes_is_refused(loader: bool) -> None:
    other: Any = TensorDataset(X, Y + 3)
    with pytest.raises(UserError, match="run from 3 to 5, and there are 3 classes: give data__num_classes=6"):
        torchatlas.train("mlp", data=(X, Y), val=DataLoader(other, 20) if loader else other, **SMALL)


def test_float_images_are_drawn_and_answered() -> None:
    for channels in (3, 5):
        images = torch.randn(60, channels, 8, 8)
        run = torchatlas.train("mlp", data=(images, Y), **SMALL | {"callbacks": "default", "logger": "tensorboard"})
        assert len(run.predict(images[:7])) == 7


def test_a_trained_network_refuses_the_same() -> None:
    model = torchatlas.train("mlp", data=(X, Y), **SMALL | {"callbacks": "default"}).model
    with pytest.raises(UserError, match="input 1 holds values that are no finite numbers"):
        model.predict([X[0], X[1] * np.nan])
    with pytest.raises(UserError, match="run from 1 to 3, and there are 3 classes"):
        model.evaluate((X, Y + 1))
    with pytest.raises(UserError, match="is empty"):
        model.evaluate((X[:0], Y[:0]))
    with pytest.raises(UserError, match="digits are image"):
        model.evaluate("digits")
    with pytest.raises(UserError, match="those of 'test', and there are val"):
        model.evaluate({"val": (X, Y)})
    with pytest.raises(UserError, match="no device cudaa here"):
        model.to("cudaa")
    assert model.evaluate({"test": (X, Y)}) == model.evaluate((X, Y)) == model.evaluate(TensorDataset(X, Y))


def test_a_network_is_no_word() -> None:
    with pytest.raises(UserError, match="a network is no word"):
        torchatlas.train(torchatlas.create_model("mlp", image_size=8), data="digits")  # type: ignore[arg-type]


def test_threads_train_one_after_the_other_and_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Any] = []
    alone = torchatlas.train("mlp", data=(X, Y), **SMALL).figures
    begun, under_way = training.begun, []

    def counted(*given: Any) -> Path:
        under_way.append(1)
        assert len(under_way) == 1
        try:
            return begun(*given)
        finally:
            under_way.pop()

    monkeypatch.setattr(training, "begun", counted)
    threads = [
        threading.Thread(target=lambda: runs.append(torchatlas.train("mlp", data=(X, Y), **SMALL))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [run.figures for run in runs] == [alone, alone]

"""When pictures are due, what they are given, and that they leave no trace."""

import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from torchatlas.errors import UserError
from torchatlas.loggers.base import At, RunLogger
from torchatlas.pictures import base
from torchatlas.pictures.base import Pictures, Shown, due, evenly
from torchatlas.pictures.forecast import ForecastPictures
from torchatlas.pictures.sound import SoundPictures
from torchatlas.tasks.classification import Classification
from torchatlas.training.hooks import leave_out


class Writer(RunLogger):
    """A logger that keeps what it is shown."""

    title = "writer"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.written: list[tuple[str, Any, int | None]] = []

    def picture(self, tag: str, figure: Figure, at: At) -> None:
        self.written.append((tag, figure, at.epoch))

    def text(self, tag: str, text: str, at: At) -> None:
        self.written.append((tag, text, at.epoch))


class Note:
    """What knows how it is shown."""

    def show(self, logger: Any, tag: str, at: At) -> None:
        logger.written.append((tag, self, at.epoch))


class Careless(Pictures):
    """Draws random numbers, and says what it was called for."""

    def inputs(self, data: Any, batch: Any) -> Figure | None:
        torch.rand(1)
        return Figure()

    def start(self, task: Any, data: Any, split: str) -> None:
        self.calls = [f"start {split}"]

    def collect(self, task: Any, outputs: Any, batch: Any) -> None:
        self.calls.append(f"collect {outputs} {batch}")

    def gather(self, task: Any, split: str) -> None:
        self.calls.append(f"gather {split}")

    def draw(self, task: Any, data: Any, split: str) -> Iterator[tuple[str, Shown]]:
        assert not task.training
        assert not torch.is_grad_enabled()
        random.random()
        np.random.rand()
        torch.rand(1)
        yield "figure", Figure()
        yield "text", "words"
        yield "note", Note()


LOGGERS: list[Any] = []  # of the trainers of a test


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    LOGGERS[:] = [Writer(tmp_path)]
    yield LOGGERS[0]
    LOGGERS.clear()


def trainer_at(epoch: int, **changes: Any) -> Any:
    given = {"current_epoch": epoch, "check_val_every_n_epoch": 1, "max_epochs": 10, "lightning_module": None}
    given |= {"callbacks": [], "strategy": SimpleNamespace(broadcast=lambda value: value)}
    given |= {"global_step": epoch, "is_global_zero": True, "loggers": list(LOGGERS)}
    return SimpleNamespace(**given | {"datamodule": SimpleNamespace(kind="")} | changes)


def validated(pictures: Pictures, trainer: Any, task: Any, stage: str = "validation") -> None:
    """As Lightning calls it."""
    getattr(pictures, f"on_{stage}_epoch_start")(trainer, task)
    getattr(pictures, f"on_{stage}_batch_end")(trainer, task, "outputs", "batch", 0)
    getattr(pictures, f"on_{stage}_epoch_end")(trainer, task)


def test_pictures_are_drawn_when_they_are_due(writer: Writer) -> None:
    pictures, task = Careless(every_n_epochs=4), Classification(nn.Linear(1, 2))
    epochs = []
    for epoch in range(10):
        pictures.calls = []
        validated(pictures, trainer_at(epoch), task)
        epochs += [epoch + 1] if pictures.calls else []
    assert epochs == [4, 8, 10]
    assert pictures.calls == ["start val", "collect outputs batch", "gather val"]
    assert [(tag, epoch) for tag, _, epoch in writer.written[-3:]] == [("figure", 10), ("text", 10), ("note", 10)]
    writer.written.clear()
    validated(pictures, trainer_at(10), task, "test")
    assert pictures.calls == ["start test", "collect outputs batch", "gather test"]
    assert [epoch for *_, epoch in writer.written] == [10, 10, 10]
    pictures.calls = []
    validated(pictures, trainer_at(3, loggers=[]), task)
    validated(Careless(), trainer_at(9), task)  # of the test set alone
    assert pictures.calls == []
    assert len(writer.written) == 3


@pytest.mark.parametrize(
    ("share", "expected"), [(None, [2, 4, 6, 8, 10]), (0.5, [4, 6, 8, 10]), (0.25, [8, 10]), (0, [10])]
)
def test_drawings_that_would_cost_more_than_their_share_are_left_out(
    share: float | None, expected: list[int], writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch takes one second, and so does a drawing of each of two callbacks, which have half of the share each."""
    clock = [0.0]
    monkeypatch.setattr(base, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    class Slow(Careless):
        def draw(self, task: Any, data: Any, split: str) -> Iterator[tuple[str, Shown]]:
            clock[0] += 1
            yield "figure", Figure()

    pictures, other = Slow(every_n_epochs=2, share=share), Slow(every_n_epochs=2, share=share)
    for callback in (pictures, other):
        callback.on_fit_start(trainer_at(0), Classification(nn.Linear(1, 2)))
    for epoch in range(10):
        clock[0] += 1
        for callback in (pictures, other):
            validated(callback, trainer_at(epoch, callbacks=[pictures, other]), Classification(nn.Linear(1, 2)))
    assert sorted({epoch for _, _, epoch in writer.written}) == expected
    for wrong in (-0.1, "x", True):
        with pytest.raises(UserError, match=f"share={wrong} of the callback Slow must be part of the run's time"):
            Slow(share=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [3, 6, 7]),  # every third, and the last
        ({"check_val_every_n_epoch": 2}, [4, 6]),  # the first validation behind each third; there is none behind 6
        ({"max_epochs": -1}, [3, 6]),
    ],
)
def test_due(changes: dict[str, Any], expected: list[int]) -> None:
    every = changes.get("check_val_every_n_epoch", 1)
    given = {"max_epochs": 7} | changes
    assert [e for e in range(every, 8, every) if due(trainer_at(e - 1, **given), 3)] == expected


def test_they_leave_no_trace(writer: Writer) -> None:
    """In the random states and in the modes of the network."""
    layers = nn.Linear(1, 2), nn.BatchNorm1d(2)
    task = Classification(nn.Sequential(*layers)).train()
    layers[1].eval()
    pictures = Careless(every_n_epochs=1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]
    pictures.on_fit_start(trainer_at(0), task)
    pictures.on_train_batch_start(trainer_at(0), task, "batch", 0)
    validated(pictures, trainer_at(0), task)
    assert len(writer.written) == 4
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert task.training
    assert [layer.training for layer in layers] == [True, False]


def test_a_step_calls_nothing_after_the_first(writer: Writer) -> None:
    """Lightning passes over hooks that cannot be called; those of most are left out from the start."""
    task = Classification(nn.Linear(1, 2))
    for pictures, first in ((Careless(every_n_epochs=1), True), (ForecastPictures(), False)):
        leave_out(pictures, lightning.Callback)
        pictures.on_fit_start(trainer_at(0), task)
        assert callable(pictures.on_train_batch_start) is first
    pictures = Careless(every_n_epochs=1)
    for _ in range(2):  # a second training, too, begins with its inputs
        pictures.on_fit_start(trainer_at(0), task)
        pictures.on_train_batch_start(trainer_at(0), task, "batch", 0)
        assert not callable(pictures.on_train_batch_start)
    assert [tag for tag, *_ in writer.written] == ["inputs/training samples as the network gets them"] * 2


def test_of_other_data_nothing_is_drawn(writer: Writer) -> None:
    pictures = SoundPictures(every_n_epochs=1)
    trainer = trainer_at(0, datamodule=SimpleNamespace(kind="image"))
    pictures.setup(trainer, nn.Linear(1, 1), "fit")  # type: ignore[arg-type]
    validated(pictures, trainer, Classification(nn.Linear(1, 2)))
    assert writer.written == []


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UserError, match="ForecastPictures draws what task=forecasting does, and this run "):
        ForecastPictures().setup(trainer_at(0), Classification(nn.Linear(1, 2)), "fit")
    for wrong in (0, -1, 2.5, True):
        with pytest.raises(UserError, match=rf"every_n_epochs={wrong} of the callback ForecastPictures must be"):
            ForecastPictures(every_n_epochs=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "number", "expected"), [(10, 4, [0, 3, 6, 9]), (3, 8, [0, 1, 2]), (5, 1, [0])])
def test_evenly(size: int, number: int, expected: list[int]) -> None:
    assert evenly(size, number).tolist() == expected

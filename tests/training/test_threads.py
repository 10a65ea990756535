"""Cores for computing and for reading."""

from typing import Any

import pytest
import torch
from helpers import Train

from torchatlas.callbacks import threads as module
from torchatlas.storage.checkpoints import read, write
from torchatlas.training.threads import divide

TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


# --- around a step


@pytest.mark.parametrize(
    ("cores", "in_memory", "on_gpu", "workers", "expected"),
    [(2, True, False, None, (2, 0)), (2, False, False, None, (1, 1)), (16, False, False, None, (12, 4)),
     (16, False, True, None, (8, 8)), (4, False, True, None, (1, 3)), (1, False, False, None, (1, 0)),
     (2, False, False, 2, (1, 2)), (8, True, True, None, (8, 0)), (8, False, False, 3, (5, 3))],
)  # fmt: skip
def test_threads_and_workers(cores: int, in_memory: bool, on_gpu: bool, workers: int | None, expected: Any) -> None:
    found = divide(cores, in_memory=in_memory, on_gpu=on_gpu, workers=workers)
    assert found == expected
    assert workers is not None or sum(found) <= cores


def test_the_division_of_cores_is_printed(train: Train) -> None:
    folder = train("trainer.max_epochs=1", "callbacks.threads.number=1", *TINY)
    assert "1 for computing and 0 for reading" in (folder / "train.log").read_text()
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("given", [None, 3])
def test_a_run_that_goes_on_has_its_number_of_threads(given: int | None, train: Train) -> None:
    folder = train("trainer.max_epochs=1", *TINY)
    path = folder / "checkpoints" / "last.ckpt"
    checkpoint = read(path)
    began, here = checkpoint["torchatlas"]["threads"], torch.get_num_threads()
    checkpoint["torchatlas"]["threads"] = here + 1  # as another machine would have written it
    write(checkpoint, path)
    assert began == here
    train(f"resume={folder}", "duration=2ep", *([] if given is None else [f"callbacks.threads.number={given}"]))
    assert torch.get_num_threads() == (given or here + 1)
    assert read(path)["torchatlas"]["threads"] == (given or here + 1)
    said = (folder / "train.log").read_text()
    assert (f"as many threads as the run began with, {here + 1}, and not {here}" in said) is (given is None)


@pytest.mark.parametrize(
    ("slow", "expected"),
    [({1: 0.1, 2: 0.2, 4: 0.3}, 1), ({1: 0.3, 2: 0.1, 4: 0.2}, 2), ({1: 0.29, 2: 0.31, 4: 0.3}, 4)],
)
def test_the_fastest_number_of_threads_is_taken_with_a_margin(
    slow: dict[int, float], expected: int, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is one that was given this number; a resume measures nothing."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(module, "divide", lambda *_, **__: (4, 0))
    measured: list[int] = []

    def seconds(task: Any) -> float:
        torch.rand(3)
        measured.append(torch.get_num_threads())
        return slow[measured[-1]]

    monkeypatch.setattr(module, "seconds_of_a_step", seconds)
    monkeypatch.setattr(module.Threads, "LONG", 1e-9)
    words = ("trainer.max_epochs=1", "model.dropout=0.3", *TINY)
    folder = train(*words, "callbacks.threads.number=auto")
    assert measured == [4, 2, 1, 4]
    path = folder / "checkpoints" / "last.ckpt"
    assert read(path)["torchatlas"]["threads"] == expected
    other = train(*words, f"callbacks.threads.number={expected}", "hydra.run.dir=runs/given/1")
    found = read(path)["state_dict"], read(other / "checkpoints" / "last.ckpt")["state_dict"]
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    train(f"resume={folder}", "duration=2ep")
    assert len(measured) == 4
    assert read(path)["torchatlas"]["threads"] == expected


def test_a_short_run_is_not_measured(train: Train) -> None:
    """One that lasts less than a minute has the default, whatever the rest would be; weights as without asking."""
    found = []
    for word in ("auto", "null"):
        folder = train("trainer.max_epochs=1", "model.dropout=0.3", *TINY, f"callbacks.threads.number={word}")
        assert "measured" not in (folder / "train.log").read_text()
        found.append(read(folder / "checkpoints" / "last.ckpt"))
    assert found[0]["torchatlas"]["threads"] == found[1]["torchatlas"]["threads"]
    one, two = (checkpoint["state_dict"] for checkpoint in found)
    assert all(torch.equal(one[key], two[key]) for key in one)

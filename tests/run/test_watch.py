"""The stopwatch: whose steps it counts, and that any training program can carry it."""

import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from torchatlas.errors import UserError
from torchatlas.run.bench import Contestant
from torchatlas.run.watch import Watch

SCRIPT = """
import sys, time, torch
from torch.utils.data import DataLoader
network = torch.nn.Linear(4, 2)
optimizer = torch.optim.{optimizer}(network.parameters(), lr=0.1)
print("arguments", sys.argv[1:], flush=True)
for _ in range({epochs}):
    for x in DataLoader(torch.randn(64, 4), batch_size=4):
        loss = network(x).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    """Starts a script of somebody, with a folder of its own."""
    made: list[Contestant] = []

    def start(text: str, *arguments: str) -> Contestant:
        (tmp_path / "theirs").mkdir()
        script = tmp_path / "theirs" / "train.py"
        script.write_text(text)
        job = {"name": "theirs", "script": str(script), "arguments": list(arguments), "threads": 1}
        (tmp_path / "run").mkdir()
        made.append(Contestant(job | {"folder": str(tmp_path / "run")}))
        return made[-1]

    yield start
    for contestant in made:
        contestant.close()


def test_a_script_of_somebody_waits_its_turn(started: Any, tmp_path: Path) -> None:
    """Its arguments reach it, its data are seen, and it stands still when it is not asked."""
    contestant = started(SCRIPT.format(optimizer="SGD", epochs=10**6), "--lr", "3")
    first = contestant.answer()
    assert first["cpu_seconds"] > 0
    assert first["seconds"] > 0
    told = contestant.ask(50)
    assert 0 < told["waited"] < told["seconds"]
    assert told["memory_bytes"] > 50e6
    time.sleep(1)
    again = contestant.ask(50)
    assert again["seconds"] < 1, "the pause is not in it"
    assert contestant.ask("profile") is not None
    assert "arguments ['--lr', '3']" in (tmp_path / "run" / "output.txt").read_text()
    contestant.close()
    assert not contestant.process.is_alive()


def asked_for_much(contestant: Contestant) -> None:
    contestant.answer()
    contestant.ask(1000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SCRIPT.format(optimizer="SGD", epochs=1), "it ended before it was told to"),
        ("raise ValueError('no such data')", "ValueError: no such data"),
        ("import os; os._exit(3)", "its process ended with status 3"),
    ],
)
def test_one_that_ends_is_told(started: Any, text: str, said: str) -> None:
    contestant = started(text)
    with pytest.raises(UserError, match=said):
        asked_for_much(contestant)


def test_an_optimiser_of_several_is_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Muon's step has those of its two parts inside."""
    for name in ("register_optimizer_step_pre_hook", "register_optimizer_step_post_hook"):
        monkeypatch.setattr(f"torchatlas.run.watch.{name}", lambda hook: None)
    monkeypatch.setattr(torch.utils.data.dataloader._BaseDataLoaderIter, "__next__", None)
    here, there = multiprocessing.Pipe()
    watch = Watch(there, time.time())
    here.send(10)
    for _ in range(3):
        for each in (watch._enter, watch._enter, watch._leave, watch._enter, watch._leave, watch._leave):
            each()
    assert watch.steps == 3
    assert set(here.recv()) == {"seconds", "cpu_seconds"}

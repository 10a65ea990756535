"""The plan of a training from end to end."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Train

from torchatlas import cli
from torchatlas.errors import UserError
from torchatlas.storage.files import read_json, read_metrics
from torchatlas.zoo import create_model

SMALL = ["model.widths=[8]", "trainer=cpu"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_plan_of_the_default(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every exact figure, through the command line."""
    words = ["trainer=cpu", "trainer.max_epochs=3", "data.batch_size=32", "samples=4", "output=plan.json"]
    monkeypatch.setattr(sys, "argv", ["torchatlas", "plan", *words])
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    cli.main()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert [path.name for path in here.iterdir()] == ["plan.json"], "no run folder is made"
    found = json.loads((here / "plan.json").read_text())
    network = create_model("mlp", in_channels=1, image_size=8, num_classes=10)
    number = sum(p.numel() for p in network.parameters())
    assert found["parameters"] == found["trainable"] == number
    assert found["gradient_bytes"] == 4 * number
    assert found["optimizer_bytes"] == 8 * number
    assert found["optimizer"] == "AdamW"
    assert found["checkpoint_bytes"] == found["weight_bytes"] + 8 * number
    weights = [p.numel() for p in network.parameters() if p.ndim == 2]
    assert found["flops_per_sample"] == 2 * sum(weights)
    assert found["flops_per_step"] == 3 * 32 * 2 * sum(weights)
    assert found["steps"] == 3 * found["steps_per_epoch"]
    assert found["samples"] == 32 * found["steps"]
    assert found["tokens"] is None
    assert found["six_n_d"] is None
    assert found["mfu"] is None
    each = found["activation_bytes_per_sample"]
    assert found["activation_bytes"] == pytest.approx(32 * each, abs=100)  # and some single numbers
    parts = ("weight", "gradient", "optimizer", "average", "activation")
    assert found["memory_bytes"] == sum(found[f"{part}_bytes"] for part in parts)
    assert found["measured_steps"] == 4
    assert found["validations"] == 3
    expected = found["steps"] * found["seconds_per_step"] + 3 * found["seconds_per_validation"]
    assert found["seconds"] == pytest.approx(expected)
    printed = capsys.readouterr().out
    assert f"{number:,}" in printed
    assert "three forward passes" in printed
    assert len(printed.splitlines()) < 30, "one page"


@pytest.mark.parametrize(
    ("words", "optimizer", "averages"),
    [
        (["optim=sgd"], 0, 0),
        (["optim=momentum"], 4, 0),
        (["callbacks.ema.decay=0.9"], 8, 4),
    ],
)
def test_plan_of_optimizers(words: list[str], optimizer: int, averages: int, here: Path) -> None:
    found = cli.run(["plan", *SMALL, *words, "samples=1", "trainer.max_steps=3"])
    assert (found.optimizer_bytes, found.average_bytes) == (optimizer * found.parameters, averages * found.parameters)
    assert found.steps == 3
    assert found.measured_steps == 2, "one step warms up"


def test_plan_of_a_language_model(here: Path) -> None:
    """6ND beside what is counted; a duration in time; accumulated batches; a carried state."""
    words = ["model=lstm_lm", "data=pydoc", "data.fake=true", "data.context=8", "data.batch_size=8", "model.dim=16",
             "trainer=cpu", "duration=20st", "trainer.accumulate_grad_batches=2", "samples=2"]  # fmt: skip
    found = cli.run(["plan", *words])
    assert (found.steps, found.samples, found.tokens) == (20, 20 * 16, 20 * 16 * 8)
    assert found.six_n_d == 6 * found.parameters * found.tokens
    lstm = 2 * 4 * 16 * (16 + 16)
    vocabulary = (found.parameters - lstm - 2 * 2 * 4 * 16) // (16 + 16 + 1)
    assert found.flops_per_sample == 2 * 8 * (lstm + 16 * vocabulary)
    assert found.flops_per_step == 3 * 16 * found.flops_per_sample
    carried = cli.run(["plan", *words, "task.carry=true", "data.streams=true"])
    assert carried.flops_per_sample == found.flops_per_sample


def test_plan_of_several_processes(here: Path) -> None:
    """Each has its part of a batch; steps are those of the whole."""
    one, two = (cli.run(["plan", *SMALL[:1], f"trainer={name}", "samples=1"]) for name in ("cpu", "ddp_cpu"))
    assert (two.processes, two.batch_size) == (2, one.batch_size // 2)
    assert (two.steps, two.samples, two.flops_per_step) == (one.steps, one.samples, one.flops_per_step)
    assert two.activation_bytes < one.activation_bytes
    assert any("one of 2 devices" in note for note in two.notes)


def test_plan_of_a_batch_that_does_not_fit(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchatlas.run.measure.free_memory", lambda device: 100)
    found = cli.run(["plan", *SMALL, "samples=1"])
    assert found.seconds is None
    assert found.measured_steps == 0
    assert found.steps
    assert "try data.batch_size=" in found.notes[0]


def test_a_run_says_what_it_used(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    """Held against it, the plan has the same steps and parameters."""
    folder = train(*SMALL, "trainer.max_epochs=2", "data.fake=true", "logger=none")
    metrics = read_metrics(folder)
    used = metrics["used"]
    assert (used["device"], used["processes"], used["steps"]) == ("cpu", 1, metrics["steps"])
    assert used["seconds"] == metrics["seconds"]
    assert 0 < used["seconds_per_step"] * used["steps"] <= 1.5 * used["seconds"]
    assert used["memory_bytes"] is None or used["memory_bytes"] >= 4 * metrics["parameters"]
    capsys.readouterr()
    cli.run(["plan", f"against={folder}", "samples=2", "output=compared.json"])
    compared = read_json(Path("compared.json"))["against"]
    for key in ("parameters", "steps"):
        assert compared[key]["ratio"] == 1
    assert compared["last.ckpt"]["ratio"] > 1
    assert math.isfinite(compared["seconds of a step"]["ratio"])
    assert "run / plan" in capsys.readouterr().out
    cli.run(["plan", *SMALL, "data.fake=true", "trainer.max_epochs=3", f"against={folder}", "samples=1"])
    assert "trainer.max_epochs is 3 in the plan and 2 in the run" in capsys.readouterr().out
    train(f"resume={folder}", "duration=3ep")
    assert read_metrics(folder)["used"]["steps"] == 3 * metrics["steps"] // 2


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["samples=0"], "samples=0 must be a positive whole number"),
        (["samples=few"], "samples=few must be a whole number, as in samples=12"),
        (["output=plan.txt"], "must end in .json"),
        (["output=/dev/null/plan.json"], "/dev/null cannot be written"),
        (["against=nowhere"], "against=nowhere is no run folder"),
        (["resume=auto"], "resume=auto has no place here"),
        (["mlp"], "'mlp' is not of the form KEY=VALUE"),
        (["model=mpl"], "there is no model 'mpl': did you mean mlp"),
        (["optim.learning_rate=1"], "has no key 'optim.learning_rate'"),
        (["model=lstm_lm", "data=digits"], "cannot serve model=lstm_lm"),
        (["trainer=ddp_cpu", "data.batch_size=33"], "must be a positive multiple of the 2 processes"),
    ],
)
def test_mistakes(words: list[str], answer: str, here: Path) -> None:
    with pytest.raises(UserError) as error:
        cli.run(["plan", *words])
    assert answer in str(error.value)
    assert not list(here.iterdir()), "nothing is left behind"


def test_a_run_of_an_older_version(here: Path) -> None:
    (here / "config.yaml").write_text("name: old\n")
    (here / "metrics.json").write_text('{"steps": 3}')
    with pytest.raises(UserError, match="does not say what the run used"):
        cli.run(["plan", f"against={here}"])


def test_interrupted(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("torchatlas.run.measure.count_saved", stop)
    monkeypatch.setattr(sys, "argv", ["torchatlas", "plan", *SMALL])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130
    assert "interrupted" in capsys.readouterr().err
    assert not list(here.iterdir())

"""The plan of a training: counts equal to hand counts, and the command from end to end."""

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from torchatlas import cli
from torchatlas.analysis.flops import count_flops, count_saved, first_rows, optimizer_bytes, peak_flops
from torchatlas.analysis.layers import layer_table
from torchatlas.analysis.memory import Memory, state_tensors, storage_bytes
from torchatlas.commands.plan import amount, count_processes, duration, run
from torchatlas.errors import UserError
from torchatlas.models.mlp import MLP
from torchatlas.storage.files import read_json, read_metrics
from torchatlas.tasks.classification import Classification
from torchatlas.zoo import create_model

Train = Callable[..., Path]
SMALL = ["model.widths=[8]", "trainer=cpu"]


def test_flops_of_an_mlp() -> None:
    network = MLP(in_channels=1, image_size=8, widths=(32, 16), num_classes=10)
    flops = count_flops(lambda: network(torch.randn(5, 1, 8, 8)))
    assert flops == (2 * 5 * (64 * 32 + 32 * 16 + 16 * 10), 0)


def test_flops_of_convolutions() -> None:
    """Each output has the products of one kernel over the channels of its group."""
    x = torch.randn(2, 4, 9, 9)
    for groups in (1, 2, 4):
        layer = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=groups)
        outputs = 2 * 8 * 5 * 5
        assert count_flops(lambda layer=layer: layer(x)) == (2 * outputs * 9 * 4 // groups, 0)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"dropout_p": 0.1}, {"attn_mask": torch.zeros(5, 7)}])
def test_flops_of_attention(options: dict[str, Any]) -> None:
    """A product with 7 keys of 8 numbers and one with 7 values of 6, for 5 queries in each of 3 heads."""
    query, key, value = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8)
    if "is_causal" in options:
        query = torch.randn(2, 3, 7, 8)
    for x in (query, key, value):
        x.requires_grad_()
    steps = query.shape[2]
    flops = count_flops(lambda: F.scaled_dot_product_attention(query, key, value, **options))
    assert flops == (2 * 2 * 3 * steps * 7 * (8 + 8), 0)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("grad", [True, False])
def test_flops_of_recurrent_layers(kind: type[nn.RNNBase], grad: bool) -> None:
    """Whatever kernels there are: each step multiplies by all matrices; what follows is counted too."""
    network = kind(4, 6, num_layers=2, batch_first=True, bidirectional=True)
    after = nn.Linear(12, 3)
    gates = {nn.RNN: 1, nn.LSTM: 4, nn.GRU: 3}[kind]
    matrices = 2 * gates * 6 * (4 + 6 + 12 + 6)  # two directions of two layers
    with torch.set_grad_enabled(grad):
        flops = count_flops(lambda: after(network(torch.randn(2, 7, 4))[0]))
    total = 2 * 2 * 7 * (matrices + 12 * 3)
    assert flops == ((total, 0) if grad else (0, total))


def test_flops_without_gradients_are_apart() -> None:
    student, teacher = nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 16), nn.Linear(16, 3))

    def forward() -> Tensor:
        x = torch.randn(2, 4)
        with torch.no_grad():
            answer = teacher(x)
        return student(x) - answer

    assert count_flops(forward) == (2 * 2 * 12, 2 * 2 * (64 + 48))


@pytest.mark.parametrize("name", ["lenet5", "efficientnet_b0", "lstm_lm", "gpt2"])
def test_flops_are_twice_the_multiply_accumulates_of_show(name: str) -> None:
    """Two ways of counting, theirs by torch's formulas and ours by those of `show`."""
    with torch.device("meta"):
        network: Any = create_model(name).eval()
        inputs = network.example_input(1)
    rows = layer_table(network, inputs)
    assert sum(count_flops(lambda: network(*inputs))) == 2 * sum(row.macs for row in rows)


@pytest.mark.parametrize(
    ("make", "each"),
    [
        (lambda p: torch.optim.SGD(p, 0.1), 0),
        (lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), 4),
        (lambda p: torch.optim.AdamW(p, 0.1), 8),
        (lambda p: torch.optim.AdamW(p, 0.1, fused=True), 8),
        (lambda p: torch.optim.AdamW(p, 0.1, amsgrad=True), 12),
    ],
)
def test_bytes_of_the_optimizer(make: Callable[[Any], torch.optim.Optimizer], each: int) -> None:
    network = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    optimizer = make(network.parameters())
    assert optimizer_bytes(optimizer) == 0, "before a step nothing is kept"
    network(torch.randn(4, 7)).sum().backward()
    optimizer.step()
    assert optimizer_bytes(optimizer) == each * sum(p.numel() for p in network.parameters())


def test_bytes_of_what_is_shared_count_once() -> None:
    x = torch.zeros(10, 10)
    assert storage_bytes([x, x[2:], x.view(100), torch.zeros(5, dtype=torch.float64)]) == 400 + 40
    assert storage_bytes([]) == 0
    assert state_tensors(torch.optim.SGD([nn.Parameter(x)], 0.1)) == []


def test_activations_of_a_chain() -> None:
    """W2 tanh(W1 x): for the gradients of W1 and W2 the input and the tanh's output are kept, both once."""
    network = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4))
    for n in (1, 3):
        x = torch.randn(n, 8)
        assert count_saved(lambda x=x: network(x), network) == 4 * n * (8 + 32)
    with torch.no_grad():
        assert count_saved(lambda: network(torch.randn(3, 8)), network) == 0


def test_activations_that_live_together_count_together() -> None:
    """Memory given back within the forward pass is not taken for memory that is kept, nor the reverse."""
    layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(10))

    def forward() -> Tensor:
        x = torch.randn(16, 64)
        for layer in layers:
            x = (layer(x) + 1).sigmoid()  # the sum is not kept
        return x

    assert count_saved(forward, layers) == 4 * 16 * 64 * 11


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("mlp", {"image_size": 8}), ("resnet20", {}), ("lstm_lm", {"vocab_size": 50, "dim": 16, "dropout": 0.5})],
)
def test_activations_are_what_the_allocator_has_given(name: str, sizes: dict[str, Any]) -> None:
    """Torch's profiler follows each allocation: what is alive after the forward pass is kept, or the output."""
    network: Any = create_model(name, **sizes)
    inputs = network.example_input(4)
    saved = count_saved(lambda: network(*inputs), network)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as followed:
        output = network(*inputs)
    events = followed.profiler.kineto_results.events()
    alive = sum(event.nbytes() for event in events if event.name() == "[memory]")
    assert saved - storage_bytes(inputs) + storage_bytes([output]) == pytest.approx(alive, abs=500)


def test_first_rows() -> None:
    batch = (torch.arange(6).view(6, 1), torch.tensor(3.0), ["a"] * 6, torch.arange(2), 7)
    x, number, words, other, seven = first_rows(batch, 2, 6)
    assert x.untyped_storage().nbytes() == 16
    assert x.tolist() == [[0], [1]]
    assert (float(number), words, other.tolist(), seven) == (3.0, ["a", "a"], [0, 1], 7)


def test_peaks_are_of_half_precision_alone() -> None:
    assert peak_flops("NVIDIA H200", "bf16-mixed") == peak_flops("NVIDIA H100 80GB HBM3", "16-mixed") == 989e12
    assert peak_flops("NVIDIA A100-SXM4-80GB", "bf16-true") == peak_flops("NVIDIA A100-PCIE-40GB", "16-true") == 312e12
    for device, precision in (("NVIDIA H200", "32-true"), ("NVIDIA H100 PCIe", "bf16-mixed"), ("cpu", "bf16-mixed")):
        assert peak_flops(device, precision) is None


def test_processes() -> None:
    for devices, number in ((2, 2), ("3", 3), ([0, 1], 2), ("0,1,", 2), ("auto", 1), (-1, 1)):
        assert count_processes({"devices": devices, "accelerator": "cpu"}) == number


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell of its processes")
def test_memory_sees_what_is_freed_again() -> None:
    task = Classification(MLP(image_size=8, num_classes=10))
    own = storage_bytes(task.parameters())
    memory = Memory(task.network, [], task.device)
    before = memory.peak()
    big = torch.ones(2**26)  # 268 MB
    del big
    after = memory.peak()
    assert before is not None
    assert after is not None
    assert own <= before < own + 1e8
    assert after - before == pytest.approx(4 * 2**26, rel=0.2)


# --- the command


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
    found = run([*SMALL, *words, "samples=1", "trainer.max_steps=3"])
    assert (found.optimizer_bytes, found.average_bytes) == (optimizer * found.parameters, averages * found.parameters)
    assert found.steps == 3
    assert found.measured_steps == 2, "one step warms up"


def test_plan_of_a_language_model(here: Path) -> None:
    """6ND beside what is counted; a duration in time; accumulated batches; a carried state."""
    words = ["model=lstm_lm", "data=pydoc", "data.fake=true", "data.context=8", "data.batch_size=8", "model.dim=16",
             "trainer=cpu", "duration=20st", "trainer.accumulate_grad_batches=2", "samples=2"]  # fmt: skip
    found = run(words)
    assert (found.steps, found.samples, found.tokens) == (20, 20 * 16, 20 * 16 * 8)
    assert found.six_n_d == 6 * found.parameters * found.tokens
    lstm = 2 * 4 * 16 * (16 + 16)
    vocabulary = (found.parameters - lstm - 2 * 2 * 4 * 16) // (16 + 16 + 1)
    assert found.flops_per_sample == 2 * 8 * (lstm + 16 * vocabulary)
    assert found.flops_per_step == 3 * 16 * found.flops_per_sample
    carried = run([*words, "task.carry=true", "data.streams=true"])
    assert carried.flops_per_sample == found.flops_per_sample


def test_plan_of_several_processes(here: Path) -> None:
    """Each has its part of a batch; steps are those of the whole."""
    one, two = (run([*SMALL[:1], f"trainer={name}", "samples=1"]) for name in ("cpu", "ddp_cpu"))
    assert (two.processes, two.batch_size) == (2, one.batch_size // 2)
    assert (two.steps, two.samples, two.flops_per_step) == (one.steps, one.samples, one.flops_per_step)
    assert two.activation_bytes < one.activation_bytes
    assert any("one of 2 devices" in note for note in two.notes)


def test_plan_of_a_batch_that_does_not_fit(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchatlas.analysis.flops.free_memory", lambda device: 100)
    found = run([*SMALL, "samples=1"])
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
    run([f"against={folder}", "samples=2", "output=compared.json"])
    compared = read_json(Path("compared.json"))["against"]
    for key in ("parameters", "steps"):
        assert compared[key]["ratio"] == 1
    assert compared["last.ckpt"]["ratio"] > 1
    assert math.isfinite(compared["seconds of a step"]["ratio"])
    assert "run / plan" in capsys.readouterr().out
    run([*SMALL, "data.fake=true", "trainer.max_epochs=3", f"against={folder}", "samples=1"])
    assert "trainer.max_epochs is 3 in the plan and 2 in the run" in capsys.readouterr().out
    train(f"resume={folder}", "duration=3ep")
    assert read_metrics(folder)["used"]["steps"] == 3 * metrics["steps"] // 2


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["samples=0"], "samples=0 must be a positive whole number"),
        (["samples=few"], "samples=few must be a positive whole number"),
        (["output=plan.txt"], "must end in .json"),
        (["output=nowhere/plan.json"], "there is no folder nowhere"),
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
        run(words)
    assert answer in str(error.value)
    assert not list(here.iterdir()), "nothing is left behind"


def test_a_run_of_an_older_version(here: Path) -> None:
    (here / "config.yaml").write_text("name: old\n")
    (here / "metrics.json").write_text('{"steps": 3}')
    with pytest.raises(UserError, match="does not say what the run used"):
        run([f"against={here}"])


def test_interrupted(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("torchatlas.analysis.flops.count_saved", stop)
    with pytest.raises(SystemExit) as end:
        run(SMALL)
    assert end.value.code == 130
    assert "interrupted" in capsys.readouterr().err
    assert not list(here.iterdir())


def test_numbers_are_short() -> None:
    assert [amount(n, "B") for n in (0, 999, 1000, 9_994, 99_940, 999_600)] == [
        "0 B", "999 B", "1.00 kB", "9.99 kB", "99.9 kB", "1.00 MB",
    ]  # fmt: skip
    assert duration(59.94) == "59.9 s"
    assert os.linesep not in duration(0.5)

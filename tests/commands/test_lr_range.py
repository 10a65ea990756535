"""The range test finds a rate under the stable limit, and leaves no trace."""

import contextlib
import math
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from torchatlas import cli
from torchatlas.commands.lr_range import Range, range_test, smooth
from torchatlas.data.images.digits import Digits
from torchatlas.errors import UserError
from torchatlas.tasks.base import Task
from torchatlas.tasks.classification import Classification
from torchatlas.training.optimizers import Muon


def made_data() -> Digits:
    data = Digits(in_channels=1, image_size=8, num_classes=10, batch_size=16, fake=True)
    data.setup("fit")
    return data


class Noisy(nn.Module):
    """Dropout, batch statistics, a buffer that is replaced and not saved, random numbers of three libraries."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.frozen = nn.Linear(64, 12), nn.BatchNorm1d(12), nn.BatchNorm1d(12)
        self.middle, self.drop, self.last = nn.Linear(12, 12), nn.Dropout(0.3), nn.Linear(12, 10)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        x = self.drop(self.norm(self.first(x.flatten(1)))) + 0.01 * random.random() + 0.01 * np.random.rand()
        return self.last(self.frozen(self.middle(x)).relu())


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, fused=True),
    "a learning rate that is a tensor": lambda p: torch.optim.Adam(p, torch.tensor(0.01)),
    "muon": lambda p: Muon([{"params": [q], "matrix": q.ndim == 2} for q in p], 0.01),
}


def train_step(task: Task, optimizer: torch.optim.Optimizer) -> float:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(16, 1, 8, 8, generator=generator), torch.randint(10, (16,), generator=generator)
    device = next(task.parameters()).device
    optimizer.zero_grad()
    loss = task.step((x.to(device), y.to(device)))["loss"]
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def begun(name: str, device: str) -> tuple[Task, torch.optim.Optimizer]:
    """A training under way: the optimiser's state is not empty, one layer is in eval mode, gradients are there."""
    seed(0)
    task = Classification(Noisy()).to(device)
    optimizer = OPTIMIZERS[name](list(task.parameters()))
    schedule = LambdaLR(optimizer, lambda t: 1 / (1 + t)) if name != "muon" else None
    for _ in range(3):
        train_step(task, optimizer)
        if schedule:
            schedule.step()
    task.network.frozen.eval()
    task.network.last.bias.grad = None
    return task, optimizer


def plain(value: Any) -> Any:
    """Tensors as their place, type and bytes; the rest as it is."""
    if isinstance(value, Tensor):
        return value.data_ptr(), value.dtype, value.device, value.detach().cpu().contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {id(k) if isinstance(k, Tensor) else k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def everything(task: Task, optimizer: torch.optim.Optimizer) -> Any:
    tensors = {**dict(task.named_parameters()), **dict(task.named_buffers())}
    name, keys, *rest = np.random.get_state()
    of_device = torch.cuda.get_rng_state() if next(task.parameters()).is_cuda else None
    return [
        {key: (id(tensor), plain(tensor)) for key, tensor in tensors.items()},
        {key: plain(p.grad) for key, p in task.named_parameters()},
        [(key, module.training) for key, module in task.named_modules()],
        plain(dict(optimizer.state)),
        plain([{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]),
        [list(map(id, g["params"])) for g in optimizer.param_groups],
        sorted(key for key in vars(optimizer) if key not in ("state", "param_groups")),
        [random.getstate(), name, keys.tobytes(), rest, torch.get_rng_state().tolist()],
        None if of_device is None else of_device.tolist(),
    ]


class Failing:
    """Stands in for a method, and fails in its fifth call."""

    def __init__(self, method: Any, error: BaseException) -> None:
        self.method, self.error, self.calls = method, error, 0

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        self.calls += 1
        result = self.method(*arguments, **keywords)
        if self.calls == 5:
            raise self.error
        return result


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("end", ["as it should", "error in the network", "Ctrl-C after a step", "not a number"])
@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_leaves_everything_as_it_was_bit_for_bit(
    name: str, end: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, optimizer = begun(name, device)
    seed(3)
    before = everything(task, optimizer)
    last: Any = task.network.last
    part: Any = optimizer.parts[0] if name == "muon" else optimizer
    with monkeypatch.context() as patch:
        expected: Any = contextlib.nullcontext()
        if end == "error in the network":
            patch.setattr(last, "forward", Failing(last.forward, RuntimeError("broken")))
            expected = pytest.raises(RuntimeError, match="broken")
        elif end == "Ctrl-C after a step":
            patch.setattr(part, "step", Failing(part.step, KeyboardInterrupt()))
            expected = pytest.raises(KeyboardInterrupt)
        elif end == "not a number":
            patch.setattr(last, "forward", lambda x: x[:, :10] * math.nan)
            expected = pytest.raises(UserError, match="first step is nan")
        with expected:
            range_test(task, made_data(), optimizer, low=1e-5, high=1.0, steps=20)
    assert everything(task, optimizer) == before

    # What comes next is what would have come.
    losses = [train_step(task, optimizer) for _ in range(3)]
    task, optimizer = begun(name, device)
    seed(3)
    assert losses == pytest.approx([train_step(task, optimizer) for _ in range(3)], rel=1e-3 if device == "cuda" else 0)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_new_optimizer_stays_new(name: str) -> None:
    task = Classification(Noisy())
    optimizer = OPTIMIZERS[name](list(task.parameters()))
    schedule = LambdaLR(optimizer, lambda t: 1.0) if name != "muon" else None
    attributes = set(vars(optimizer))
    range_test(task, made_data(), optimizer, low=1e-5, high=1.0, steps=20)
    assert not dict(optimizer.state)
    assert set(vars(optimizer)) == attributes, "nor does it count as called"
    assert all(p.grad is None for p in task.parameters())
    assert schedule is None or schedule.last_epoch == 0


class Quadratic(Task):
    """c w² / 2 with gradient c w: descent with learning rate r multiplies w by 1 - c r, stable for r < 2 / c."""

    name = "classification"

    def __init__(self, curvature: float, error: float = 0.0) -> None:
        super().__init__(nn.Linear(1, 1, bias=False))
        nn.init.constant_(self.network.weight, 3.0)
        self.curvature, self.error = curvature, error

    def step(self, batch: Any) -> dict[str, Tensor]:
        w = self.network.weight[0, 0]
        noise = 1 + self.error * torch.randn(())
        return {"loss": self.curvature / 2 * w.square() * noise + self.curvature}


def of_quadratic(curvature: float, momentum: float = 0.0, error: float = 0.0, **options: Any) -> Range:
    task = Quadratic(curvature, error)
    optimizer = torch.optim.SGD(task.parameters(), 0.1, momentum=momentum)
    options = {"low": 1e-4 / curvature, "high": 1e3 / curvature, "steps": 100} | options
    return range_test(task, made_data(), optimizer, **options)


@pytest.mark.parametrize("curvature", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("error", [0.0, 0.2])
def test_suggestion_is_below_the_limit_of_a_quadratic(curvature: float, momentum: float, error: float) -> None:
    found = of_quadratic(curvature, momentum, error)
    limit = 2 * (1 + momentum) / curvature  # Polyak 1964
    assert found.ran_away
    assert found.rates[-1] > limit, "it cannot run away before"
    assert 1e-4 * limit < found.steepest < limit
    assert 1e-4 * limit < found.tenth < limit


def test_suggestion_has_the_unit_of_the_learning_rate() -> None:
    """Steps depend on curvature times learning rate alone."""
    one, other = of_quadratic(1.0), of_quadratic(64.0)
    assert one.steepest == pytest.approx(64 * other.steepest)
    assert one.tenth == pytest.approx(64 * other.tenth)


def test_rates_grow_by_the_same_factor_and_groups_keep_their_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Classification(nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Linear(16, 10)))
    groups = [{"params": task.network[1].parameters(), "lr": 0.02}, {"params": task.network[2].parameters()}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    LambdaLR(optimizer, lambda t: 0.25)  # a schedule's factor is no ratio
    seen: list[list[float]] = []
    step = optimizer.step
    monkeypatch.setattr(optimizer, "step", lambda: (seen.append([g["lr"] for g in optimizer.param_groups]), step()))
    found = range_test(task, made_data(), optimizer, low=1e-4, high=1e-1, steps=31)
    assert [rates[1] for rates in seen] == pytest.approx([1e-4 * 10 ** (t / 10) for t in range(31)])
    assert [rates[0] / rates[1] for rates in seen] == pytest.approx([0.2] * 31)
    assert found.rates == pytest.approx([rates[1] for rates in seen])
    assert not found.ran_away


def test_accumulated_batches_are_one_step() -> None:
    """The loss and its gradient are means: two batches of 16 are one of 32."""
    results = []
    for batch_size, accumulate in ((16, 2), (32, 1)):
        torch.manual_seed(0)
        task = Classification(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), l1=1e-3)
        data = Digits(in_channels=1, image_size=8, num_classes=10, batch_size=batch_size, crop_padding=0, fake=False)
        data.setup("fit")
        data.same_batch = True
        optimizer = torch.optim.SGD(task.parameters(), 0.1)
        results.append(range_test(task, data, optimizer, low=1e-3, high=0.5, steps=15, accumulate=accumulate, clip=0.5))
    assert results[0].losses == pytest.approx(results[1].losses, rel=1e-4)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_other_precisions(precision: str) -> None:
    task = Classification(nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)))
    task.to({"bf16-true": torch.bfloat16, "64-true": torch.float64}.get(precision))
    optimizer = torch.optim.AdamW(task.parameters(), 0.01)
    found = range_test(task, made_data(), optimizer, low=1e-5, steps=40, precision=precision)
    assert 1e-4 < found.steepest < 1


def test_smoothing_moves_nothing() -> None:
    assert smooth([2.0] * 7, 0.8) == pytest.approx([2.0] * 7)
    values = torch.rand(30).tolist()
    assert smooth(values[::-1], 0.8)[::-1] == pytest.approx(smooth(values, 0.8)), "ahead as far as back"
    line = [0.5 * i for i in range(201)]
    assert smooth(line, 0.8)[80:120] == pytest.approx(line[80:120]), "a straight line stays, away from its ends"


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({"low": 1.0, "high": 0.1}, "low=1 must be under high=0.1"),
        ({"low": 1.0, "high": 1.0}, "must be under"),
        ({"low": 0.0}, "must be positive numbers"),
        ({"high": math.inf}, "must be positive numbers"),
        ({"steps": 9}, "steps=9 must be at least 10"),
    ],
)
def test_impossible_ranges(options: dict[str, Any], answer: str) -> None:
    with pytest.raises(UserError, match=answer):
        of_quadratic(1.0, **options)


def test_no_suggestion_without_descent() -> None:
    task = Quadratic(1.0)
    with pytest.raises(UserError, match=r"optim\.lr=0 must be positive"):
        range_test(task, made_data(), torch.optim.SGD(task.parameters(), 0.0))
    with pytest.raises(UserError, match="did not fall between the learning rates 1e-06 and "):
        range_test(task, made_data(), torch.optim.SGD(task.parameters(), 0.1, maximize=True))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TORCHATLAS_DATA", raising=False)
    return tmp_path


WORDS = ["trainer=cpu", "model.widths=[64]", "data.num_workers=0"]


def test_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(5)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    argv, environment, threads = sys.argv[:], dict(os.environ), torch.get_num_threads()
    path = cli.run(["lr_range", *WORDS, "seed=1", "low=1e-6", "steps=60"])
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states
    assert (sys.argv, dict(os.environ), torch.get_num_threads()) == (argv, environment, threads)
    assert path == Path("lr_range-mlp-digits.png")
    assert [p.name for p in here.iterdir()] == [path.name], "no run folder"
    assert path.read_bytes().startswith(b"\x89PNG")
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert [word.partition("=")[0] for word in words] == ["optim.lr", "optim.lr", "picture"]
    steepest, tenth = (float(word.partition("=")[2]) for word in words[:2])
    assert 3e-4 < steepest < 1e-1
    assert 1e-4 < tenth < 1e-1

    again = cli.run(["lr_range", *WORDS, "seed=1", "low=1e-6", "steps=60", "output=again.svg"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:3]] == words[:2], "the seed decides"
    assert again.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["low=1", "high=0.5"], "low=1 must be under high=0.5"),
        (["steps=5"], "steps=5 must be at least 10"),
        (["steps=20.5"], "must be a whole number"),
        (["low=small"], "low=small must be a number, as in low=1e-6"),
        (["output=x.jpeg2"], "must end in .pdf, .png, .svg"),
        (["output=/dev/null/x.png"], "/dev/null cannot be written"),
        (["resume=auto"], "resume=auto has no place here"),
        (["seeds=3"], "has no place here"),
        (["-m"], "has no place here"),
        (["mlp"], "'mlp' is not of the form KEY=VALUE"),
        (["model=lenet5", "data=digits"], "cannot take the batches of data=digits"),
        (["optim.learning_rate=1"], "has no key 'optim.learning_rate'"),
        (["model=mpl"], "there is no model 'mpl': did you mean mlp"),
        (["optim.lr=fast"], "optim.lr=fast must be a number"),
        (["trainer=gpu"], "there is no gpu here: use trainer=cpu"),
    ],
)
def test_mistakes(words: list[str], answer: str, here: Path) -> None:
    if words == ["trainer=gpu"] and (torch.cuda.is_available() or torch.backends.mps.is_available()):
        pytest.skip("there is a GPU")
    with pytest.raises(UserError) as error:
        cli.run(["lr_range", *WORDS[:1], *words])
    assert answer in str(error.value)
    assert not list(here.iterdir()), "nothing is left behind"


def test_interrupted(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    backward = Failing(Tensor.backward, KeyboardInterrupt())
    monkeypatch.setattr(Tensor, "backward", lambda tensor: backward(tensor))
    monkeypatch.setattr(sys, "argv", ["torchatlas", "lr_range", *WORDS, "steps=20"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130
    assert "interrupted" in capsys.readouterr().err
    assert not list(here.iterdir())

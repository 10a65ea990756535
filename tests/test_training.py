"""Durations, schedules, optimisers and what surrounds a step, against torch's own and by hand."""

import json
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPOSITORY, Train, tiny_network
from torch import nn

from torchatlas.errors import UserError
from torchatlas.run.build import compile_network, instantiate, shutil
from torchatlas.run.seeds import interval
from torchatlas.storage.checkpoints import read
from torchatlas.storage.files import read_epochs, read_metrics
from torchatlas.training import optimizers, schedules
from torchatlas.training.durations import Duration, Plan
from torchatlas.training.threads import divide
from torchatlas.zoo import options

PLAN = Plan(steps_per_epoch=10, samples_per_step=4, total=100, seconds_per_step=0.5)
TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


@pytest.mark.parametrize(
    ("text", "steps"),
    [("2ep", 20), ("0.5ep", 5), ("30st", 30), ("80sa", 20), ("5%", 5), ("100%", 100), ("10s", 20), ("1min", 120),
     ("0.01h", 72), ("1d", 172800), (0.25, 25), (0, 0), ("0", 0), (" 3 EP ", 30), (".5ep", 5), ("1e-2", 1)],
)  # fmt: skip
def test_durations_in_steps(text: Any, steps: int) -> None:
    assert PLAN.steps(text) == steps


@pytest.mark.parametrize("text", ["5", "ep", "-1ep", "3weeks", "", "1.2.3ep", "120%", None, "nan", "5 %%"])
def test_what_is_no_duration(text: Any) -> None:
    with pytest.raises(UserError, match="is no duration: write 20ep"):
        Duration.parse(text)


def test_a_time_is_measured_once() -> None:
    asked = []
    plan = Plan(10, 4, 100, measure=lambda: asked.append(1) or 0.1)  # type: ignore[func-returns-value]
    assert (plan.steps("1s"), plan.steps("2s"), plan.steps("1ep")) == (10, 20, 10)
    assert len(asked) == 1
    with pytest.raises(UserError, match="no measured time"):
        Plan(10, 4, 100).steps("1s")


def rates(schedule: Callable[..., Any], total: int = 100, lr: float = 1.0) -> list[float]:
    """The learning rate of each of the first `total` steps."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler, found = schedule(optimizer), []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


S = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (partial(schedules.constant, plan=PLAN), partial(S.ConstantLR, factor=1.0)),
        (partial(schedules.linear, plan=PLAN, final=0.1), partial(S.LinearLR, start_factor=1, end_factor=0.1,
                                                                  total_iters=100)),
        (partial(schedules.exponential, plan=PLAN, final=0.01), partial(S.ExponentialLR, gamma=0.01 ** (1 / 100))),
        (partial(schedules.cosine, plan=PLAN), partial(S.CosineAnnealingLR, T_max=100)),
        (partial(schedules.cosine, plan=PLAN, period="2ep"), partial(S.CosineAnnealingWarmRestarts, T_0=20)),
        (partial(schedules.cosine, plan=PLAN, period="10st", stretch=2),
         partial(S.CosineAnnealingWarmRestarts, T_0=10, T_mult=2)),
        (partial(schedules.step, plan=PLAN, milestones=["30%", "8ep"]), partial(S.MultiStepLR, milestones=[30, 80])),
        (partial(schedules.one_cycle, plan=PLAN),
         partial(S.OneCycleLR, max_lr=1.0, total_steps=100, div_factor=25, final_div_factor=1e4, cycle_momentum=False)),
    ],
)  # fmt: skip
def test_schedules_are_torchs(ours: Callable[..., Any], torchs: Callable[..., Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = rates(torchs)
    assert rates(ours) == pytest.approx(expected, abs=1e-7)


def test_inverse_sqrt_is_the_papers() -> None:
    """Vaswani et al., eq. 3, on the scale where its highest value is 1: d^-0.5 min(t^-0.5, t w^-1.5) sqrt(d w)."""
    w = 20
    paper = [min(t**-0.5, t * w**-1.5) * math.sqrt(w) for t in range(1, 101)]
    assert rates(partial(schedules.inverse_sqrt, plan=PLAN, warmup="20%")) == pytest.approx(paper)


@pytest.mark.parametrize("name", [n for n in options("schedule") if n not in ("one_cycle", "inverse_sqrt")])
def test_warm_up(name: str) -> None:
    """From 1/(w+1) in equal steps to the first full value; afterwards as without one, counted from its end."""
    make = partial(getattr(schedules, name), plan=PLAN)
    found = rates(partial(make, warmup="1ep"))
    assert found[:10] == pytest.approx([(t + 1) / 11 for t in range(10)])
    assert found[10] == pytest.approx(1)
    assert all(rate <= 1 + 1e-9 for rate in found)
    if name in ("linear", "cosine", "exponential"):
        shorter = rates(partial(getattr(schedules, name), plan=Plan(10, 4, 90)), 90)
        assert found[10:] == pytest.approx(shorter)


@pytest.mark.parametrize("name", options("schedule"))
def test_schedules_go_on_where_they_were(name: str, compose: Callable[..., Any]) -> None:
    """Each config; state saved at step 37 and loaded into a new one."""
    from hydra.utils import instantiate

    make = instantiate(compose(f"schedule={name}", "name=x").schedule, _convert_="all")

    def new() -> tuple[Any, Any]:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
        return optimizer, make(optimizer, PLAN)

    optimizer, schedule = new()
    for t in range(37):
        optimizer.step()
        schedule.step()
        if t % 5 == 0:
            schedule.observe(1.0 if t else 0.5)
    other, resumed = new()
    resumed.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    resumed.restart([0.3])
    for _ in range(60):
        assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
        for o, s in ((optimizer, schedule), (other, resumed)):
            o.step()
            s.step()
            s.observe(1.0)
    schedule.restart([0.6])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(2 * other.param_groups[0]["lr"])


def test_plateau_is_torchs() -> None:
    figures = [1.0, 0.9, 0.95, 0.93, 0.92, 0.91, 0.899999, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    one, two = (torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0) for _ in range(2))
    ours = schedules.plateau(one, PLAN, factor=0.5, patience=2)
    torchs = S.ReduceLROnPlateau(two, factor=0.5, patience=2)
    for figure in figures:
        ours.observe(figure)
        torchs.step(figure)
        assert one.param_groups[0]["lr"] == two.param_groups[0]["lr"]


# --- optimisers


def trained(make: Any, seed: int = 0, steps: int = 3, **options: Any) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    network = tiny_network("lenet5")
    optimizer = optimizers.build(make, network, **options)
    (x,) = network.example_input(4)  # type: ignore[operator]
    for _ in range(steps):
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()
    return [p.detach() for p in network.parameters()]


@pytest.mark.parametrize("name", options("optim"))
def test_optimisers_learn_and_decay_weights_only(name: str, compose: Callable[..., Any]) -> None:
    config = compose(f"optim={name}", "optim.weight_decay=0.1", "name=x").optim
    make = instantiate(config, _convert_="all")
    network = tiny_network("mlp")
    optimizer = optimizers.build(make, network)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    for name_, p in network.named_parameters():
        assert decay[id(p)] == (0.1 if p.ndim > 1 else 0), name_
    everything = optimizers.build(make, network, decay_norms_and_biases=True)
    assert {g["weight_decay"] for g in everything.param_groups} == {0.1}
    x, y = torch.randn(64, 1, 8, 8), torch.randint(10, (64,))
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_fused_is_the_same_arithmetic(cls: Any) -> None:
    make = partial(cls, lr=0.01, weight_decay=0.1)
    network = tiny_network("mlp")
    assert all(group["fused"] for group in optimizers.build(make, network).param_groups)
    for one, two in zip(trained(make), trained(make, fused=False), strict=True):
        assert torch.allclose(one, two, atol=1e-4)
    assert not any(g["fused"] for g in optimizers.build(partial(make, foreach=True), network).param_groups)


def test_muon_is_torchs_two() -> None:
    """The hidden matrices go with torch's Muon, all else with torch's AdamW."""
    torch.manual_seed(0)
    network = tiny_network("mlp", widths=(16, 16))
    twin = tiny_network("mlp", widths=(16, 16))
    twin.load_state_dict(network.state_dict())
    ours = optimizers.build(partial(optimizers.Muon, lr=0.01, weight_decay=0.1), network)
    weights = [m.weight for m in twin.modules() if isinstance(m, nn.Linear)]
    hidden, rest = weights[:-1], [p for p in twin.parameters() if not any(p is w for w in weights[:-1])]
    torchs = [
        torch.optim.Muon(hidden, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([{"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.1},
                           {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0}],
                          lr=0.01, betas=(0.9, 0.95), fused=True),
    ]  # fmt: skip
    (x,) = network.example_input(4)  # type: ignore[operator]
    for _ in range(3):
        for net in (network, twin):
            net.zero_grad()
            net(x).square().sum().backward()
        ours.step()
        for optimizer in torchs:
            optimizer.step()
    for one, two in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, two)


# --- around a step


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read(folder / "checkpoints" / f"{name}.ckpt")["state_dict"]
    return found


def test_clipping_bounds_the_update(train: Train) -> None:
    """With plain SGD the weights move by at most the rate times the bound; by value each of them does."""
    base = ["trainer.max_steps=1", "optim=sgd", "optim.lr=1", "schedule=constant", *TINY]
    start = weights(train(*base, "trainer.gradient_clip_val=1e-12"))
    for algorithm, size in (("norm", lambda d: d.norm()), ("value", lambda d: d.abs().max())):
        clipped = weights(
            train(*base, "trainer.gradient_clip_val=0.01", f"trainer.gradient_clip_algorithm={algorithm}")
        )
        moved = torch.cat([(clipped[key] - start[key]).flatten() for key in start])
        assert float(size(moved)) == pytest.approx(0.01, rel=1e-3)


def test_clipping_works_with_fused_kernels_in_mixed_precision(train: Train) -> None:
    train("trainer.max_steps=3", "trainer.gradient_clip_val=1", "trainer.precision=bf16-mixed", *TINY)


def test_accumulated_batches_are_one_large_one(train: Train) -> None:
    base = ["trainer.max_epochs=1", "model.dropout=0.0", "optim=sgd", "schedule=constant", "data.crop_padding=0", *TINY]
    large = weights(train(*base, "data.batch_size=64", "trainer.max_steps=5"))
    small = weights(train(*base, "data.batch_size=32", "trainer.accumulate_grad_batches=2", "trainer.max_steps=5"))
    for key, value in large.items():
        assert torch.allclose(value, small[key], atol=1e-5), key


def test_averaged_weights_are_validated_and_kept(train: Train) -> None:
    """`best.ckpt` has the average of the weights after each step, computed here from all of them."""
    base = ["trainer.max_steps=3", "schedule=constant", "callbacks.ema.decay=0.6", *TINY]
    steps = [weights(train(*base, f"trainer.max_steps={n}")) for n in (1, 2, 3)]
    folder = train(*base)
    state = read(folder / "checkpoints" / "last.ckpt")["callbacks"]["EMA"]
    start = weights(train(*base, "trainer.max_steps=1", "optim.lr=0", "optim.weight_decay=0"))
    average = {key: value.clone() for key, value in start.items()}
    for t, now in enumerate(steps, start=1):
        decay = min(0.6, (1 + t) / (10 + t))
        average = {key: decay * average[key] + (1 - decay) * now[key] for key in average}
    for key, value in average.items():
        assert torch.allclose(value, state["averages"][key], atol=1e-6), key
        assert torch.equal(weights(folder, "best")[key], state["averages"][key])
        assert torch.equal(weights(folder)[key], steps[-1][key])


def test_early_stopping_tests_the_best(train: Train) -> None:
    folder = train(
        "trainer.max_epochs=50", "callbacks.early_stopping.patience=2", "optim.lr=1", "schedule=constant", *TINY
    )
    epochs = read_epochs(folder)
    metrics = read_metrics(folder)
    assert len(epochs) < 50
    assert metrics["finished"]
    assert len(epochs) == metrics["best_epoch"] + 2
    assert "early stopping: val loss" in (folder / "train.log").read_text()
    assert weights(folder, "best").keys() == weights(folder).keys()
    train(f"resume={folder}")  # it has stopped, and does so again
    assert len(read_epochs(folder)) == len(epochs)


def test_l1_makes_weights_small_and_leaves_the_figures(train: Train) -> None:
    base = ["trainer.max_epochs=3", "optim=sgd", "schedule=constant", *TINY]
    without, with_ = train(*base), train(*base, "task.l1=0.01")
    size = [sum(float(v.abs().sum()) for v in weights(folder).values()) for folder in (without, with_)]
    assert size[1] < 0.7 * size[0]
    assert read_metrics(with_)["final"]["train/loss"] < 3  # the penalty itself would be more


def test_label_smoothing_is_torchs() -> None:
    from torchatlas.tasks.classification import Classification

    network = tiny_network("mlp")
    x, y = torch.randn(4, 1, 8, 8), torch.randint(10, (4,))
    task = Classification(network, label_smoothing=0.1).train()
    p = network(x).log_softmax(1)
    by_hand = -(0.9 * p[range(4), y] + 0.1 * p.mean(1)).mean()
    assert torch.allclose(task.step((x, y))["loss"], by_hand)


def test_compiled_names_stay_clean(train: Train, tmp_path: Path) -> None:
    """In a process of its own, without the checks of shapes, which cannot be compiled."""
    command = [sys.executable, "-m", "torchatlas.train", "compile=true", "hydra.run.dir=runs/compiled/1", *TINY]
    subprocess.run([*command, "debug=one_batch"], cwd=tmp_path, check=True, capture_output=True, timeout=300)
    folder = tmp_path / "runs" / "compiled" / "1"
    assert not any("_orig_mod" in key for key in weights(folder))
    train(f"resume={folder}", "compile=false", "trainer.max_epochs=2")


def test_no_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="needs a C\\+\\+ compiler"):
        compile_network(nn.Identity())


def test_deterministic(train: Train) -> None:
    try:
        folder = train("deterministic=true", "trainer.max_epochs=1", *TINY)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert "deterministic: true" in (folder / "config.yaml").read_text()


def test_a_run_by_time(train: Train) -> None:
    """The steps of two seconds are counted once, written down, and the same after a resume."""
    folder = train("duration=0.5s", "schedule.warmup=10%", *TINY)
    log = (folder / "train.log").read_text()
    assert "ms a step, measured" in log
    last = read(folder / "checkpoints" / "last.ckpt")
    steps, seconds = last["global_step"], last["torchatlas"]["seconds_per_step"]
    assert steps == round(0.5 / seconds) > 10
    train(f"resume={folder}", "duration=1s")
    assert read(folder / "checkpoints" / "last.ckpt")["global_step"] == round(1 / seconds)


def test_measuring_a_step_changes_nothing(train: Train) -> None:
    base = ["model.dropout=0.3", "schedule=constant", "trainer.max_epochs=1", *TINY]
    one, two = train(*base), train(*base, "schedule.warmup=0.0001s")
    for key, value in weights(one).items():
        assert torch.equal(value, weights(two)[key]), key


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


# --- several seeds


def test_seeds(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Mean, spread and interval are those of the single runs; a series that was stopped goes on."""
    arguments = ["seeds=3", "seed=5", "trainer.max_epochs=1", *TINY]
    executed: list[int] = []
    from torchatlas import train as program

    real = program.execute

    def stops_at_the_second(config: Any, *rest: Any, **more: Any) -> Any:
        executed.append(config.seed)
        if executed == [5, 6]:
            raise KeyboardInterrupt
        return real(config, *rest, **more)

    monkeypatch.setattr(program, "execute", stops_at_the_second)
    with pytest.raises(SystemExit) as exit_:
        train(*arguments)
    assert exit_.value.code == 130
    (series,) = {path.parent for path in tmp_path.rglob("seeds.json")}
    train(f"resume={series}")
    assert executed == [5, 6, 6, 7]
    assert train("resume=auto") is not None  # the series, not the newest of its runs
    assert executed == [5, 6, 6, 7]
    found = json.loads((series / "seeds.json").read_text())
    assert found["seeds"] == [5, 6, 7]
    singles = [read_metrics(series / f"seed-{seed}") for seed in (5, 6, 7)]
    accuracy = torch.tensor([m["test"]["test/accuracy"] for m in singles], dtype=torch.float64)
    figure = found["figures"]["test/accuracy"]
    assert figure["mean"] == pytest.approx(float(accuracy.mean()))
    assert figure["standard_deviation"] == pytest.approx(float(accuracy.std()))
    half = 4.302653 * float(accuracy.std()) / math.sqrt(3)  # Student's t, 2 degrees of freedom
    assert figure["interval"] == pytest.approx([figure["mean"] - half, figure["mean"] + half], rel=1e-5)
    assert "95 % interval" in capsys.readouterr().out
    alone = train("seed=6", "trainer.max_epochs=1", *TINY)
    for key, value in weights(alone).items():
        assert torch.equal(value, weights(series / "seed-6")[key])
    with pytest.raises(SystemExit):
        train(f"resume={series}", "trainer.max_epochs=2")


def test_interval_is_scipys() -> None:
    from scipy import stats

    values = [0.91, 0.95, 0.93, 0.94, 0.90]
    mean, _, half = interval(values)
    low, high = stats.t.interval(0.95, 4, loc=mean, scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))


def test_the_benchmark_runs() -> None:
    command = [sys.executable, str(REPOSITORY / "scripts" / "benchmark.py"), "model=mlp", "model.widths=[8]"]
    done = subprocess.run([*command, "--rounds", "1", "--steps", "20"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ratio" in done.stdout

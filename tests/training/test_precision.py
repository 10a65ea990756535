"""What a CPU without bf16 cannot do is refused before the training; where it can, the numbers agree."""

import logging
from typing import Any

import pytest
import torch
from helpers import Train
from torch import nn

from torchatlas.commands.evaluate import evaluate
from torchatlas.errors import UserError
from torchatlas.training import precision as module
from torchatlas.training.precision import (
    computes_lstm,
    has_instructions,
    precision,
    precision_to_evaluate,
    require_precision,
)

TINY = ("trainer=cpu", "trainer.max_steps=2", "callbacks=default", "logger=none", "data.batch_size=8")


@pytest.mark.parametrize("mixed", ["bf16-mixed", "16-mixed"])
def test_an_lstm_is_refused_or_agrees_with_fp32(mixed: str) -> None:
    network, x = nn.LSTM(8, 8, batch_first=True), torch.randn(2, 5, 8)
    dtype = module.AUTOCAST[mixed]
    if not computes_lstm(dtype):
        with pytest.raises(UserError, match=f"trainer.precision={mixed} .* use trainer.precision=32-true$"):
            require_precision(nn.Sequential(network), mixed, "cpu")
        return
    require_precision(network, mixed, "cpu")
    with torch.autocast("cpu", dtype):
        rough, _ = network(x)
    exact, _ = network(x)
    assert (rough.float() - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("wanted", ["32-true", "64-true", "bf16-true", "16-true"])
def test_what_any_cpu_can_do_with_an_lstm(wanted: str) -> None:
    require_precision(nn.LSTM(8, 8), wanted, "cpu")
    dtype = {"64-true": torch.float64, **module.HALF}.get(wanted, torch.float32)
    assert nn.LSTM(8, 8).to(dtype)(torch.zeros(2, 2, 8, dtype=dtype))[0].isfinite().all()


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(
    "layer", [nn.GRU(4, 4), nn.RNN(4, 4), nn.LSTM(4, 4, proj_size=2), nn.LSTMCell(4, 4), nn.Linear(4, 4)], ids=repr
)
def test_other_layers_are_not_refused(layer: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "computes_lstm", lambda _: False)
    require_precision(layer, "bf16-mixed", "cpu")
    x = torch.zeros(2, 4) if isinstance(layer, nn.LSTMCell) else torch.zeros(2, 2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x)


def test_a_gpu_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "computes_lstm", lambda _: False)
    require_precision(nn.LSTM(4, 4), "bf16-mixed", "cuda")
    with pytest.raises(UserError):
        require_precision(nn.LSTM(4, 4), "bf16-mixed", torch.device("cpu"))


def test_the_trial_leaves_the_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    computes_lstm(torch.bfloat16)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("native", [True, False])
def test_emulation_is_said(native: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "has_instructions", lambda _: native)
    monkeypatch.setattr(module, "times_as_long", lambda *_: 0.5)
    with caplog.at_level(logging.WARNING):
        require_precision(nn.Linear(2, 2), "bf16-mixed", "cpu")
        require_precision(nn.Linear(2, 2), "32-true", "cpu")
    expected = "bf16 is emulated on this CPU and slower than fp32: trainer.precision=32-true is faster"
    assert caplog.messages == ([] if native else [expected])
    assert precision_to_evaluate("bf16-mixed", "cpu") == ("bf16-mixed" if native else "32-true")
    assert precision_to_evaluate("bf16-mixed", "cuda") == "bf16-mixed"
    assert precision_to_evaluate("64-true", "cpu") == "64-true"
    assert precision_to_evaluate("auto", "cpu") == precision("auto", "cpu") == "32-true"


@pytest.mark.parametrize(
    ("layer", "kind"), [(nn.Conv2d(2, 2, 3), "convolution"), (nn.Linear(2, 2), "matrix product")], ids=repr
)
@pytest.mark.parametrize("times", [0.5, 1.1, 3.0])
def test_what_is_slower_is_said(
    times: float, layer: nn.Module, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where torch believes that there are instructions, as with any AVX-512."""
    monkeypatch.setattr(module, "has_instructions", lambda _: True)
    monkeypatch.setattr(module, "times_as_long", lambda _, asked: times if asked == kind else 0.0)
    with caplog.at_level(logging.WARNING):
        require_precision(nn.Sequential(layer), "bf16-mixed", "cpu")
        require_precision(nn.Sequential(layer), "bf16-mixed", "cuda")
    expected = f"where a {kind} takes 3.0 times as long: trainer.precision=32-true is faster"
    assert [expected in message for message in caplog.messages] == [True] * (times == 3.0)


def test_the_measurement_is_made_once_and_leaves_the_random_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    module.times_as_long.cache_clear()
    before, asked = torch.get_rng_state(), []
    clock = module.time.perf_counter
    monkeypatch.setattr(module.time, "perf_counter", lambda: asked.append(0) or clock())
    for kind in ("convolution", "matrix product"):
        found = module.times_as_long(torch.bfloat16, kind)
        number = len(asked)
        assert 0 < found == module.times_as_long(torch.bfloat16, kind)
        assert len(asked) == number >= 12
    assert torch.equal(torch.get_rng_state(), before)


def test_training_an_lstm_in_bf16(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused before anything is computed, or trained."""
    arguments = ["model=lstm_lm", "model.dim=8", *TINY, "trainer.precision=bf16-mixed"]
    if computes_lstm(torch.bfloat16):
        assert (train(*arguments) / "metrics.json").exists()
        return
    with pytest.raises(SystemExit) as exit_:
        train(*arguments)
    assert exit_.value.code == 2
    assert "use trainer.precision=32-true" in capsys.readouterr().err


def test_a_run_in_bf16_is_evaluated_on_a_cpu(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """In fp32, where it would be emulated: a GPU's run has its figures on any machine."""
    folder = train("model.widths=[8]", *TINY, "trainer.precision=bf16-mixed")
    asked: list[Any] = []
    trainer = torch.autocast

    class Spied(trainer):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **options: Any) -> None:
            asked.append(options.get("dtype"))
            super().__init__(*args, **options)

    monkeypatch.setattr(torch, "autocast", Spied)
    assert evaluate(str(folder))["test/loss"] > 0
    assert (torch.bfloat16 in asked) is has_instructions(torch.bfloat16)

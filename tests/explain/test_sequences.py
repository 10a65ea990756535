"""What the gates of sequence networks do, and how far their gradients go."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import Train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchatlas.commands.explain import explain
from torchatlas.errors import UserError
from torchatlas.explain.sequence_subject import Sequences
from torchatlas.explain.sequences import draw_gates, gate_traces, gradient_by_distance, singular_values
from torchatlas.zoo import create_model


def test_gradient_by_distance_is_the_product_of_jacobians() -> None:
    """Near zero an Elman network is linear and the state U^d W x, so norms go with the powers of U."""
    network = create_model("rnn", in_channels=4, dim=4, num_classes=4)
    with torch.no_grad():
        network.layers.weight_ih_l0.copy_(torch.eye(4))
        network.layers.weight_hh_l0.copy_(0.5 * torch.eye(4))
        network.decoder.weight.copy_(torch.eye(4))
    norms = gradient_by_distance(network, 1e-4 * torch.randn(3, 12, 4))
    torch.testing.assert_close(norms, 0.5 ** torch.arange(12.0), rtol=1e-4, atol=0)
    with torch.no_grad():
        network.layers.weight_hh_l0.mul_(4)  # 2: it explodes
    norms = gradient_by_distance(network, 1e-9 * torch.randn(3, 12, 4))
    torch.testing.assert_close(norms, 2.0 ** torch.arange(12.0), rtol=1e-3, atol=0)


def test_gradient_by_distance_is_that_of_finite_differences() -> None:
    network = create_model("gru", in_channels=2, dim=5, num_classes=1).double()
    x = torch.randn(1, 6, 2, dtype=torch.float64)
    before = network.training
    norms = gradient_by_distance(network, x)
    assert network.training is before
    assert all(p.grad is None for p in network.parameters())
    for distance in (0, 3, 5):
        slopes = []
        for channel in range(2):
            shift = torch.zeros_like(x)
            shift[0, 5 - distance, channel] = 1e-6
            slopes.append(float((network(x + shift) - network(x - shift)).detach()) / 2e-6)
        assert float(norms[distance]) == pytest.approx(math.hypot(*slopes), rel=1e-4)


def test_gates_keep_a_gradient_alive_where_a_plain_network_loses_it() -> None:
    """With a forget gate that is open the cell's Jacobian is near one; the tanh network's shrinks."""
    x = torch.randn(8, 60, 3)
    lstm = create_model("lstm", in_channels=3, dim=16)
    lstm.layers.bias_ih_l0.data[16:32] = 6.0
    rnn = create_model("rnn", in_channels=3, dim=16)
    ratios = {}
    for name, network in (("lstm", lstm), ("rnn", rnn)):
        norms = gradient_by_distance(network, x)
        ratios[name] = float(norms[50] / norms[0])
    assert ratios["lstm"] > 100 * ratios["rnn"]


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_gate_traces_end_in_the_states_of_the_layers(name: str) -> None:
    network = create_model(name, in_channels=3, dim=5, depth=2)
    x = torch.randn(7, 3)
    traces = gate_traces(network.layers, x)
    out, _ = network.layers(x[None])
    torch.testing.assert_close(traces[-1]["h"], out[0])
    for trace in traces:
        for key, values in trace.items():
            assert values.shape == (7, 5)
            if key not in ("c", "h"):
                assert values.min() > 0
                assert values.max() < 1


def test_singular_values_of_orthogonal_matrices_are_one() -> None:
    values = singular_values(create_model("lstm", dim=12, depth=2).layers)
    assert len(values) == 8
    for v in values.values():
        torch.testing.assert_close(v, torch.ones(12))


def test_gates_of_two_directions_are_those_of_the_first_layer_only() -> None:
    network = create_model("gru", in_channels=2, dim=4, depth=2, bidirectional=True)
    with pytest.raises(UserError, match="one direction or one layer"):
        next(draw_gates(Sequences(network, {}, torch.randn(1, 9, 2), "", [])))
    assert len(singular_values(network.layers)) == 12


def tags(folder: Path) -> Iterator[str]:
    for path in folder.glob("events.out.tfevents.*.explain"):
        accumulator = EventAccumulator(str(path))
        accumulator.Reload()
        yield from accumulator.Tags()["images"]


def test_runs_are_explained(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tcn = train("model=tcn", "model.depth=2", "model.dim=4", "debug=one_batch", "trainer=cpu", "logger=none",
                "callbacks=default")  # fmt: skip
    folder = explain(str(tcn))
    found = json.loads((folder / "receptive_field.json").read_text())
    assert found["claimed_steps"] == 1 + 2 * 6 * 3
    assert found["causal"] is True
    assert {p.name for p in folder.glob("*.png")} == {"gradients.png", "receptive_field.png", "causality.png"}
    assert "gates is left out: the network has no recurrent layers" in capsys.readouterr().out
    with pytest.raises(UserError, match="there is no method 'gradcam'"):
        explain(str(tcn), methods=("gradcam",))
    with pytest.raises(UserError, match=r"layer=blocks does nothing .* for which explain takes no options: leave it"):
        explain(str(tcn), layer="blocks")
    with pytest.raises(UserError, match="input= names a text"):
        explain(str(tcn), input="a.txt")

    text = train("model=lstm_lm", "debug=one_batch", "trainer=cpu", "model.dim=8", "logger=none", "callbacks=default")
    (tmp_path / "a.txt").write_text("To be, or not to be")
    folder = explain(str(text), str(tmp_path / "a.txt"))
    assert {p.name for p in folder.glob("*.png")} == {
        "gradients.png", "gates-1.png", "gates-2.png", "singular_values.png", "causality.png"
    }  # fmt: skip
    assert set(tags(text)) == {f"explain/{p.stem}" for p in folder.glob("*.png")}
    assert len(json.loads((folder / "gradients.json").read_text())["norms"]["new weights"]) == len(
        "To be, or not to be"
    )
    assert explain(str(text), methods=("gates",)).is_dir()
    with pytest.raises(UserError, match="there is no file"):
        explain(str(text), "nowhere.txt")

"""rnn, lstm, gru, tcn and cnn1d: equations, padding, states, and what each kind of target gets."""

from typing import Any

import pytest
import torch
from torch import nn

from torchatlas.explain.sequences import readable_cells
from torchatlas.models.gru import GRUCell
from torchatlas.models.lstm import LSTMCell
from torchatlas.models.rnn import ElmanCell
from torchatlas.zoo import create_model

RECURRENT = ("rnn", "lstm", "gru")
NETWORKS = (*RECURRENT, "tcn", "cnn1d")
SMALL: dict[str, dict[str, Any]] = {
    **{name: {"dim": 6, "depth": 2} for name in RECURRENT},
    "tcn": {"dim": 6, "depth": 2, "kernel_size": 3},
    "cnn1d": {"widths": [6, 5], "kernel_sizes": [4, 3]},
}


def small(name: str, **arguments: Any) -> Any:
    return create_model(name, **{"in_channels": 3, "num_classes": 4, **SMALL[name], **arguments}).eval()


# --- one step


@pytest.mark.parametrize(
    ("ours", "torchs"),
    [(ElmanCell, nn.RNNCell), (LSTMCell, nn.LSTMCell), (GRUCell, nn.GRUCell)],
)
def test_cells_are_torchs(ours: Any, torchs: Any) -> None:
    """The same names, and with the same weights the same states and gradients over several steps."""
    cell, reference = ours(5, 7), torchs(5, 7)
    cell.load_state_dict(reference.state_dict())
    x = torch.randn(6, 3, 5)
    one = two = (torch.randn(3, 7), torch.randn(3, 7)) if ours is LSTMCell else torch.randn(3, 7)
    for t in range(6):
        one, two = cell(x[t], one), reference(x[t], two)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b)
    gradients = [
        torch.autograd.grad((state[0] if ours is LSTMCell else state).square().sum(), list(network.parameters()))
        for state, network in ((one, cell), (two, reference))
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_lstm_step_worked_example() -> None:
    """Gates f (.8, .9), i (.7, .6), g (.3, -.2), o (.9, .5), c_0 = 0: c (.21, -.12), h (.1862698, -.0597136)."""
    cell = LSTMCell(1, 2)
    gates = {"i": (0.7, 0.6), "f": (0.8, 0.9), "o": (0.9, 0.5)}
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
        g = torch.tensor([0.3, -0.2]).atanh()
        cell.bias_ih.copy_(torch.cat([torch.tensor(gates[k]).logit() if k != "g" else g for k in "ifgo"]))
    h, c = cell(torch.zeros(1, 1), (torch.zeros(1, 2), torch.zeros(1, 2)))
    torch.testing.assert_close(c[0], torch.tensor([0.21, -0.12]))
    torch.testing.assert_close(h[0], torch.tensor([0.1862698, -0.0597136]), atol=1e-6, rtol=0)


def test_peepholes_let_the_gates_see_the_cell() -> None:
    """Gers and Schmidhuber 2000: i and f see the old cell, o the new one; at zero they change nothing."""
    plain, cell = LSTMCell(3, 4), LSTMCell(3, 4, peepholes=True)
    cell.load_state_dict(plain.state_dict() | {"peepholes": torch.zeros(3, 4)})
    x, state = torch.randn(2, 3), (torch.randn(2, 4), torch.randn(2, 4))
    for a, b in zip(plain(x, state), cell(x, state), strict=True):
        assert torch.equal(a, b)
    p = torch.randn(3, 4)
    cell.load_state_dict(plain.state_dict() | {"peepholes": p})
    h, c = state
    a = x @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
    i, f, g = (a[:, :4] + p[0] * c).sigmoid(), (a[:, 4:8] + p[1] * c).sigmoid(), a[:, 8:12].tanh()
    new = f * c + i * g
    o = (a[:, 12:] + p[2] * new).sigmoid()
    torch.testing.assert_close(cell(x, state), (o * new.tanh(), new))


def test_gru_in_chos_form() -> None:
    """Reset before the matrix product: another function than torch's, the same one where the reset gate is open."""
    cho, torchs = GRUCell(3, 4, form="cho"), GRUCell(3, 4)
    torchs.load_state_dict(cho.state_dict())
    x, h = torch.randn(2, 3), torch.randn(2, 4)
    W, U, b = cho.weight_ih, cho.weight_hh, cho.bias_ih + cho.bias_hh
    r, z = (x @ W[:4].T + h @ U[:4].T + b[:4]).sigmoid(), (x @ W[4:8].T + h @ U[4:8].T + b[4:8]).sigmoid()
    n = (x @ W[8:].T + (r * h) @ U[8:].T + b[8:]).tanh()
    torch.testing.assert_close(cho(x, h), z * h + (1 - z) * n)
    assert not torch.allclose(cho(x, h), torchs(x, h))
    for cell in (cho, torchs):
        cell.bias_ih.data[:4] = 50.0
    torch.testing.assert_close(cho(x, h), torchs(x, h))
    with pytest.raises(ValueError, match="cho or torch"):
        GRUCell(3, 4, form="chung")


@pytest.mark.parametrize(("gates", "name"), [(1, "rnn"), (4, "lstm"), (3, "gru")])
def test_parameters_of_a_layer(gates: int, name: str) -> None:
    """For each gate d i + d² + 2 d, as torch.nn counts; with 128 inputs and 64 units: 99,328 of LSTM, 74,496 of GRU."""
    network = create_model(name, in_channels=128, dim=64, num_classes=10)
    assert sum(p.numel() for p in network.layers.parameters()) == gates * (64 * 128 + 64**2 + 2 * 64)


# --- the layers


@pytest.mark.parametrize("name", RECURRENT)
def test_fused_layers_are_the_readable_cells(name: str) -> None:
    """Step by step through all layers, on tokens and on real values, with the weights shared."""
    for arguments in ({}, {"vocab_size": 9}):
        network = small(name, targets="step", **arguments)
        (x,) = network.example_input(2)
        inputs = network.embedding(x) if network.vocab_size else x
        for cell in readable_cells(network.layers):
            h = torch.zeros(2, 6)
            state = (h, h) if name == "lstm" else h
            out = []
            for t in range(x.shape[1]):
                state = cell(inputs[:, t], state)
                out.append(state[0] if name == "lstm" else state)
            inputs = torch.stack(out, 1)
        torch.testing.assert_close(network(x), network.decoder(inputs))
    assert readable_cells(network.layers)[0].weight_ih is network.layers.weight_ih_l0


@pytest.mark.parametrize(
    ("name", "bidirectional"), [*((name, False) for name in NETWORKS), *((name, True) for name in RECURRENT)]
)
def test_padding_changes_nothing(name: str, bidirectional: bool) -> None:
    """A sequence alone, and the same one in a batch of longer ones with anything behind it."""
    network = small(name, **({"bidirectional": True} if bidirectional else {}))
    lengths = torch.tensor([5, 12, 1, 9])
    x = torch.randn(4, 12, 3)
    together = network(x, lengths)
    for i, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(together[i : i + 1], network(x[i : i + 1, :n]), rtol=1e-5, atol=1e-6)
    changed = x.clone()
    for i, n in enumerate(lengths.tolist()):
        changed[i, n:] = 100.0
    torch.testing.assert_close(network(changed, lengths), together, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(network(changed), network(x))


@pytest.mark.parametrize("name", RECURRENT)
def test_both_directions_are_read_to_their_ends(name: str) -> None:
    """The answer changes with the first and the last step, and equals torch's two final states."""
    network = small(name, bidirectional=True, depth=1)
    x = torch.randn(2, 7, 3)
    out, _ = network.layers(x)
    expected = network.decoder(torch.cat([out[:, -1, :6], out[:, 0, 6:]], 1))
    torch.testing.assert_close(network(x), expected)
    assert network.causal is False
    assert small(name).causal is True


@pytest.mark.parametrize("name", RECURRENT)
def test_goes_on_from_its_state(name: str) -> None:
    network = small(name, vocab_size=11, targets="step", depth=2)
    tokens = torch.randint(11, (2, 9))
    first, state = network.advance(tokens[:, :4])
    second, _ = network.advance(tokens[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), network(tokens))


@pytest.mark.parametrize("name", NETWORKS)
def test_each_kind_of_target(name: str) -> None:
    x, tokens = torch.randn(2, 9, 3), torch.randint(11, (2, 9))
    assert small(name)(x).shape == (2, 4)
    assert small(name, targets="horizon", horizon=5, out_channels=2)(x).shape == (2, 5, 2)
    assert small(name, targets="horizon", horizon=5, out_channels=2, quantiles=[0.1, 0.5, 0.9])(x).shape == (2, 5, 2, 3)
    if name == "cnn1d":
        with pytest.raises(ValueError, match="use tcn"):
            small(name, targets="step")
        return
    assert small(name, targets="step")(x).shape == (2, 9, 4)
    assert small(name, targets="step", vocab_size=11)(tokens).shape == (2, 9, 11)
    assert small(name, vocab_size=11)(tokens).shape == (2, 4)
    tied = small(name, targets="step", vocab_size=11, tied=True)
    assert tied(tokens).shape == (2, 9, 11)
    assert tied.decoder.weight is tied.embedding.weight
    free = small(name, targets="step", vocab_size=11)
    assert sum(p.numel() for p in free.parameters()) - sum(p.numel() for p in tied.parameters()) == 11 * 6
    with pytest.raises(ValueError, match="tied=false"):
        small(name, tied=True)
    with pytest.raises(ValueError, match="sequence, step or horizon"):
        small(name, targets="steps")


@pytest.mark.parametrize("name", RECURRENT)
def test_two_directions_cannot_forecast_or_generate(name: str) -> None:
    with pytest.raises(ValueError, match="seen the future and cannot forecast: use bidirectional=false"):
        small(name, bidirectional=True, targets="horizon")
    with pytest.raises(ValueError, match="cannot generate"):
        small(name, bidirectional=True, targets="step", vocab_size=5)


@pytest.mark.parametrize("name", RECURRENT)
def test_dropout_is_between_layers_and_not_through_time(name: str) -> None:
    """With all but certain dropout the second layer sees nothing of the first, whose states are as ever."""
    network = small(name, depth=2, targets="step", dropout=0.999).train()
    x = torch.randn(1, 6, 3)
    torch.manual_seed(0)
    top, state = network.layers(x)
    alone = small(name, depth=1, targets="step")
    alone.layers.load_state_dict({k: v for k, v in network.layers.state_dict().items() if k.endswith("l0")})
    h = state[0] if name == "lstm" else state
    expected = alone.layers(x)[1]
    torch.testing.assert_close(h[0], (expected[0] if name == "lstm" else expected)[0])
    blind = torch.zeros_like(x[..., :1]).expand(-1, -1, 6)
    second = small(name, in_channels=6, depth=1, targets="step")
    weights = network.layers.state_dict()
    second.layers.load_state_dict({k: weights[k.replace("l0", "l1")] for k in second.layers.state_dict()})
    torch.testing.assert_close(top, second.layers(blind)[0])


# --- TCN


def test_tcn_sees_exactly_its_receptive_field() -> None:
    """Two convolutions a block: 1 + 2 (k-1) (2^L - 1) steps; k 3, L 4 gives 61, measured by gradients."""
    network = small("tcn", targets="step", depth=4, kernel_size=3)
    assert network.receptive_field == 61
    for p in network.parameters():  # all taps open, so that no ReLU hides a step
        torch.nn.init.uniform_(p, 0.1, 0.2)
    x = torch.rand(1, 80, 3, requires_grad=True)
    network(x)[0, 70].sum().backward()
    assert x.grad is not None
    seen = x.grad.abs().sum(2)[0].nonzero()[:, 0]
    assert (int(seen.min()), int(seen.max())) == (70 - 60, 70)


def test_tcn_block_is_the_equation() -> None:
    """F(s) = Σ f(i) x_{s - d i}, written out with loops, weight-normalised: w = g v / |v|."""
    network = small("tcn", depth=2, kernel_size=3, targets="step")
    block = network.blocks[1]
    conv = block.conv1
    v, g = conv.parametrizations.weight.original1, conv.parametrizations.weight.original0
    w = g * v / v.flatten(1).norm(dim=1)[:, None, None]
    x = torch.randn(1, 6, 10)
    expected = torch.zeros(1, 6, 10)
    for s in range(10):
        for i in range(3):
            if s - 2 * i >= 0:
                expected[0, :, s] += w[:, :, 2 - i] @ x[0, :, s - 2 * i]
        expected[0, :, s] += conv.bias
    torch.testing.assert_close(conv(x), expected)
    y = torch.relu(block.conv2(torch.relu(conv(x))))
    torch.testing.assert_close(block(x), torch.relu(y + x))


def test_sizes_that_cannot_be() -> None:
    for name, arguments in (("lstm", {"dim": 0}), ("tcn", {"kernel_size": 0}), ("gru", {"dropout": 1.0})):
        with pytest.raises(ValueError, match="must be positive"):
            small(name, **arguments)
    with pytest.raises(ValueError, match="one pair a block"):
        small("cnn1d", widths=[3])
    with pytest.raises(ValueError, match="positive numbers of values"):
        small("lstm", targets="horizon", horizon=0)

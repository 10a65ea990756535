"""The MLP's choices: activations, initial weights and normalisations against worked numbers and their papers."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchatlas.models.mlp import ACTIVATIONS, INITIALIZATIONS, MLP, NORMALIZATIONS
from torchatlas.zoo import create_model


def linear(network: nn.Module) -> list[nn.Linear]:
    return [m for m in network.modules() if isinstance(m, nn.Linear)]


# Worked by hand or with a calculator; GELU is the exact form, SELU at -1 is -1.05070099 x 1.67326324 (1 - 1/e).
VALUES = {
    "sigmoid": {-1.0: 0.268941, 0.0: 0.5},
    "tanh": {1.0: 0.761594},
    "relu": {-1.0: 0.0, 2.0: 2.0},
    "leaky_relu": {-1.0: -0.01, 2.0: 2.0},
    "elu": {-1.0: -0.632121, 2.0: 2.0},
    "selu": {-1.0: -1.111331, 1.0: 1.050701},
    "gelu": {-1.0: -0.158655, 1.0: 0.841345, 2.0: 1.9545, -0.752: -0.169971},
    "silu": {1.0: 0.731059},
}


def unit(activation: str, x: float, *, first: float = 1.0, second: float = 1.0) -> tuple[MLP, Tensor]:
    """A network of one input, one hidden unit and one output without biases, and its output."""
    network = MLP(image_size=1, widths=(1,), num_classes=1, activation=activation)
    for layer, weight in zip(linear(network), (first, second), strict=True):
        nn.init.constant_(layer.weight, weight)
    return network, network(torch.full((1, 1), x))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_worked_values(activation: str) -> None:
    for x, y in VALUES[activation].items():
        assert unit(activation, x)[1].item() == pytest.approx(y, abs=2e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_torchs_functions_of_that_name(activation: str) -> None:
    network = MLP(widths=(5, 4), activation=activation).eval()
    x = torch.randn(3, 1, 8, 8)
    h, (one, two, last) = x.flatten(1), linear(network)
    for layer in (one, two):
        h = getattr(torch if activation in ("sigmoid", "tanh") else F, activation)(
            F.linear(h, layer.weight, layer.bias)
        )
    assert torch.equal(network(x), F.linear(h, last.weight, last.bias))


def test_forward_pass_worked_example() -> None:
    """Input (1, .5), ReLU: h = (.45, .3), logit .2, sigmoid .5498, cross-entropy for y = 1 .5981."""
    network = MLP(in_channels=2, image_size=1, widths=(2,), num_classes=1)
    one, two = linear(network)
    one.weight.data = torch.tensor([[0.5, -0.3], [0.1, 0.8]])
    one.bias.data = torch.tensor([0.1, -0.2])
    two.weight.data = torch.tensor([[0.6, -0.4]])
    two.bias.data = torch.tensor([0.05])
    logit = network(torch.tensor([[1.0, 0.5]])).detach()
    assert float(logit.sigmoid()) == pytest.approx(0.5498, abs=5e-5)
    assert float(F.binary_cross_entropy_with_logits(logit, torch.ones(1, 1))) == pytest.approx(0.5981, abs=5e-5)


def test_backpropagation_worked_example() -> None:
    """Input 2, w1 .5, w2 1, sigmoid, L = (1 - y)²: y .731059, dL/dw2 -.393224, dL/dw1 -.211508, and a step of .1."""
    network, y = unit("sigmoid", 2.0, first=0.5)
    loss = (1 - y).square().sum()
    loss.backward()
    one, two = (layer.weight for layer in linear(network))
    assert y.item() == pytest.approx(0.731059, abs=1e-6)
    assert loss.item() == pytest.approx(0.072329, abs=1e-6)
    assert two.grad.item() == pytest.approx(-0.393224, abs=1e-6)
    assert one.grad.item() == pytest.approx(-0.211508, abs=1e-6)
    torch.optim.SGD([one, two], lr=0.1).step()
    assert one.item() == pytest.approx(0.521151, abs=1e-6)
    assert two.item() == pytest.approx(1.039322, abs=1e-6)


def test_default_network_draws_what_it_always_drew() -> None:
    """ReLU and He, in torch's order of random numbers: trained results and records depend on the bits."""
    torch.manual_seed(3)
    network = MLP(widths=(12, 7), num_classes=5)
    torch.manual_seed(3)
    layers = [nn.Linear(64, 12), nn.Linear(12, 7), nn.Linear(7, 5)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.normal_(layers[-1].weight, std=0.01)
    for ours, theirs in zip(linear(network), layers, strict=True):
        assert torch.equal(ours.weight, theirs.weight)
        assert not ours.bias.any()
    keys = ["layers.1.weight", "layers.1.bias", "layers.4.weight", "layers.4.bias", "layers.7.weight", "layers.7.bias"]
    assert list(network.state_dict()) == keys


# Of a layer with 400 inputs and 100 outputs: the standard deviation, and the largest value that the rule can draw.
FAN_IN, FAN_OUT = 400, 100
RULES = {
    "zeros": (0.0, 0.0),
    "normal": (0.01, math.inf),
    "uniform": (FAN_IN**-0.5 / 3**0.5, FAN_IN**-0.5),
    "xavier": ((2 / (FAN_IN + FAN_OUT)) ** 0.5, (6 / (FAN_IN + FAN_OUT)) ** 0.5),
    "he": ((2 / FAN_IN) ** 0.5, math.inf),
    "lecun": (FAN_IN**-0.5, math.inf),
    "orthogonal": (FAN_IN**-0.5, 1.0),
}


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_initial_weights_have_the_variance_of_their_rule(initialization: str) -> None:
    """40,000 weights: the standard error of the deviation is a third of a percent of it."""
    network = MLP(image_size=20, widths=(FAN_OUT,), num_classes=50, initialization=initialization)
    hidden, last = linear(network)
    w, (std, largest) = hidden.weight.detach(), RULES[initialization]
    assert float(w.std()) == pytest.approx(std, rel=0.02)
    assert abs(float(w.mean())) <= 5 * std / w.numel() ** 0.5
    assert float(w.abs().max()) <= largest
    if initialization in ("uniform", "xavier"):
        assert float(w.abs().max()) >= 0.99 * largest
    if initialization in ("normal", "he", "lecun"):  # the fourth moment of a normal distribution
        assert float(((w / std) ** 4).mean()) == pytest.approx(3, rel=0.1)
    assert not hidden.bias.any()
    assert not last.bias.any()
    assert float(last.weight.detach().std()) == pytest.approx(0.0 if initialization == "zeros" else 0.01, rel=0.05)


def test_orthogonal_rows_are_orthonormal() -> None:
    wide, tall = linear(MLP(image_size=3, widths=(5, 20), initialization="orthogonal"))[:2]
    torch.testing.assert_close(wide.weight @ wide.weight.T, torch.eye(5))
    torch.testing.assert_close(tall.weight.T @ tall.weight, torch.eye(5))


def spread_after_fifty_layers(gain: float, **choices: str) -> float:
    """Root mean square of the 50th hidden layer's output, that of the input being 1, with weights times `gain`."""
    network = MLP(image_size=16, widths=(256,) * 50, **choices).eval()
    for layer in linear(network)[:-1]:
        layer.weight.data *= gain
    with torch.no_grad():
        return float(network.layers[:-1](torch.randn(20, 1, 16, 16)).square().mean().sqrt())


def test_he_keeps_the_scale_of_a_deep_relu_network() -> None:
    """Over 50 layers of 256 units; half of it dies and double explodes, by a factor of 2^50."""
    assert 0.2 < spread_after_fifty_layers(1) < 3
    assert spread_after_fifty_layers(0.5) < 1e-13
    assert spread_after_fifty_layers(2) > 1e13


def test_lecun_keeps_the_scale_of_a_deep_selu_network() -> None:
    """Klambauer et al. 2017: mean 0 and variance 1 attract; a ReLU with the same weights loses 2^(-1/2) a layer."""
    assert 0.7 < spread_after_fifty_layers(1, activation="selu", initialization="lecun") < 1.4
    assert spread_after_fifty_layers(1, initialization="lecun") < 1e-6


def test_units_that_start_from_zeros_stay_equal() -> None:
    network = MLP(widths=(6,), num_classes=3, activation="sigmoid", initialization="zeros")
    before = [p.clone() for p in network.parameters()]
    x, y = torch.randn(20, 1, 8, 8), torch.randint(3, (20,))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    hidden, last = linear(network)
    assert not any(map(torch.equal, before, network.parameters()))  # it learns, as one unit
    torch.testing.assert_close(hidden.weight, hidden.weight[:1].expand(6, -1), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(last.weight, last.weight[:, :1].expand(-1, 6), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_normalization_comes_before_the_activation(normalization: str) -> None:
    """Of each unit over the batch, or of each sample over the units: mean 0 and variance 1, then ReLU."""
    network = MLP(widths=(32,), normalization=normalization)
    x = 5 + 3 * torch.randn(64, 1, 8, 8)
    hidden = linear(network)[0]
    h = F.linear(x.flatten(1), hidden.weight, hidden.bias)
    if normalization != "none":
        axis = 0 if normalization == "batch" else 1
        h = (h - h.mean(axis, keepdim=True)) / (h.var(axis, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(network.layers[:-1](x), h.clamp(min=0), rtol=1e-4, atol=1e-5)
    assert (hidden.bias is None) is (
        normalization == "batch"
    )  # batch normalisation takes the mean, and so a bias, away


def test_normalization_worked_example() -> None:
    """Of 1, 2, 3, 4, as four units of a sample or as one unit of four samples."""
    expected = torch.tensor([-1.341635, -0.447212, 0.447212, 1.341635])
    values = torch.arange(1.0, 5.0)
    layer = NORMALIZATIONS["layer"](4)(values[None])[0]
    torch.testing.assert_close(layer, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(NORMALIZATIONS["batch"](1)(values[:, None])[:, 0], expected, rtol=0, atol=1e-6)


def test_selu_has_alpha_dropout() -> None:
    """Which keeps mean 0 and variance 1, where plain dropout multiplies the variance by 1 / (1 - p)."""
    network = MLP(widths=(4,), activation="selu", dropout=0.2)
    assert [type(m) for m in network.modules() if "Dropout" in type(m).__name__] == [nn.AlphaDropout]
    h = network.layers[3](torch.randn(400, 400))
    assert float(h.mean()) == pytest.approx(0, abs=0.02)
    assert float(h.std()) == pytest.approx(1, abs=0.02)
    assert any(type(m) is nn.Dropout for m in MLP(dropout=0.2).modules())


def test_rows_are_taken_as_images_of_one_pixel() -> None:
    network = MLP(in_channels=3, image_size=1)
    rows = torch.randn(5, 3)
    assert torch.equal(network(rows), network(rows.view(5, 3, 1, 1)))


def test_the_head_is_the_last_layer() -> None:
    for normalization in NORMALIZATIONS:
        network = MLP(widths=(4, 4), num_classes=3, normalization=normalization)
        (head,) = network.heads
        assert network.get_submodule(head).out_features == 3


@pytest.mark.parametrize("key", ["activation", "initialization", "normalization"])
def test_unknown_choices_are_refused_by_name(key: str) -> None:
    known = {"activation": ACTIVATIONS, "initialization": INITIALIZATIONS, "normalization": NORMALIZATIONS}[key]
    with pytest.raises(ValueError, match=f"{key}=swish must be one of {', '.join(known)}"):
        create_model("mlp", **{key: "swish"})
    for choice in known:
        with torch.device("meta"):
            assert create_model("mlp", **{key: choice})(torch.empty(2, 1, 28, 28, device="meta")).shape == (2, 10)


def test_mlp_is_matrix_products() -> None:
    network = create_model("mlp", widths=[5, 4], num_classes=3, image_size=2).eval()
    x = torch.randn(6, 1, 2, 2)
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    h = x.flatten(1)
    for layer in linear[:-1]:
        h = (h @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(network(x), h @ linear[-1].weight.T + linear[-1].bias)

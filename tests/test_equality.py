"""Networks against independent implementations, after copying weights."""

import re
import runpy

import pytest
import torch
from conftest import REPOSITORY
from torch import nn

from torchatlas.models.lenet5 import ScaledTanh
from torchatlas.zoo import create_model, list_models, model_card

parity = runpy.run_path(str(REPOSITORY / "scripts" / "parity.py"))
ONE_OF_EACH = (
    "alexnet", "densenet121", "efficientnet_b0", "googlenet", "mobilenet_v2", "resnet18", "resnext50_32x4d",
    "vgg11_bn",
)  # fmt: skip


@pytest.mark.parametrize("name", parity["names"]())
def test_equal_to_torchvision(name: str) -> None:
    """The same names and shapes; with the same weights the same logits in eval and gradients in train."""
    found = parity["compare"](name, image_size=64, with_gradients=name in ONE_OF_EACH)
    assert found["parameters"] == found["theirs"]
    assert found["logits"] <= 1e-5
    assert found.get("gradients", 0) <= 1e-4


def test_the_parity_table_has_every_network() -> None:
    text = (REPOSITORY / "docs" / "parity.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \|", text, re.MULTILINE)
    assert [row[0] for row in rows] == parity["names"]()
    assert {*parity["names"](), *parity["OTHERS"]} == set(list_models())
    others = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| .* tests/", text, re.MULTILINE)
    assert others == [(name, f"{model_card(name).parameters:,}") for name in list_models() if name in parity["OTHERS"]]
    for name, ours, theirs in rows:
        assert ours == theirs == f"{model_card(name).parameters:,}"


def test_mlp_is_matrix_products() -> None:
    network = create_model("mlp", widths=[5, 4], num_classes=3, image_size=2).eval()
    x = torch.randn(6, 1, 2, 2)
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    h = x.flatten(1)
    for layer in linear[:-1]:
        h = (h @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(network(x), h @ linear[-1].weight.T + linear[-1].bias)


def test_lenet5_layers_and_activation() -> None:
    """LeCun et al. 1998: 156 parameters in C1, 48,120 in C5, 10,164 in F6; f(1) = 1."""
    network = create_model("lenet5")
    counts = [sum(p.numel() for p in m.parameters()) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert counts == [156, 2416, 48120, 10164, 850]
    torch.testing.assert_close(ScaledTanh()(torch.tensor([1.0, -1.0])), torch.tensor([1.0, -1.0]), rtol=1e-4, atol=0)


def test_lstm_lm_is_the_papers_equations() -> None:
    """Zaremba et al. 2014, section 3.1, written out token by token."""
    network = create_model("lstm_lm", vocab_size=11, dim=6, depth=2, dropout=0.0)
    tokens = torch.randint(11, (3, 7))
    h = torch.zeros(2, 3, 6)
    c = torch.zeros(2, 3, 6)
    logits = []
    for t in range(7):
        x = network.embedding.weight[tokens[:, t]]
        for layer in range(2):
            p = {n: getattr(network.lstm, f"{n}_l{layer}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
            gates = x @ p["weight_ih"].T + h[layer] @ p["weight_hh"].T + p["bias_ih"] + p["bias_hh"]
            i, f, g, o = gates.chunk(4, 1)
            c[layer] = f.sigmoid() * c[layer] + i.sigmoid() * g.tanh()
            h[layer] = o.sigmoid() * c[layer].tanh()
            x = h[layer].clone()
        logits.append(x @ network.decoder.weight.T + network.decoder.bias)
    torch.testing.assert_close(network(tokens), torch.stack(logits, 1))


def test_lstm_lm_goes_on_from_its_state() -> None:
    network = create_model("lstm_lm", vocab_size=11, dim=6, depth=2, dropout=0.0).eval()
    tokens = torch.randint(11, (2, 9))
    first, state = network.advance(tokens[:, :4])
    second, _ = network.advance(tokens[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), network(tokens))

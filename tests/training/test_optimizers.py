"""Optimisers, and a learning rate for each layer."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from helpers import tiny_network
from torch import nn

from torchatlas.run.build import instantiate
from torchatlas.training import optimizers
from torchatlas.training.optimizers import Muon, build, layers
from torchatlas.zoo import create_model, options


def test_a_block_is_a_layer() -> None:
    network = create_model("resnet18", num_classes=10, image_size=32, width=4)
    blocks = [block for group in (network.layer1, network.layer2, network.layer3, network.layer4) for block in group]
    expected = [[*network.conv1.parameters(), *network.bn1.parameters()], *(list(b.parameters()) for b in blocks)]
    expected.append(list(network.fc.parameters()))
    assert [[id(p) for p in layer] for layer in layers(network)] == [[id(p) for p in layer] for layer in expected]


@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.AdamW, Muon])
def test_each_layer_has_its_learning_rate(cls: Any) -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 3), nn.Linear(3, 2))
    optimizer = build(partial(cls, lr=0.1, weight_decay=0.01), network, layer_decay=0.5)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for layer, rate in zip(network, (0.025, 0.025, 0.05, 0.1), strict=True):
        assert {rates[id(p)] for p in layer.parameters()} == {rate}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 8


def test_heads_are_the_last_layer() -> None:
    network = create_model("googlenet", num_classes=10, image_size=32, width=8)
    last = {id(p) for p in layers(network)[-1]}
    assert {id(p) for p in network.fc.parameters()} | {id(p) for p in network.aux1.parameters()} <= last
    assert not {id(p) for p in network.inception5b.parameters()} & last


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

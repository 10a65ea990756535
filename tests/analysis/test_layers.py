"""The table of layers: sizes against torch and torchvision, and which layer fails."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from helpers.receptive_field import by_name, conv, parallel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from torchatlas.analysis.layers import Row, failing_layer, layer_table
from torchatlas.zoo import create_model, list_models

PUBLISHED = (
    "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "vgg11", "vgg16_bn", "alexnet", "densenet121",
    "googlenet", "mobilenet_v2", "efficientnet_b0",
)  # fmt: skip


def of_zoo(name: str, **sizes: Any) -> list[Row]:
    with torch.device("meta"):
        network: Any = create_model(name, **sizes)
        return layer_table(network, network.example_input(1))


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name in list_models()])
def test_totals_are_those_of_torchvision(name: str) -> None:
    meta = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta  # type: ignore[attr-defined]
    rows = of_zoo(name)
    assert sum(row.macs for row in rows) / 1e9 == pytest.approx(meta["_ops"], abs=0.005)
    if name != "googlenet":  # whose auxiliary heads torchvision does not count
        assert sum(row.parameters for row in rows) == meta["num_params"]


class Ops(nn.Module):
    """Products without layers, and layers that torch computes in one piece."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 4, 3, stride=2, groups=1)
        self.conv = nn.Conv1d(4, 6, 3, groups=2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.bilinear = nn.Parameter(torch.randn(8, 8))

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        y = self.conv(self.up(x).flatten(2)[..., :16])
        tokens = self.encoder(self.attention(tokens, tokens, tokens)[0])
        tokens = F.scaled_dot_product_attention(tokens, tokens @ self.bilinear, tokens)
        return torch.einsum("btc,bds->bd", tokens, y)


def test_products_without_a_layer_are_counted() -> None:
    network = Ops().eval()
    rows = layer_table(network, (torch.randn(2, 3, 4, 4), torch.randn(2, 5, 8)))
    with torch.device("meta"):
        twin = Ops().eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            twin(torch.randn(2, 3, 4, 4), torch.randn(2, 5, 8))
    assert 2 * sum(row.macs for row in rows) == counter.get_total_flops()
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"proj_size": 3}])
def test_recurrent_layers(make: Any, options: dict[str, Any]) -> None:
    if "proj_size" in options and make is not nn.LSTM:
        pytest.skip("only LSTMs have projections")
    x = torch.randn(5, 2, 4, device="meta" if "proj_size" in options else "cpu")  # oneDNN has no projections
    (row,) = layer_table(make(4, 6, **options, device=x.device), (x,))
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        make(4, 6, **options).eval()(torch.randn(5, 2, 4))
    assert 2 * row.macs == counter.get_total_flops() > 0


def test_shared_and_unused_layers() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.decoder = nn.Embedding(7, 5), nn.Linear(5, 7, bias=False)
            self.decoder.weight = self.embedding.weight
            self.cell, self.unused = nn.LSTMCell(5, 5), nn.Linear(5, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            state = None
            for x in self.embedding(tokens).unbind(1):
                state = self.cell(x, state)
            return self.decoder(state[0])

    network = Tied()
    rows = layer_table(network, (torch.randint(7, (1, 4)),))
    assert [(row.name, row.parameters) for row in rows] == [
        ("embedding", 35), ("cell", 240), ("decoder", 0), ("unused", 12)
    ]  # fmt: skip
    assert by_name(rows)["cell"].macs == 4 * 200, "four calls are one row"
    assert by_name(rows)["decoder"].macs == 35
    assert by_name(rows)["unused"].output is None
    assert all(row.field is None and row.stride is None for row in rows), "tokens have no pixels"


def test_table_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(conv(1, 2, 3), nn.Dropout(0.5), conv(2, 2, 3)).train()
    network[2].eval()
    modes = [module.training for module in network.modules()]
    tensors = {key: value.clone() for key, value in network.state_dict().items()}
    state = torch.get_rng_state()
    layer_table(network, (torch.zeros(2, 1, 8, 8),))
    with pytest.raises(RuntimeError):
        layer_table(network, (torch.zeros(2, 2, 8, 8),))
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, tensors[key]) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_failing_layer() -> None:
    with torch.device("meta"):
        features = nn.Sequential(*[nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.MaxPool2d(2)) for _ in range(3)])
        network = nn.Sequential(features, nn.Flatten(), nn.Linear(1, 2))
        assert failing_layer(network, (torch.empty(1, 1, 8, 8),)) is None
        assert failing_layer(network, (torch.empty(1, 1, 4, 4),)) == "0.2.1 (MaxPool2d) gets 1x1x1"
        assert failing_layer(network, (torch.empty(1, 1, 16, 16),)) == "2 (Linear) gets 4"
        assert failing_layer(network, (torch.empty(1, 3, 8, 8),)) == "0.0.0 (Conv2d) gets 3x8x8"
        assert failing_layer(parallel(nn.Identity(), join=lambda xs: xs[0] @ xs[0]), (torch.empty(1, 2, 3),)) == (
            "Parallel gets 2x3"
        )
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())

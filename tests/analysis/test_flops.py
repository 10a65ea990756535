"""Operations, and bytes of optimisers and activations, equal to hand counts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from torchatlas.analysis.flops import count_flops, count_saved, first_rows, optimizer_bytes, peak_flops
from torchatlas.analysis.layers import layer_table
from torchatlas.analysis.memory import storage_bytes
from torchatlas.models.mlp import MLP
from torchatlas.zoo import create_model


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

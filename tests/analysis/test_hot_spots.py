"""Operations of a step in words, and the layers that they belong to."""

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from torchatlas.analysis.hot_spots import hot_spots, layer_of, sentence, words_for


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ("aten::convolution_backward", "convolution backward"), ("aten::mkldnn_convolution", "convolution"),
        ("aten::native_batch_norm_backward", "batch norm backward"), ("aten::native_batch_norm", "batch norm"),
        ("aten::native_layer_norm_backward", "normalisation backward"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "attention backward"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::mm", "matrix products"), ("aten::_fused_adamw_", "optimiser"),
        ("aten::_log_softmax", "softmax and loss"),
        ("aten::threshold_backward", "activations"), ("aten::gelu_backward", "activations"), ("aten::copy_", "copies"),
        ("aten::add_", "sums"), ("aten::addmm", "matrix products"), ("something of mine", "others"),
    ],
)  # fmt: skip
def test_each_operation_has_its_words(operation: str, words: str) -> None:
    assert words_for(operation) == words


def test_shares_and_layers_of_a_real_step() -> None:
    """A wide convolution beside a tiny one: shares are of all time, and the wide one is named first."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 64, 5, padding=2), nn.Flatten(), nn.Linear(16384, 3)
    )
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        for _ in range(3):
            network(torch.randn(8, 3, 16, 16)).sum().backward()
    weights = {name: tuple(p.shape) for name, p in network.named_parameters()}
    spots = hot_spots(seen.key_averages(group_by_input_shape=True), weights)
    assert sum(spot.share for spot in spots) == pytest.approx(1)
    assert [spot.share for spot in spots] == sorted((spot.share for spot in spots), reverse=True)
    found = {spot.words: spot for spot in spots}
    assert found["convolution backward"].layers[0][0] == "2"
    assert found["convolution"].layers[0][0] == "2"
    assert found["matrix products"].layers[0][0] == "4"
    assert all(sum(share for _, share in spot.layers) <= spot.share + 1e-9 for spot in spots)
    assert f"{spots[0].words} {100 * spots[0].share:.0f} %" in sentence(spots)


def test_layers_of_one_shape_are_told_together() -> None:
    weights = {"a.weight": (8, 4, 3, 3), "b.weight": (8, 4, 3, 3), "c.weight": (8, 4), "c.bias": (8,)}
    assert layer_of([[2, 4, 9, 9], [8, 4, 3, 3], []], weights) == "a and 1 like it"
    assert layer_of([[2, 4], [4, 8]], weights) == "c"
    assert layer_of([[8], [], [2, 4, 9, 9]], weights) == ""

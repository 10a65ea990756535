"""The table of layers of every network."""

import pytest
import torch
from helpers import tiny_network
from helpers.receptive_field import compare
from torch.utils.flop_counter import FlopCounterMode

from torchatlas.analysis.layers import layer_table


def test_multiply_accumulates_are_half_of_torchs_flops(model_name: str) -> None:
    network = tiny_network(model_name).eval()
    inputs = network.example_input(2)
    if hasattr(network, "no_graph"):  # it leaves padding out where there are values: sentences without any
        inputs = inputs[:-1]
    rows = layer_table(network, inputs)
    with torch.device("meta"):
        twin = tiny_network(model_name).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            twin(*twin.example_input(2)[: len(inputs)])
    assert 2 * sum(row.macs for row in rows) == counter.get_total_flops()
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in network.parameters())


def test_receptive_fields_of_the_zoo(model_name: str) -> None:
    network = tiny_network(model_name)
    inputs = network.example_input(1)
    if inputs[0].ndim != 4 or len(inputs) > 1:
        pytest.skip("its inputs are no images, or more than images")
    compare(model_name, network, inputs[0])

"""How far sequence networks see."""

from typing import Any

import torch

from torchatlas.explain.reach import Reach, draw_causality, draw_receptive_field
from torchatlas.explain.sequence_subject import Sequences
from torchatlas.zoo import create_model


def test_reach_of_a_tcn_is_its_receptive_field() -> None:
    network = create_model("tcn", in_channels=2, dim=6, depth=3, kernel_size=3)
    for p in network.parameters():
        torch.nn.init.uniform_(p, 0.1, 0.3)
    reach = Reach(network, torch.rand(1, 60, 2), 50)
    assert network.receptive_field == 1 + 2 * 2 * 7
    assert (reach.first, reach.last) == (50 - network.receptive_field + 1, 50)


def test_the_receptive_field_of_a_long_tcn_is_measured() -> None:
    """Longer than any batch of changed sequences, and than what one would want to draw."""
    for kernel_size, depth in ((4, 3), (7, 8)):
        network = create_model("tcn", in_channels=1, dim=8, depth=depth, kernel_size=kernel_size)
        for p in network.parameters():
            torch.nn.init.uniform_(p, 0.1, 0.3)
        found = next(draw_receptive_field(Sequences(network, {}, torch.randn(1, 9, 1), "", [])))[1]
        assert found["measured_steps"] == found["claimed_steps"] == 1 + 2 * (kernel_size - 1) * (2**depth - 1)
        assert found["causal"] is True


def test_causality_is_measured() -> None:
    """A network that looks both ways is found out."""

    def verdict(bidirectional: bool) -> Any:
        network = create_model("gru", in_channels=2, dim=4, bidirectional=bidirectional)
        return next(draw_causality(Sequences(network, {}, torch.randn(1, 9, 2), "", [])))[1]

    assert verdict(False)["causal"] is True
    assert verdict(True)["causal"] is False

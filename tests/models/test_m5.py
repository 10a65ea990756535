"""M5 has the sizes of its paper."""

import pytest
import torch

from torchatlas.zoo import create_model


def test_m5_has_the_sizes_of_table_1() -> None:
    network, sizes = create_model("m5"), []
    for block in network.blocks:
        block[0].register_forward_hook(lambda *args: sizes.append(tuple(args[2].shape[1:])))
        block.register_forward_hook(lambda *args: sizes.append(tuple(args[2].shape[1:])))
    network.eval()(*network.example_input(1))
    assert sizes == [(128, 8000), (128, 2000), (128, 2000), (128, 500), (256, 500), (256, 125), (512, 125), (512, 32)]


@pytest.mark.parametrize("length", [4, 5, 63, 64, 65, 1001])
def test_m5_takes_waveforms_of_any_length(length: int) -> None:
    assert create_model("m5", width=4).eval()(torch.randn(2, length, 1)).shape == (2, 10)

"""Sizes that a perceptron cannot have."""

import pytest

from torchatlas.models.perceptron import Perceptron


def test_network_refuses_sizes_that_cannot_be() -> None:
    for sizes in ({"num_classes": 1}, {"in_channels": 0}, {"image_size": 0}):
        with pytest.raises(ValueError, match="positive sizes and two classes"):
            Perceptron(**sizes)

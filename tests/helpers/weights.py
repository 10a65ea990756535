"""How loaded weights are judged."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchatlas.errors import UserError
from torchatlas.weights import load_weights
from torchatlas.weights.report import Preprocessing, Report

State = dict[str, Tensor]
IMAGENET = Preprocessing(224, 256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")


def randomised(network: nn.Module) -> nn.Module:
    """Statistics of batch normalisation that a wrong map would be seen by."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return network.eval()


def copy_of(network: nn.Module) -> State:
    return {key: value.clone() for key, value in network.state_dict().items()}


def changed(network: nn.Module, before: State) -> list[str]:
    return [key for key, value in network.state_dict().items() if not torch.equal(value, before[key])]


@torch.no_grad()
def assert_equal_logits(ours: nn.Module, theirs: nn.Module, size: int, tolerance: float = 1e-5) -> None:
    x = torch.randn(2, 3, size, size)
    expected = theirs.eval()(x)
    assert (ours.eval()(x) - expected).abs().max() <= tolerance * expected.abs().max()


def assert_whole(report: Report, network: nn.Module, source: str) -> None:
    assert (report.missing, report.unexpected, report.reshaped) == ([], [], [])
    assert report.loaded == len(network.state_dict())
    assert report.source == source


def refuses(network: nn.Module, weights: Any, words: str, **options: Any) -> None:
    before = copy_of(network)
    with pytest.raises(UserError, match=words) as error:
        load_weights(network, weights, **options)
    assert "\n" not in str(error.value)
    assert changed(network, before) == []

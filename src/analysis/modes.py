"""A network in eval mode for a while."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Eval mode; each module has its own mode again afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def predicting(network: nn.Module) -> Iterator[None]:
    """Eval mode without gradients."""
    # Not inference_mode, whose tensors a network that keeps them could not train with.
    with evaluating(network), torch.no_grad():
        yield

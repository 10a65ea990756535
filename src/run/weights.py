"""Weights with which a new run begins."""

import re

import torch

from ..data.base import DataModule
from ..weights import Report, load_weights


def of_network(weights: str, model: str) -> str:
    """`torchvision:IMAGENET1K_V2` with the network's name in it, which a saved config then tells."""
    source, _, rest = weights.partition(":")
    return f"torchvision:{model}/{rest}" if source == "torchvision" and re.fullmatch(r"[A-Z\d_]+", rest) else weights


def begin_with(weights: str, network: torch.nn.Module, data: DataModule) -> tuple[Report, list[str]]:
    """Load weights into a new network; the data are preprocessed as the weights expect it, unless the user said how.

    Args:
        weights: see `torchatlas.load_weights`.
        network: it is changed.
        data: they may refuse weights that were trained with other tokens.

    Returns:
        What was loaded and what was not, and the same as lines for the log.
    """
    data.require_weights(weights)
    report = load_weights(network, weights)
    lines = report.describe().splitlines()
    if (found := report.preprocessing) is not None:
        lines += data.preprocess_as(found.mean, found.std, found.image_size)
    return report, lines

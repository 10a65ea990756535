"""Small Vision Transformers and images for them."""

from typing import Any

import torch
from torch import Tensor, nn

SMALL: dict[str, Any] = {"image_size": 32, "patch_size": 8, "dim": 16, "depth": 3, "heads": 2, "hidden": 24}


def disturbed(network: nn.Module) -> Any:
    """Weights where a wrong map would be seen, in eval mode."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.eval()


def images(size: int = 32, batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, size, size)

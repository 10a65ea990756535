"""The library diffusers, without which tests are skipped, and a network to sample with."""

import warnings

import pytest
import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers")


# --- the samplers


class Toy(nn.Module):
    """Answers that depend on the image and the step, so that errors of a sampler show."""

    in_channels, image_size = 1, 4

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return 0.3 * x + 0.2 * torch.sin(5 * x) + 0.1 * (t / 1000)[:, None, None, None]

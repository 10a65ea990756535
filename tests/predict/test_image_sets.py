"""Images of a network's own."""

from typing import Any

import torch
from torch import Tensor, nn

from torchatlas.predict.image_sets import generate


class Maker(nn.Module):
    """A task that makes noise."""

    name, conditional = "elbo", False

    def sample(self, n: int, *, seed: int = 0, first: int = 0, labels: Tensor | None = None, **_: Any) -> Tensor:
        return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed + first))


def test_no_two_samples_share_their_noise() -> None:
    made = [torch.cat(list(generate(Maker(), 10, seed=seed, batch=3, labels=None, options={}))) for seed in (0, 1)]
    assert [len(x) for x in made] == [10, 10]
    assert len({image.numpy().tobytes() for x in made for image in x}) == 20

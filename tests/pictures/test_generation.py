"""Samples, reconstructions, interpolations and the plane of two latent dimensions."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from torchatlas.loggers.base import At, RunLogger
from torchatlas.models.vae import VAE
from torchatlas.pictures.generation import GenerationPictures, plane
from torchatlas.tasks.elbo import ELBO


def batch_of(n: int = 6, channels: int = 1) -> tuple[Tensor, Tensor]:
    return torch.rand(n, channels, 8, 8), torch.arange(n) % 3


# --- what is drawn


class Pictures(RunLogger):
    """A logger that keeps them."""

    title = "pictures"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.drawn: dict[str, Any] = {}

    def picture(self, tag: str, figure: Any, at: At) -> None:
        self.drawn[tag] = figure


@pytest.mark.parametrize("latent_dim", [2, 5])
def test_pictures(latent_dim: int, tmp_path: Path) -> None:
    """Samples of the same noise, the plane of two dimensions or walks along more; the random state stays."""
    written = Pictures(tmp_path)
    task = ELBO(VAE(latent_dim=latent_dim))
    x, labels = batch_of(40)
    data = SimpleNamespace(
        splits={"val": _Split(x, labels)}, transform=lambda batch: batch[:2], classes=["a", "b", "$c"],
        in_channels=1, image_size=8,
    )  # fmt: skip
    trainer: Any = SimpleNamespace(datamodule=data, loggers=[written], is_global_zero=True, global_step=1, callbacks=[])
    before = torch.get_rng_state()
    GenerationPictures(samples=16).show(trainer, task.train(), "val", 1)
    assert task.training
    assert torch.equal(torch.get_rng_state(), before)
    walks = {"validation/plane"} if latent_dim == 2 else {"validation/latent walk"}
    others = {f"validation/{name}" for name in ("reconstructions", "samples", "interpolations", "latent map")}
    assert set(written.drawn) == walks | others
    drawn = torch.as_tensor(written.drawn["validation/samples"].axes[0].images[0].get_array().data)
    torch.testing.assert_close(drawn[:8, :8], task.sample(16)[0, 0])
    torch.testing.assert_close(drawn[9:17, 27:35], task.sample(16)[7, 0])


class _Split:
    def __init__(self, x: Tensor, labels: Tensor) -> None:
        self.x, self.labels = x, labels

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor]:
        return self.x[key[1]], self.labels[key[1]]


def test_plane_is_the_priors_quantiles() -> None:
    z = plane(4, True).view(4, 4, 2)
    expected = Normal(0.0, 1.0).icdf(torch.tensor([0.125, 0.375, 0.625, 0.875]))
    torch.testing.assert_close(z[2, :, 0], expected)  # to the right
    torch.testing.assert_close(z[:, 1, 1], expected.flip(0))  # upwards

"""The VAE against that of pytorch/examples."""

import math

import torch
from torch import Tensor

from torchatlas.models.vae import VAE
from torchatlas.tasks.elbo import ELBO


def test_vae_is_the_one_of_pytorch_examples() -> None:
    """Its equations with our weights: fc1, fc21 and fc22, fc3 and fc4, and z of the same noise."""
    network = VAE(image_size=28, widths=(400,), latent_dim=20).train()
    x, parameters = torch.rand(3, 1, 28, 28), dict(network.named_parameters())

    def affine(h: Tensor, name: str) -> Tensor:
        return h @ parameters[f"{name}.weight"].T + parameters[f"{name}.bias"]

    torch.manual_seed(4)
    h = affine(x.view(-1, 784), "encoder.1").clamp(min=0)
    mean, log_variance = affine(h, "mean"), affine(h, "log_variance")
    z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    expected = affine(affine(z, "decoder.0").clamp(min=0), "decoder.2").view_as(x)
    torch.manual_seed(4)
    for found, right in zip(network(x), (expected, mean, log_variance), strict=True):
        torch.testing.assert_close(found, right)
    loss = ELBO(network).eval().step((x, torch.zeros(3)))["loss"]
    assert abs(float(loss.detach()) / (784 * math.log(2)) - 1) < 0.02  # a new network knows nothing of the pixels

"""Variational autoencoders: bounds against closed forms."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from torchatlas.errors import UserError
from torchatlas.models.autoencoder import ConvAutoencoder
from torchatlas.models.vae import VAE, ConvVAE
from torchatlas.tasks.autoencoding import Autoencoding
from torchatlas.tasks.base import Task
from torchatlas.tasks.elbo import ELBO, kl
from torchatlas.training.durations import Plan


def batch_of(n: int = 6, channels: int = 1) -> tuple[Tensor, Tensor]:
    return torch.rand(n, channels, 8, 8), torch.arange(n) % 3


# --- the bound


def test_kl_and_likelihoods_are_those_of_torch_distributions() -> None:
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl(mean, log_variance), expected)
    x, output = torch.rand(4, 2, 8, 8), torch.randn(4, 4, 8, 8)
    mean, log_variance = output.chunk(2, 1)
    learnt = ELBO(VAE(variance="pixel", in_channels=2), likelihood="gaussian")
    fixed = ELBO(VAE(), likelihood="gaussian", sigma=0.3)
    binary = ELBO(VAE())
    cases = (
        (learnt.nll(output, x), Normal(mean, (0.5 * log_variance).exp()).log_prob(x)),
        (fixed.nll(mean, x), Normal(mean, 0.3).log_prob(x)),
        (binary.nll(mean, x.round()), Bernoulli(logits=mean).log_prob(x.round())),
    )
    for found, log_p in cases:
        torch.testing.assert_close(found, -log_p.sum((1, 2, 3)), rtol=1e-5, atol=1e-3)


def linear_gaussian() -> tuple[ELBO, Tensor, Tensor]:
    """A task with a linear decoder, x = Wz + b + σε, and the exact posterior as encoder; data; their log p(x).

    The columns of W are orthogonal, so that the posterior has a diagonal covariance, 1 / (1 + |w_j|² / σ²).
    """
    task = ELBO(VAE(image_size=3, widths=(), latent_dim=2), likelihood="gaussian", sigma=0.5).eval()
    network: Any = task.network
    basis, _ = torch.linalg.qr(torch.randn(9, 2))
    w, b = basis * torch.tensor([1.5, 0.7]), torch.randn(9)
    precision = 1 + w.square().sum(0) / 0.25
    with torch.no_grad():
        network.decoder[0].weight.copy_(w)
        network.decoder[0].bias.copy_(b)
        network.mean.weight.copy_((w / 0.25 / precision).T)
        network.mean.bias.copy_(-network.mean.weight @ b)
        network.log_variance.weight.zero_()
        network.log_variance.bias.copy_(-precision.log())
    marginal = MultivariateNormal(b, w @ w.T + 0.25 * torch.eye(9))
    x = marginal.sample((40,))
    return task, x.view(-1, 1, 3, 3), marginal.log_prob(x)


@torch.no_grad()
def test_bounds_of_a_linear_gaussian_model() -> None:
    """With the exact posterior each sample's weight is p(x); with a wider one the bounds rise with K towards log p."""
    task, x, log_p = linear_gaussian()
    network: Any = task.network
    for samples in (1, 7):
        torch.testing.assert_close(task.importance_bound(x, samples), log_p, rtol=1e-4, atol=1e-4)
    network.log_variance.bias += 0.7
    many = x.repeat(1000, 1, 1, 1)
    figures = task.step((many, None))
    assert float(task.importance_bound(many, 1).mean()) == pytest.approx(-float(figures["loss"]), abs=0.03)
    bounds = [float(task.importance_bound(x, samples).mean()) for samples in (1, 10, 2000)]
    assert bounds[0] < bounds[1] < bounds[2]
    assert bounds[2] == pytest.approx(float(log_p.mean()), abs=0.01)
    assert float(log_p.mean() + figures["loss"]) > 0.1  # so that the differences above mean something


def test_training_has_beta_and_free_bits_and_evaluation_has_not() -> None:
    batch = batch_of()
    network = VAE()
    for options, β in (({"beta": 4.0}, 4.0), ({"beta": 0.0}, 0.0)):
        out = ELBO(network, **options).train().step(batch)
        torch.testing.assert_close(out["loss"], out["metrics/reconstruction"] + β * out["metrics/kl"])
    task = ELBO(network, free_bits=2.0, beta=3.0)  # a new network's dimensions have less than 2 nats
    out = task.train().step(batch)
    counted = out["loss"] - out["metrics/reconstruction"]
    torch.testing.assert_close(counted, torch.tensor(3.0 * 2 * network.latent_dim), rtol=1e-5, atol=0)
    (of_encoder,) = torch.autograd.grad(counted, network.mean.weight)
    assert of_encoder.abs().max() < 1e-5
    out = task.eval().step(batch)
    torch.testing.assert_close(out["loss"], out["metrics/reconstruction"] + out["metrics/kl"])

    # λ is of the mean over the batch: one dimension above it, three below
    mean = torch.zeros(2, 4)
    mean[0, 0] = 4.0  # ½ 16 = 8 nats of one of two images
    stub = nn.Module()
    stub.forward = lambda x: (torch.zeros(2, 1, 8, 8), mean, torch.zeros(2, 4))  # type: ignore[method-assign]
    stub.variance = "fixed"  # type: ignore[assignment]
    stub.encode = stub.decode = stub.latent_dim = 4  # type: ignore[assignment]
    out = ELBO(stub, free_bits=0.5).train().step((torch.zeros(2, 1, 8, 8), None))
    assert float(out["loss"] - out["metrics/reconstruction"]) == pytest.approx(4 + 3 * 0.5, rel=1e-5)


def test_beta_rises_on_a_straight_line(monkeypatch: pytest.MonkeyPatch) -> None:
    task = ELBO(VAE(), beta=2.0, beta_warmup="50%")
    monkeypatch.setattr(Task, "configure_optimizers", lambda self: setattr(self, "plan", Plan(5, 1, 20)))
    task.configure_optimizers()
    assert task.warmup_steps == 10
    for step, β in ((0, 0.0), (5, 1.0), (10, 2.0), (99, 2.0)):
        task._trainer = SimpleNamespace(global_step=step)  # type: ignore[assignment]
        assert task.beta_now == pytest.approx(β)


def test_bits_per_dim_and_active_units() -> None:
    """N(x; x, σ²) has log2(σ √(2π)) bits a pixel, and 8 for its 256 levels; logits of 0 have one bit a binary pixel."""
    σ, zero, means = 0.1, torch.tensor(0.0), torch.tensor([0.0, 1.0, 2.0])
    nll = 64 * math.log(σ * math.sqrt(2 * math.pi))
    codes = {"mean_code": means, "squared_code": means.square() + torch.tensor([0.5, 0.02, 0.005])}
    task = ELBO(VAE(), likelihood="gaussian", sigma=σ)
    found = task.derive({"reconstruction": torch.tensor(nll), "kl": zero, **codes})
    assert float(found["bits_per_dim"]) == pytest.approx(8 + math.log2(σ * math.sqrt(2 * math.pi)), rel=1e-5)
    assert float(found["active_units"]) == 2
    assert set(found) == {"reconstruction", "kl", "active_units", "bits_per_dim"}
    grey = {"reconstruction": torch.tensor(64 * math.log(2)), "kl": zero}
    assert float(ELBO(VAE(), binarize=True).derive(dict(grey))["bits_per_dim"]) == pytest.approx(1)
    assert "bits_per_dim" not in ELBO(VAE()).derive(dict(grey))


def test_binarized_pixels_have_the_mean_of_the_grey_values() -> None:
    seen: list[Tensor] = []
    network = VAE()
    task = ELBO(network, binarize=True).eval()
    network.encode = lambda x: (seen.append(x), (torch.zeros(len(x), 4), torch.zeros(len(x), 4)))[1]  # type: ignore
    x = torch.tensor([0.0, 0.25, 1.0]).repeat(3000, 1, 8, 22)[..., :64].reshape(3000, 1, 64, 8)[:, :, :8]
    task.step((x, None))
    assert set(seen[0].unique().tolist()) == {0.0, 1.0}
    assert (seen[0].mean(0) - x.mean(0)).abs().max() < 0.05


# --- what is drawn


@pytest.mark.parametrize(
    "task",
    [
        ELBO(VAE()),
        ELBO(ConvVAE(variance="shared"), likelihood="gaussian"),
        Autoencoding(ConvAutoencoder(), error="bce", corruption="gaussian"),
    ],
)
def test_evaluation_repeats_and_pictures_leave_no_trace(task: Any) -> None:
    network = task.network
    x = torch.rand(6, network.in_channels, 8, 8)
    task.eval()
    task.restart_noise()
    first, other = (task.step((x, None))["loss"].item() for _ in range(2))
    task.restart_noise()
    assert task.step((x, None))["loss"].item() == first != other
    task.train()
    before = torch.get_rng_state()
    made, z = task.reconstruct(x), task.latents(x)
    line = task.interpolate(x[0], x[1], 5)
    assert z.shape == (6, network.latent_dim)
    torch.testing.assert_close(line[[0, -1]], made[:2])
    torch.testing.assert_close(line[2], task.images((z[:1] + z[1:2]) / 2)[0])
    pictures = [made, line]
    if hasattr(task, "sample"):
        samples = task.sample(5, seed=3)
        torch.testing.assert_close(task.sample(2, seed=3, first=3), samples[3:])
        assert not torch.equal(task.sample(5, seed=4), samples)
        pictures.append(samples)
        with pytest.raises(UserError, match="no sampler"):
            task.sample(2, sampler="ddim")
    assert all(part.shape[1:] == x.shape[1:] and part.min() >= 0 and part.max() <= 1 for part in pictures)
    assert not any(part.requires_grad for part in pictures)
    assert network.training
    assert torch.equal(torch.get_rng_state(), before)

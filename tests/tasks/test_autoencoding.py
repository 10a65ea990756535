"""Autoencoders: contraction, sparsity, denoising, and a run beside principal components."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Bernoulli, kl_divergence

from torchatlas.models.autoencoder import Autoencoder, ConvAutoencoder
from torchatlas.models.vae import VAE
from torchatlas.storage.files import read_metrics
from torchatlas.tasks.autoencoding import Autoencoding, squared_jacobian
from torchatlas.tasks.elbo import ELBO


def batch_of(n: int = 6, channels: int = 1) -> tuple[Tensor, Tensor]:
    return torch.rand(n, channels, 8, 8), torch.arange(n) % 3


# --- autoencoders


@pytest.mark.parametrize("build", [Autoencoder, ConvAutoencoder])
def test_contraction_is_the_squared_norm_of_the_jacobian(build: Callable[..., Any]) -> None:
    network = build(in_channels=2, activation="tanh", code="sigmoid")
    x = torch.rand(3, 2, 8, 8, requires_grad=True)
    found = squared_jacobian(x, network.encode(x)).detach()
    for i in range(3):
        jacobian: Any = torch.autograd.functional.jacobian(network.encode, x[i : i + 1])
        assert float(found[i]) == pytest.approx(float(jacobian.square().sum()), rel=1e-4)
    batch = (x.detach(), None)
    plain = Autoencoding(network).train().step(batch)["loss"]
    out = Autoencoding(network, contraction=2.0).train().step(batch)
    torch.testing.assert_close(out["loss"] - plain, 2 * found.mean(), rtol=1e-4, atol=1e-6)
    out["metrics/contraction_penalty"].backward()
    for name, parameter in network.encoder.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_contraction_of_one_logistic_layer_has_a_closed_form() -> None:
    """Σ_j (h_j (1 - h_j))² Σ_i W_ji² (Rifai et al. 2011, section 3)."""
    network = Autoencoder(widths=(), code="sigmoid")
    x = torch.rand(5, 1, 8, 8, requires_grad=True)
    h = network.encode(x)
    encoder: Any = network.encoder
    expected = (h * (1 - h)).square() @ encoder[1].weight.square().sum(1)
    torch.testing.assert_close(squared_jacobian(x, h), expected)


def test_sparsity() -> None:
    network = Autoencoder(code="sigmoid")
    x, _ = batch_of()
    rate = network.encode(x).mean(0)
    expected = kl_divergence(Bernoulli(torch.tensor(0.2)), Bernoulli(rate)).sum()
    task = Autoencoding(network, sparsity="kl", sparsity_target=0.2, sparsity_weight=0.5).train()
    out = task.step((x, None))
    torch.testing.assert_close(out["metrics/sparsity_penalty"], 0.5 * expected)
    torch.testing.assert_close(out["loss"], F.mse_loss(network(x), x) + 0.5 * expected)
    torch.testing.assert_close(task.eval().step((x, None))["loss"], F.mse_loss(network(x), x))
    signed = Autoencoder()
    out = Autoencoding(signed, sparsity="l1", sparsity_weight=1.0).train().step((x, None))
    torch.testing.assert_close(out["metrics/sparsity_penalty"], signed.encode(x).abs().sum() / len(x))


def test_denoising_is_judged_by_the_clean_image() -> None:
    """Nothing done to a masked input leaves the squares of the hidden pixels, and clean inputs without an error."""
    network = Autoencoder()
    network.forward = lambda x: x  # type: ignore[method-assign]
    x = torch.rand(400, 1, 8, 8)
    out = Autoencoding(network, corruption="masking", corruption_level=0.25).eval().step((x, None))
    assert float(out["metrics/mse"]) == 0
    assert out["loss"] == out["metrics/denoised_mse"] == out["metrics/corrupted_mse"]
    assert float(out["loss"]) == pytest.approx(0.25 * float(x.square().mean()), rel=0.03)
    out = Autoencoding(network, corruption="gaussian", corruption_level=0.4).train().step((x, None))
    assert float(out["loss"]) == pytest.approx(0.16, rel=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Autoencoding(Autoencoder(), sparsity="kl"), "model.code=sigmoid"),
        (lambda: Autoencoding(Autoencoder(), corruption="blur"), "none, gaussian, masking"),
        (lambda: Autoencoding(nn.Identity()), "no encoder and decoder"),
        (lambda: Autoencoder(code="step"), "linear, relu, sigmoid, tanh"),
        (lambda: VAE(variance="learnt"), "fixed, shared, pixel"),
        (lambda: ELBO(VAE(variance="shared")), "task.likelihood=gaussian"),
        (lambda: ELBO(VAE(), likelihood="gaussian", binarize=True), "bernoulli"),
        (lambda: ELBO(VAE(), beta_warmup="soon"), "task.beta_warmup=soon"),
    ],
)
def test_mistakes_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_run_beside_principal_components(train: Callable[..., Path]) -> None:
    """The baseline of a split is the error of as many components of the training split."""
    from sklearn.decomposition import PCA

    from torchatlas.data.images.digits import Digits

    folder = train(
        "model=autoencoder", "data=digits", "model.widths=[16]", "model.latent_dim=5", "duration=2st", "logger=none"
    )
    data = Digits(in_channels=1, image_size=8, num_classes=10, val_size=144)
    splits = {name: x.flatten(1).numpy() / 255 for name, (x, _) in data.read_splits().items()}
    pca = PCA(5).fit(splits["train"])
    metrics = read_metrics(folder)
    for kind, split in (("final", "val"), ("test", "test")):
        x = splits[split]
        error = ((pca.inverse_transform(pca.transform(x)) - x) ** 2).mean()
        assert metrics[kind][f"{split}/pca_mse"] == pytest.approx(float(error), rel=1e-3)

"""Autoencoders and variational autoencoders: bounds against closed forms, codes against principal components."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from torchatlas.errors import UserError
from torchatlas.models.autoencoder import Autoencoder, ConvAutoencoder
from torchatlas.models.vae import VAE, ConvVAE
from torchatlas.pictures.generation import GenerationPictures, plane
from torchatlas.storage.files import read_metrics
from torchatlas.tasks.autoencoding import Autoencoding, squared_jacobian
from torchatlas.tasks.base import Task
from torchatlas.tasks.elbo import ELBO, kl
from torchatlas.training.durations import Plan


def batch_of(n: int = 6, channels: int = 1) -> tuple[Tensor, Tensor]:
    return torch.rand(n, channels, 8, 8), torch.arange(n) % 3


# --- the networks


@pytest.mark.parametrize("build", [ConvVAE, ConvAutoencoder])
def test_an_image_that_does_not_halve_is_refused_with_the_layer_named(build: Callable[..., nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"encoder\.4 \(Conv2d, stride 2\) gets 7x7.* 24 or 32"):
        build(image_size=28, channels=(4, 4, 4))
    for size in (24, 32):
        network = build(image_size=size, channels=(4, 4, 4))
        x = torch.rand(2, 3, size, size)
        output = network(x)
        assert (output[0] if isinstance(output, tuple) else output).shape == x.shape


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


class Pictures:
    """In place of TensorBoard's writer."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}

    def add_figure(self, tag: str, figure: Any, step: int) -> None:
        self.figures[tag] = figure


@pytest.mark.parametrize("latent_dim", [2, 5])
def test_pictures(latent_dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of the same noise, the plane of two dimensions or walks along more; the random state stays."""
    written = Pictures()
    monkeypatch.setattr("torchatlas.pictures.generation.writer_of", lambda _: written)
    task = ELBO(VAE(latent_dim=latent_dim))
    x, labels = batch_of(40)
    data = SimpleNamespace(
        splits={"val": _Split(x, labels)}, transform=lambda batch: batch[:2], classes=["a", "b", "$c"],
        in_channels=1, image_size=8,
    )  # fmt: skip
    trainer: Any = SimpleNamespace(datamodule=data)
    before = torch.get_rng_state()
    GenerationPictures(samples=16).draw(trainer, task.train(), "val", 1)
    assert torch.equal(torch.get_rng_state(), before)
    walks = {"validation/plane"} if latent_dim == 2 else {"validation/latent walk"}
    others = {f"validation/{name}" for name in ("reconstructions", "samples", "interpolations", "latent map")}
    assert set(written.figures) == walks | others
    drawn = torch.as_tensor(written.figures["validation/samples"].axes[0].images[0].get_array().data)
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


# --- autoencoders


def test_the_linear_autoencoder_spans_the_principal_components() -> None:
    """Least squares of x̂ = g(f(x)) by L-BFGS, and scikit-learn's components: the same error, no angle between."""
    from sklearn.decomposition import PCA

    x = (torch.randn(80, 9) @ torch.diag(torch.linspace(2, 0.2, 9)) @ torch.randn(9, 9) + 1).double()
    network = Autoencoder(image_size=3, widths=(), latent_dim=3, activation="linear").double()
    optimizer = torch.optim.LBFGS(
        network.parameters(), max_iter=150, history_size=50, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )
    images = x.view(-1, 1, 3, 3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (network(images) - images).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    pca = PCA(3).fit(x.numpy())
    error = ((pca.inverse_transform(pca.transform(x.numpy())) - x.numpy()) ** 2).mean()
    assert closure().item() == pytest.approx(error, rel=1e-6)
    decoder: Any = network.decoder
    span, _ = torch.linalg.qr(decoder[0].weight.detach())
    cosines = torch.linalg.svdvals(span.T @ torch.from_numpy(pca.components_.T))  # of the principal angles
    assert cosines.min() > 1 - 1e-6


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

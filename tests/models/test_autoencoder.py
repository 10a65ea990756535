"""Autoencoders: codes against principal components, sizes that do not halve."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchatlas.models.autoencoder import Autoencoder, ConvAutoencoder
from torchatlas.models.vae import ConvVAE

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

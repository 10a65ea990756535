"""Autoencoding: an image through a narrow code and back."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..analysis.modes import predicting
from ..metrics.figures import Figure, Reports
from ..models.contract import Coding, Variational
from .base import MakeOptimizer, MakeSchedule
from .image_making import ImageMaking
from .losses import LossFunction, chosen

NOISE_SEED = 0  # of evaluation
MOST = 10_000  # training images from which the principal components are computed, and the numbers that they have
NUMBERS = 2**25
AT_ONCE = 256  # images that are decoded together


class LatentTask(ImageMaking):
    """What tasks share whose network turns an image into a code of few numbers and a code into an image.

    A subclass implements `code` and `picture`, of a batch each. What is drawn for people is computed here in eval mode,
    without gradients, and without a trace in the global random state or in the network's mode.
    """

    def code(self, x: Tensor) -> Tensor:
        """Codes `b d` of inputs `b c h w`."""
        raise NotImplementedError

    def picture(self, z: Tensor) -> Tensor:
        """Images `b c h w` of codes `b d`, from 0 to 1."""
        raise NotImplementedError

    def __init__(self, network: nn.Module, *arguments: Any, **common: Any) -> None:
        super().__init__(network, *arguments, **common)
        if not isinstance(network, Coding):
            raise ValueError(
                f"{type(network).__name__} has no encoder and decoder: use a network that has, as in model=vae"
            )

    @property
    def coding(self) -> Coding:
        """The network, as what it was found to be."""
        return cast(Coding, self.network)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.restart_noise()

    def restart_noise(self) -> None:
        """The same noise in each epoch of evaluation, so that its figures repeat; another on each process."""
        rank = 0 if self._trainer is None else self.trainer.global_rank
        self.noise = torch.Generator().manual_seed(NOISE_SEED + rank)

    def on_validation_epoch_start(self) -> None:
        self.restart_noise()

    def on_test_epoch_start(self) -> None:
        self.restart_noise()

    def taken(self, values: Tensor) -> Tensor:
        """Values on the device and with the precision of the network's weights."""
        return values.to(next(self.network.parameters()))

    def latents(self, x: Tensor) -> Tensor:
        """Codes `b d` of inputs `b c h w`; of a network that gives a distribution, its mean."""
        with predicting(self.network):
            return torch.cat([self.code(self.taken(part)).float() for part in x.split(AT_ONCE)])

    def images(self, z: Tensor) -> Tensor:
        """Images `n c h w` from 0 to 1 of codes `n d`."""
        with predicting(self.network):
            return torch.cat([self.picture(self.taken(part)).float().clamp(0, 1) for part in z.split(AT_ONCE)])

    def reconstruct(self, x: Tensor) -> Tensor:
        """Inputs `b c h w` through their codes and back."""
        return self.images(self.latents(x))

    def interpolate(self, a: Tensor, b: Tensor, steps: int) -> Tensor:
        """Images `steps c h w` on the straight line between the codes of two inputs `c h w`."""
        first, last = self.latents(torch.stack([a, b]))
        return self.images(torch.lerp(first, last, torch.linspace(0, 1, steps, device=first.device)[:, None]))


class Autoencoding(LatentTask):
    """Give the input back.

    Network: x `b c h w` -> x̂ of the same shape; with `encode`, `decode` and `latent_dim`. Batch: (x, ...), pixels from
    0 to 1. The loss is the error of x̂, averaged over pixels and images, and in training the penalties. Figures: loss;
    in evaluation mse, the squared error of undisturbed inputs, beside pca_mse, that of as many principal components of
    the training split (of at most 10,000 of its images; by scikit-learn, at the first evaluation, in seconds); of
    disturbed inputs denoised_mse, beside corrupted_mse, which is that of doing nothing.

    Args:
        network, optimizer, schedule: see `Task`.
        error: mse, the squared error, or bce, the cross-entropy with grey values as probabilities in nats, for which
            the network's output are logits.
        loss: one in place of the error, in evaluation too, of outputs and pixels in float32; see `losses`.
        corruption: what is done to the input that has to be given back clean (Vincent, Larochelle, Bengio and Manzagol
            2008, "Extracting and Composing Robust Features with Denoising Autoencoders", ICML): none, gaussian (noise
            with a standard deviation of `corruption_level`) or masking (each pixel is 0 with that probability).
        corruption_level: from 0; of masking at most 1.
        sparsity: none; kl, Σ_j KL(ρ || ρ̂_j) of Bernoulli variables, with ρ̂_j the mean of code j over the batch (Ng
            2011, "Sparse autoencoder", CS294A lecture notes, section 3), which needs model.code=sigmoid; or l1, the
            mean over the batch of Σ_j |z_j|.
        sparsity_weight: coefficient of this penalty.
        sparsity_target: ρ.
        contraction: coefficient of the mean over the batch of the squared Frobenius norm of the code's Jacobian,
            ‖∂z/∂x‖²_F (Rifai, Vincent, Muller, Glorot and Bengio 2011, "Contractive Auto-Encoders", ICML, eq. 1),
            computed exactly for any encoder, by a backward pass for each of its `latent_dim` outputs.
        common: L1 penalty of the weights and so on, see `Task`.

    Raises:
        ValueError: a network without encoder and decoder, an unknown word, or a number out of range.
    """

    name = "autoencoding"
    takes_loss = True
    reports: ClassVar[Reports] = {
        "mse": Figure("lower", headline=True, tabled=True),
        "pca_mse": Figure("lower", tabled=True),
        "denoised_mse": Figure("lower", tabled=True),
        "corrupted_mse": Figure("lower", tabled=True),
    }

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        error: Literal["mse", "bce"] = "mse",
        corruption: Literal["none", "gaussian", "masking"] = "none",
        corruption_level: float = 0.3,
        sparsity: Literal["none", "kl", "l1"] = "none",
        sparsity_weight: float = 0.1,
        sparsity_target: float = 0.05,
        contraction: float = 0.0,
        loss: LossFunction | None = None,
        **common: Any,
    ) -> None:
        super().__init__(network, optimizer, schedule, **common)
        if isinstance(network, Variational):
            raise ValueError(f"{type(network).__name__} gives distributions of codes: use task=elbo")
        for key, value, known in (
            ("error", error, ("mse", "bce")),
            ("corruption", corruption, ("none", "gaussian", "masking")),
            ("sparsity", sparsity, ("none", "kl", "l1")),
        ):
            if value not in known:
                raise ValueError(f"task.{key}={value} must be one of {', '.join(known)}")
        if corruption_level < 0 or (corruption == "masking" and corruption_level > 1):
            raise ValueError(f"task.corruption_level={corruption_level} must not be negative, nor over 1 of masking")
        if sparsity_weight < 0 or contraction < 0 or not 0 < sparsity_target < 1:
            raise ValueError(
                f"task.sparsity_weight={sparsity_weight} and task.contraction={contraction} must not be negative, and "
                f"task.sparsity_target={sparsity_target} must be between 0 and 1"
            )
        if sparsity == "kl" and self.claims.code != "sigmoid":
            raise ValueError("task.sparsity=kl is of codes between 0 and 1: use model.code=sigmoid or task.sparsity=l1")
        self.chosen_loss = chosen(loss, "numbers")
        if loss is not None and error != "mse":
            raise ValueError(f"task.error={error} and task.loss are each the loss: leave one of them out")
        self.error, self.corruption, self.corruption_level = error, corruption, corruption_level
        self.sparsity, self.sparsity_weight, self.sparsity_target = sparsity, sparsity_weight, sparsity_target
        self.contraction = contraction
        self.components: Any = None  # scikit-learn's principal components, once they are computed
        self.pca: dict[str, float] = {}  # their squared error on a split
        self.restart_noise()

    def step(self, batch: Any) -> dict[str, Tensor]:
        x = batch[0]
        given = x if self.corruption == "none" else self.corrupted(x)
        if not self.training:
            output = self.network(x)
            out = {"metrics/mse": self.squared(output, x)}
            if given is not x:
                output = self.network(given)
                out |= {"metrics/denoised_mse": self.squared(output, x), "metrics/corrupted_mse": F.mse_loss(given, x)}
            return {"loss": self.distance(output, x), **out}
        if self.sparsity == "none" and not self.contraction:
            return {"loss": self.distance(self.network(given), x)}
        if self.contraction:
            given = given.detach().requires_grad_()
        z = self.coding.encode(given)
        loss, out = self.distance(self.coding.decode(z), x), {}
        if self.sparsity != "none":
            out["metrics/sparsity_penalty"] = self.sparsity_weight * self.density(z.float())
        if self.contraction:
            out["metrics/contraction_penalty"] = self.contraction * squared_jacobian(given, z).mean()
        return {"loss": loss + torch.stack(list(out.values())).sum(), **out}

    def distance(self, output: Tensor, x: Tensor) -> Tensor:
        """The error that is minimised, averaged over pixels and images."""
        if self.chosen_loss is not None:
            return self.chosen_loss(output.float(), x.float())  # type: ignore[no-any-return]
        if self.error == "bce":
            return F.binary_cross_entropy_with_logits(output.float(), x.float())
        return F.mse_loss(output.float(), x.float())

    def squared(self, output: Tensor, x: Tensor) -> Tensor:
        return F.mse_loss(self.of_pixels(output).float(), x.float())

    def of_pixels(self, output: Tensor) -> Tensor:
        return output.sigmoid() if self.error == "bce" else output

    def corrupted(self, x: Tensor) -> Tensor:
        """Disturbed inputs; in evaluation by the same noise each time."""
        draw = torch.randn if self.corruption == "gaussian" else torch.rand
        if self.training:
            noise = draw(x.shape, dtype=x.dtype, device=x.device)
        else:
            noise = draw(x.shape, generator=self.noise).to(x)
        return self.with_noise(x, noise)

    def disturbed(self, x: Tensor) -> Tensor:
        """Inputs with the corruption, always by the same noise, for pictures."""
        draw = torch.randn if self.corruption == "gaussian" else torch.rand
        noise = draw(x.shape, generator=torch.Generator().manual_seed(NOISE_SEED)).to(x)
        return self.with_noise(x, noise)

    def with_noise(self, x: Tensor, noise: Tensor) -> Tensor:
        """Inputs with given random numbers, normal or uniform ones as the corruption needs them."""
        if self.corruption == "gaussian":
            return x + self.corruption_level * noise
        return torch.where(noise < self.corruption_level, 0, x)

    def density(self, z: Tensor) -> Tensor:
        """How far codes `b d` are from being sparse."""
        if self.sparsity == "l1":
            return z.abs().sum(1).mean()
        ρ, tiny = self.sparsity_target, 1e-6
        rate = z.mean(0).clamp(tiny, 1 - tiny)
        return (ρ * (ρ / rate).log() + (1 - ρ) * ((1 - ρ) / (1 - rate)).log()).sum()

    def code(self, x: Tensor) -> Tensor:
        codes: Tensor = self.coding.encode(x)
        return codes

    def picture(self, z: Tensor) -> Tensor:
        return self.of_pixels(self.coding.decode(z))

    # --- principal components

    def baselines_of_data(self, stage: str) -> dict[str, float]:
        data: Any = self.required_data()
        if stage not in self.pca and data.in_memory and {"train", stage} <= set(data.splits):
            error = self.error_of_components(data, stage)
            self.pca |= {} if error is None else {stage: error}
        found = {"pca_mse": self.pca[stage]} if stage in self.pca else {}
        return super().baselines_of_data(stage) | found

    def error_of_components(self, data: Any, stage: str) -> float | None:
        """The squared error of a split's images behind their projection on the training images' components.

        None where images are so few or so large that there are fewer components than numbers in a code.
        """
        from sklearn.decomposition import PCA

        if self.components is None:
            train = torch.cat(list(rows(data, "train", MOST)))
            if min(train.shape) < self.coding.latent_dim:
                return None
            self.components = PCA(self.coding.latent_dim, random_state=0).fit(train.numpy())
        total = count = 0.0
        for part in rows(data, stage):
            x = part.numpy()
            total += float(((self.components.inverse_transform(self.components.transform(x)) - x) ** 2).sum())
            count += x.size
        return total / count


def rows(data: Any, split: str, most: int | None = None) -> Iterator[Tensor]:
    """Images of a split as the network gets them without augmentation, `n c*h*w` at a time.

    Args:
        data: the data module.
        split: "train", "val" or "test".
        most: images, evenly spaced, and fewer where they are so large that they would not fit; None: all.
    """
    dataset = data.splits[split]
    number, fit = len(dataset), NUMBERS // math.prod(data.transform(dataset[-1, torch.tensor([0])])[0].shape)
    if most is not None:
        number = min(most, fit, number)
    places = torch.linspace(0, len(dataset) - 1, max(1, number)).round().long()
    for part in places.split(max(1, min(1000, fit // 8))):
        yield data.transform(dataset[-1, part])[0].flatten(1)


def squared_jacobian(x: Tensor, z: Tensor) -> Tensor:
    """‖∂z/∂x‖²_F of each example, `b`, with a graph for gradients of it.

    Args:
        x: inputs `b ...` that require a gradient.
        z: codes `b d`, each a function of its own example alone.
    """
    b, d = z.shape
    each = torch.eye(d, dtype=z.dtype, device=z.device)[:, None].expand(d, b, d)
    (jacobian,) = torch.autograd.grad(z, x, each, create_graph=True, is_grads_batched=True)
    return jacobian.float().square().flatten(2).sum((0, 2))

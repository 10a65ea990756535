"""The evidence lower bound of latent-variable models."""

import math
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..generate.samplers import Noise
from ..metrics.figures import Figure, Reports
from ..models.contract import Variational
from ..training.durations import Duration
from .autoencoding import AT_ONCE, LatentTask
from .base import MakeOptimizer, MakeSchedule

LOG_2PI = math.log(2 * math.pi)
ACTIVE = 0.01  # the variance of a dimension's mean from which it counts as active: Burda et al. 2015, section 5.2
LEVEL = 1 / 256  # of a pixel
LEVEL_BITS = 8  # log2 of the 256 levels of a pixel


class ELBO(LatentTask):
    """The negative evidence lower bound, E_q(z|x)[-log p(x|z)] + KL(q(z|x) || p(z)), with p(z) = N(0, I).

    Kingma and Welling 2013, arXiv:1312.6114, eq. 3 and 10, with one sample of z. Network: x `b c h w` -> (x̂, μ `b d`,
    log σ² `b d`), with `encode` and `decode`. Batch: (x, ...), pixels from 0 to 1.

    Figures, in nats an image: reconstruction, -log p(x|z) summed over pixels, with all constants; kl; loss, which in
    evaluation is their sum, the negative bound, with β = 1 and without free bits whatever training has, and in training
    is what is minimised; active_units, the dimensions whose mean μ has a variance over 0.01 in the split (Burda,
    Grosse and Salakhutdinov 2015, arXiv:1509.00519, section 5.2); iwae_bound, the negative importance-weighted bound,
    on the test split. bits_per_dim is the negative bound in bits for each pixel and channel, where that is a code
    length: of a Gaussian, which is a density of pixels from 0 to 1, each level counts as 1/256 wide, so that log2 256 =
    8 bits are added; of Bernoulli variables only with `binarize`, since grey values under them are not samples of the
    likelihood. With `binarize=false` their cross-entropy is the convention of most reports on MNIST.

    In evaluation the noise comes from a generator of its own, made anew for each epoch and process, so that figures
    repeat. They depend on the number of processes in the noise alone.

    Args:
        network, optimizer, schedule: see `Task`.
        likelihood: bernoulli, where x̂ are logits, or gaussian, where they are means and, of a network whose
            `variance` is not fixed, log-variances behind them.
        sigma: standard deviation of a gaussian where the network gives none.
        binarize: whether each pixel is drawn from a Bernoulli variable with its grey value anew each time it is seen
            (Burda et al. 2015, section 5.1, after Salakhutdinov and Murray 2008).
        beta: coefficient of the KL divergence (β-VAE: Higgins et al. 2017, ICLR, eq. 4).
        beta_warmup: a duration in which it rises from 0 on a straight line (Bowman et al. 2015, arXiv:1511.06349,
            section 3.1; Sønderby et al. 2016, arXiv:1602.02282, section 2.3).
        free_bits: λ in nats: in training, each latent dimension counts max(λ, its KL divergence averaged over the
            batch), so that below λ nothing pulls it to the prior (Kingma et al. 2016, arXiv:1606.04934, eq. 15).
        importance_samples: K of the importance-weighted bound, computed on the test split; 0: none.
        common: L1 penalty and so on, see `Task`.

    Raises:
        ValueError: a network without encoder and decoder, an unknown likelihood, one that the network's outputs are not
            for, or a number out of range.
    """

    name = "elbo"
    reports: ClassVar[Reports] = {
        "loss": Figure("lower", "nats", chooses=True, tabled=True),
        "reconstruction": Figure("lower", "nats", headline=True, tabled=True),
        "kl": Figure("lower", "nats", headline=True, tabled=True),
        "iwae_bound": Figure("lower", "nats", tabled=True),
        "active_units": Figure("higher", tabled=True),
        "bits_per_dim": Figure("lower", "bits", tabled=True),
    }
    fixed: ClassVar[dict[str, str]] = {"likelihood": "the network's outputs are of it"}

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
        sigma: float = 0.1,
        binarize: bool = False,
        beta: float = 1.0,
        beta_warmup: str = "0%",
        free_bits: float = 0.0,
        importance_samples: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(network, optimizer, schedule, **common)
        if not isinstance(network, Variational):
            raise ValueError(
                f"{type(network).__name__} gives no distribution of codes: use model=vae, or task=autoencoding"
            )
        self.learnt = network.variance != "fixed"
        if likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(f"task.likelihood={likelihood} must be bernoulli or gaussian")
        if likelihood == "bernoulli" and self.learnt:
            raise ValueError(
                f"task.likelihood=bernoulli has no variance, but the network gives one (variance={network.variance}): "
                "use task.likelihood=gaussian or model.variance=fixed"
            )
        if likelihood == "gaussian" and binarize:
            raise ValueError(
                "task.binarize=true is for task.likelihood=bernoulli: a Gaussian is no model of two values"
            )
        if likelihood == "gaussian" and 0 < sigma < LEVEL:
            raise ValueError(
                f"task.sigma={sigma} is less than a level of the pixels, of which the density then says nothing: use "
                f"1/256 = {LEVEL:.4f} or more"
            )
        if sigma <= 0 or beta < 0 or free_bits < 0 or importance_samples < 0:
            raise ValueError(
                f"task.sigma={sigma} must be positive, and task.beta={beta}, task.free_bits={free_bits} and "
                f"task.importance_samples={importance_samples} not negative"
            )
        Duration.parse(beta_warmup, "task.beta_warmup")
        self.likelihood, self.sigma, self.binarize = likelihood, sigma, binarize
        self.beta, self.beta_warmup, self.warmup_steps = beta, beta_warmup, 0
        self.free_bits, self.importance_samples = free_bits, importance_samples
        self.restart_noise()

    def configure_optimizers(self) -> Any:
        made = super().configure_optimizers()
        self.warmup_steps = self.plan.steps(self.beta_warmup, "task.beta_warmup")
        return made

    @property
    def beta_now(self) -> float:
        """β at this step."""
        if self._trainer is None or not self.warmup_steps:
            return self.beta
        return self.beta * min(1.0, self.trainer.global_step / self.warmup_steps)

    # --- the bound

    def step(self, batch: Any) -> dict[str, Tensor]:
        x = batch[0]
        if self.binarize:
            uniform = torch.rand_like(x) if self.training else torch.rand(x.shape, generator=self.noise).to(x)
            x = (uniform < x).to(x.dtype)
        if self.training:
            output, μ, log_σ2 = self.network(x)
        else:
            μ, log_σ2 = self.coding.encode(x)
            output = self.coding.decode(μ + (0.5 * log_σ2).exp() * self.normal(μ.shape, μ))
        reconstruction = self.nll(output, x).mean()
        divergence = kl(μ.float(), log_σ2.float())  # b d
        out = {"metrics/reconstruction": reconstruction, "metrics/kl": divergence.sum(1).mean()}
        if self.training:
            counted = divergence.mean(0).clamp(min=self.free_bits).sum()
            return {"loss": reconstruction + self.beta_now * counted, **out}
        out |= {"metrics/mean_code": μ.float().mean(0), "metrics/squared_code": μ.float().square().mean(0)}
        if self.importance_samples and self._trainer is not None and self.trainer.testing:
            out["metrics/iwae_bound"] = -self.importance_bound(x, self.importance_samples).mean()
        return {"loss": reconstruction + out["metrics/kl"], **out}

    def nll(self, output: Tensor, x: Tensor) -> Tensor:
        """-log p(x|z) in nats of each image, `b`.

        Args:
            output: the decoder's, `b k h w`.
            x: `b c h w`.
        """
        output, x = output.float(), x.float()
        if self.likelihood == "bernoulli":
            return F.binary_cross_entropy_with_logits(output, x, reduction="none").flatten(1).sum(1)
        if self.learnt:
            mean, log_variance = output.chunk(2, 1)
        else:
            mean, log_variance = output, output.new_full((), 2 * math.log(self.sigma))
        terms = 0.5 * ((x - mean).square() * (-log_variance).exp() + log_variance + LOG_2PI)
        return terms.flatten(1).sum(1)

    def importance_bound(self, x: Tensor, samples: int) -> Tensor:
        """The importance-weighted bound in nats of each image, `b`: Burda et al. 2015, eq. 8.

        log (1/K) Σ_k p(x, z_k) / q(z_k|x) with z_1, ..., z_K from q(z|x), which lies under log p(x) and tends to it.
        """
        μ, log_σ2 = self.coding.encode(x)
        total: Tensor | None = None
        at_once = max(1, AT_ONCE // len(x))
        for first in range(0, samples, at_once):
            k = min(at_once, samples - first)
            ε = self.normal((k, *μ.shape), μ)
            z = μ + (0.5 * log_σ2).exp() * ε
            nll = self.nll(self.coding.decode(z.flatten(0, 1)), x.expand(k, *x.shape).flatten(0, 1)).view(k, len(x))
            # log p(z) - log q(z|x): the constants are the same
            log_w = -nll + 0.5 * (ε.float().square() + log_σ2.float() - z.float().square()).sum(2)
            part = log_w.logsumexp(0)
            total = part if total is None else torch.logaddexp(total, part)
        assert total is not None
        return total - math.log(samples)

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.randn(shape, generator=self.noise).to(like)

    def derive(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        mean, square = means.pop("mean_code", None), means.pop("squared_code", None)
        if mean is not None and square is not None:
            means = means | {"active_units": (square - mean.square() > ACTIVE).float().sum()}
        if self.likelihood == "gaussian" or self.binarize:
            bits = (means["reconstruction"] + means["kl"]) / (math.prod(self.image_shape) * math.log(2))
            means = means | {"bits_per_dim": bits + (LEVEL_BITS if self.likelihood == "gaussian" else 0)}
        return means

    # --- codes and pictures

    def code(self, x: Tensor) -> Tensor:
        mean: Tensor = self.coding.encode(x)[0]
        return mean

    def picture(self, z: Tensor) -> Tensor:
        """The means of p(x|z)."""
        output = self.coding.decode(z)
        if self.likelihood == "bernoulli":
            return output.sigmoid()
        return output.chunk(2, 1)[0] if self.learnt else output

    def sample(self, n: int, *, seed: int = 0, labels: Tensor | None = None, first: int = 0, **options: Any) -> Tensor:
        """Images `n c h w` from 0 to 1: means of p(x|z) for codes from the prior.

        Args:
            n: how many.
            seed: of the codes.
            labels: of classes, which these networks do not know.
            first: the first image's number; image i has the code of number `first` + i, whatever others are made.
            options: what other tasks can be told, of which these know nothing.

        Raises:
            UserError: labels or options.
        """
        if labels is not None:
            raise UserError("this network makes images of no chosen class: leave the class out")
        if options:
            raise UserError(f"samples of the task elbo have no {', '.join(options)}: leave it out")
        return self.images(Noise(seed, (n, self.coding.latent_dim), first, self.device)(0))


def kl(μ: Tensor, log_σ2: Tensor) -> Tensor:
    """KL(N(μ, σ²) || N(0, 1)) = ½ (μ² + σ² - 1 - log σ²) for each number (Kingma and Welling 2013, appendix B)."""
    return 0.5 * (μ.square() + log_σ2.exp() - 1 - log_σ2)

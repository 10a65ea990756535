"""Denoising diffusion: a network that undoes one step of noise at a time."""

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..analysis.modes import evaluating
from ..errors import UserError, nearest
from ..generate.noise_schedule import NoiseSchedule, Prediction
from ..generate.samplers import Noise, timesteps, walk
from ..metrics.figures import Figure, Reports
from ..models.contract import Conditional
from .image_making import ImageMaking

EVALUATION_SEED = 0  # of the steps and the noise of validation and test, the same in each epoch
LEVELS = 255.0  # pixels have 256 values, 2 / 255 apart on the scale from -1 to 1
FEW = 50  # steps of the samplers that need few
EXAMPLE_PLACE = -1  # in the walk's numbers: the noise that is put on given images


class Diffusion(ImageMaking):
    """Ho, Jain and Abbeel 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239.

    In training each image gets a random step t and noise ε, and the loss is the mean squared error of the network's
    answer (equation 14, L_simple, in its mean over pixels). In validation and test the steps are spread evenly over
    each batch and, with their noise, are the same in each epoch.

    `bits_per_dim` is an upper bound of the negative log-likelihood of images with 256 levels, in bits for each of the
    c h w numbers (equations 3 and 5): KL(q(x_T | x_0) ‖ p(x_T)), one step t of L_1 ... L_{T-1} for each image, times
    their number, and the discrete decoder of equation 13. It is an estimate without bias, exact in its mean over the
    steps, not for a single image. x̂_0 is cut off at -1 and 1, as in the authors' code.

    Args:
        network: (images `b c h w` with noise, steps `b`, perhaps labels `b`) to what `prediction` says, `b c h w`.
        noise_schedule: "linear" or "cosine", see `torchatlas.generate.noise_schedule.betas`.
        steps: T.
        prediction: "epsilon", "x0" or "v", see `NoiseSchedule.target`.
        variance: of the chain that is sampled and of `bits_per_dim`: "large", β, or "small", β̃ (section 3.2).
        unconditional: probability with which a network that is conditional on classes is not told the class in
            training, as guidance needs it (Ho and Salimans 2022, arXiv:2207.12598, algorithm 1).
        others: see `Task`.

    Raises:
        UserError: a choice that there is not.
    """

    name = "diffusion"
    reports: ClassVar[Reports] = {
        "bits_per_dim": Figure("lower", "bits", headline=True, tabled=True),
    }
    pixels = (-1.0, 1.0)
    fixed: ClassVar[dict[str, str]] = {
        "noise_schedule": "the network has learnt the noise of its steps",
        "steps": "the network has learnt the noise of its steps",
        "prediction": "the network has learnt to answer with it",
    }

    def __init__(
        self,
        network: nn.Module,
        *,
        noise_schedule: str = "linear",
        steps: int = 1000,
        prediction: str = "epsilon",
        variance: str = "large",
        unconditional: float = 0.1,
        **others: Any,
    ) -> None:
        super().__init__(network, **others)
        for key, value, known in (
            ("prediction", prediction, list(get_args(Prediction))),
            ("variance", variance, ["large", "small"]),
        ):
            if value not in known:
                raise UserError(f"there is no task.{key}={value}{nearest(str(value), known)}")
        if not 0 <= unconditional < 1:
            raise UserError(f"task.unconditional={unconditional} must be from 0 to under 1")
        self.noise_schedule = NoiseSchedule(noise_schedule, steps)
        self.steps, self.prediction, self.variance, self.unconditional = steps, prediction, variance, unconditional
        self.conditional = isinstance(network, Conditional) and network.conditional
        self.no_class = network.num_classes if isinstance(network, Conditional) else 0  # the label of no class
        self.generator = torch.Generator()

    def step(self, batch: Any) -> dict[str, Tensor]:
        x0, labels = batch
        if self.conditional and labels.ndim != 1:
            raise UserError("mixed images have no class to be made for: leave out data.augment.mixup and cutmix")
        b, device = len(x0), x0.device
        if self.training:
            t = torch.randint(self.steps, (b,), device=device)
            epsilon = torch.randn_like(x0)
            if self.conditional and self.unconditional:
                hidden = torch.rand(b, device=device) < self.unconditional
                labels = labels.masked_fill(hidden, self.no_class)
        else:
            t, epsilon = self.evaluation_noise(x0)
        noisy = self.noise_schedule.add_noise(x0, t, epsilon)
        answer = self.answer(noisy, t, labels)
        loss = F.mse_loss(answer, self.noise_schedule.target(self.prediction, x0, t, epsilon).to(answer.dtype))
        if self.training:
            return {"loss": loss}
        return {"loss": loss, "metrics/bits_per_dim": self.bits_per_dim(x0, noisy, t, answer, labels).mean()}

    def answer(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """The network's, in float32."""
        answer = self.network(x, t, labels) if self.conditional else self.network(x, t)
        return answer.float()  # type: ignore[no-any-return]

    def on_validation_epoch_start(self) -> None:
        self.generator.manual_seed(EVALUATION_SEED + self.global_rank)

    def on_test_epoch_start(self) -> None:
        self.generator.manual_seed(EVALUATION_SEED + self.global_rank)

    def evaluation_noise(self, x0: Tensor) -> tuple[Tensor, Tensor]:
        """Steps `b` that are spread evenly over all of them, each as probable as the others, and noise `b c h w`."""
        b = len(x0)
        place = (torch.arange(b) + torch.rand(1, generator=self.generator)) / b
        order = torch.randperm(b, generator=self.generator)
        t = (place[order] * self.steps).long().clamp(max=self.steps - 1)
        return t.to(x0.device), torch.randn(x0.shape, generator=self.generator).to(x0)

    # --- likelihood

    def bits_per_dim(self, x0: Tensor, noisy: Tensor, t: Tensor, answer: Tensor, labels: Tensor | None) -> Tensor:
        """The bound for each image, `b`, from the step t of each and from the first step; see the class.

        Args:
            x0: images.
            noisy, t: one step of each.
            answer: the network's, there.
            labels: classes, `b`.
        """
        schedule, dims = self.noise_schedule, x0[0].numel()
        last = torch.full_like(t, self.steps - 1)
        signal, noise, *_ = schedule.at(last)
        prior = 0.5 * (signal.square() * x0.square() + noise.square() - 1 - 2 * noise.log())

        # L_{t-1}: the step 0 is the decoder's, which comes for itself; the others stand for all T - 1 of them.
        image = schedule.image_of(self.prediction, answer, noisy, t).clamp(-1, 1)
        mean, variance = self.chain_step(image, noisy, t)
        true_mean, true_variance = schedule.posterior(x0, noisy, t)
        true_variance = true_variance.clamp(min=torch.finfo(true_variance.dtype).tiny)
        ratio = true_variance / variance
        divergence = 0.5 * (ratio - 1 - ratio.log() + (true_mean - mean).square() / variance)
        divergence = torch.where((t > 0)[:, None, None, None], divergence * self.steps, 0.0)

        first = torch.zeros_like(t)
        x1 = schedule.add_noise(x0, first, torch.randn(x0.shape, generator=self.generator).to(x0))
        image = schedule.image_of(self.prediction, self.answer(x1, first, labels), x1, first).clamp(-1, 1)
        mean, variance = self.chain_step(image, x1, first)
        decoder = -log_likelihood_of_levels(x0, mean, variance.sqrt())
        nats = (prior + divergence + decoder).flatten(1).sum(1)
        return nats / (dims * math.log(2))

    def chain_step(self, image: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of p(x_{t-1} | x_t); the first step has the β̃ of the second, as in the authors' code."""
        schedule = self.noise_schedule
        mean, _ = schedule.posterior(image, x, t)
        *_, small, large = schedule.at(t)
        *_, second, _ = schedule.at(torch.ones_like(t))
        return mean, torch.where((t > 0)[:, None, None, None], small if self.variance == "small" else large, second)

    # --- images

    def denoise(self, x: Tensor, t: int, labels: Tensor | None, guidance: float) -> tuple[Tensor, Tensor]:
        """The image, cut off at -1 and 1, and the noise in x_t.

        Args:
            x: `n c h w`.
            t: the step of all.
            labels: classes `n`, K for none.
            guidance: w in ε̂ = (1 + w) ε(x, c) - w ε(x, ∅) (Ho and Salimans 2022, equation 6).
        """
        steps = torch.full((len(x),), t, device=x.device)
        if guidance and labels is not None:
            none = torch.full_like(labels, self.no_class)
            both = self.answer(x.repeat(2, 1, 1, 1), steps.repeat(2), torch.cat([labels, none]))
            conditional, free = both.chunk(2)
            # Of x0 and v, too, the mixture is the same: both are linear in ε where x is given.
            answer = (1 + guidance) * conditional - guidance * free
        else:
            answer = self.answer(x, steps, labels)
        image = self.noise_schedule.image_of(self.prediction, answer, x, steps).clamp(-1, 1)
        return image, self.noise_schedule.noise_of(image, x, steps)

    def guided(self, labels: Tensor | None, guidance: float, n: int) -> Tensor | None:
        """Labels `n` on the network's device, «no class» where none are given.

        Raises:
            UserError: labels or guidance for a network that knows no classes, or labels that it does not know.
        """
        if not self.conditional:
            if labels is not None or guidance:
                raise UserError("this network was not trained with classes: leave out class= and guidance=")
            return None
        k = self.no_class
        if not math.isfinite(guidance):
            raise UserError(f"guidance={guidance} must be a number, as in guidance=2")
        if guidance and labels is None:
            raise UserError("guidance leads towards a class: add class=NAME, or class=all")
        if not self.unconditional and (guidance or labels is None):
            raise UserError(
                "this network was trained with task.unconditional=0 and makes no images without a class: all that it "
                "can do is sample class=NAME without guidance="
            )
        if labels is None:
            return torch.full((n,), k, device=self.device)
        if len(labels) != n or not 0 <= int(labels.min()) <= int(labels.max()) <= k:
            raise UserError(f"there must be a class from 0 to {k - 1} for each of the {n} images")
        return labels.to(self.device)

    def default_steps(self, sampler: str, total: int | None = None) -> int:
        """Steps that a sampler takes when nothing is said, out of all or of the `total` lowest ones."""
        total = self.steps if total is None else total
        return total if sampler == "ddpm" else min(total, FEW)

    @torch.no_grad()
    def walk(
        self,
        n: int,
        *,
        seed: int = 0,
        labels: Tensor | None = None,
        sampler: str = "ddpm",
        steps: int | None = None,
        guidance: float = 0.0,
        eta: float = 0.0,
        first: int = 0,
        start: Tensor | None = None,
        start_step: int | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See `sample`; the images and the guesses x̂_0 after each step, on the scale from -1 to 1.

        Args:
            start, start_step: images that have the noise of a step; None: noise alone.
        """
        labels = self.guided(labels, guidance, n)
        shape = (n, *self.image_shape)
        noise = Noise(seed, shape, first, self.device)
        total = self.steps if start_step is None else start_step + 1
        sequence = timesteps(total, steps or self.default_steps(sampler, total))
        x = noise(0) if start is None else start
        with evaluating(self):
            yield from walk(
                lambda x, t: self.denoise(x, t, labels, guidance), self.noise_schedule, x, noise,
                sampler=sampler, steps=sequence, eta=eta, variance=self.variance,
            )  # fmt: skip

    def sample(self, n: int, *, seed: int = 0, labels: Tensor | None = None, **options: Any) -> Tensor:
        """Images `n c h w` from 0 to 1.

        Args:
            n: how many.
            seed: of the noise; image i has that of number `first` + i, whatever others are made with it.
            labels: a class for each, `n`; None: no class.
            options: `sampler` ("ddpm", "ddim", "dpm_solver"), `steps` (None: all for the chain, else 50), `guidance`
                (w, 0 for none), `eta` (η of DDIM), `first` (the first image's number).

        Raises:
            UserError: options that do not go with the network.
        """
        x = None
        for x, _ in self.walk(n, seed=seed, labels=labels, **options):  # noqa: B007  # the last one is the result
            pass
        assert x is not None
        return seen(x)

    def noised(self, x: Tensor, t: int, seed: int = 0, first: int = 0) -> Tensor:
        """Inputs with the noise of step t; with `first` = -1 all have the same noise."""
        shape = tuple(x.shape)
        epsilon = Noise(seed, shape if first >= 0 else (1, *shape[1:]), max(first, 0), x.device)(EXAMPLE_PLACE)
        steps = torch.full((len(x),), t, device=x.device)
        return self.noise_schedule.add_noise(x, steps, epsilon.expand(shape))

    def share_of_steps(self, depth: float) -> int:
        """The step that lies at a share of all.

        Raises:
            UserError: no share.
        """
        if not 0 < depth <= 1:
            raise UserError(f"depth={depth} must be over 0 and at most 1, the share of the steps that are undone")
        return max(1, round(depth * self.steps)) - 1

    def reconstruct(self, x: Tensor, *, depth: float = 0.5, seed: int = 0, **options: Any) -> Tensor:
        """Inputs `n c h w` with noise put on up to a share `depth` of the steps, and taken off again; 0 to 1."""
        return self._from(self.noised(x, self.share_of_steps(depth), seed), depth, seed=seed, **options)

    def interpolate(
        self, a: Tensor, b: Tensor, points: int = 8, *, depth: float = 0.5, seed: int = 0, **options: Any
    ) -> Tensor:
        """Images between two inputs `c h w`: both get the same noise, and lines between are denoised (section 4.3).

        Returns:
            `points c h w` from 0 to 1.
        """
        t = self.share_of_steps(depth)
        weight = torch.linspace(0, 1, points, device=a.device)[:, None, None, None]
        # Both have the same noise, so that a mixture has as much of it.
        mixed = self.noised((1 - weight) * a + weight * b, t, seed, first=-1)
        return self._from(mixed, depth, seed=seed, **options)

    def _from(self, x: Tensor, depth: float, **options: Any) -> Tensor:
        """Images from inputs with the noise of a share of the steps."""
        y = x
        options = {"sampler": "ddim"} | options
        for y, _ in self.walk(len(x), start=x, start_step=self.share_of_steps(depth), **options):  # noqa: B007
            pass
        return seen(y)

    @torch.no_grad()
    def inpaint(
        self, x: Tensor, mask: Tensor, *, seed: int = 0, steps: int = 250, repeats: int = 10,
        labels: Tensor | None = None, guidance: float = 0.0, tell: Callable[[], None] = lambda: None,
    ) -> Tensor:  # fmt: skip
        """RePaint (Lugmayr et al. 2022, arXiv:2201.09865, algorithm 1): what is hidden is made to fit the rest.

        Args:
            x: inputs `n c h w`.
            mask: 1 where pixels are to be made, else 0; `n 1 h w`, or what is broadcast to it.
            seed: of the noise.
            steps: of the chain.
            repeats: how often each step is taken, with noise put on again between (U).
            labels, guidance: see `sample`.
            tell: called after each step, of which there are (steps - 1) repeats + 1.

        Returns:
            `n c h w` from 0 to 1; the known pixels as they were given.
        """
        if repeats < 1:
            raise UserError(f"repeats={repeats} must be at least 1")
        labels = self.guided(labels, guidance, len(x))
        sequence = timesteps(self.steps, min(steps, self.steps))
        noise = Noise(seed, tuple(x.shape), 0, x.device)
        mask = mask.to(x.dtype)
        y, place = noise(0), 0
        with evaluating(self):
            for i, t in enumerate(sequence):
                now = float(self.noise_schedule.alpha_bar[t])
                last = i + 1 == len(sequence)
                then = 1.0 if last else float(self.noise_schedule.alpha_bar[sequence[i + 1]])
                for repeat in range(1 if last else repeats):
                    # Three numbers of the walk each time: for the chain, for what is known, for the way back.
                    place += 3
                    step = walk(
                        lambda z, t: self.denoise(z, t, labels, guidance), self.noise_schedule, y,
                        lambda _, place=place: noise(place),  # type: ignore[arg-type,misc]
                        sampler="ddpm", steps=[t] if last else [t, sequence[i + 1]], variance=self.variance,
                    )  # fmt: skip
                    made, _ = next(step)
                    tell()
                    known = math.sqrt(then) * x + math.sqrt(1 - then) * noise(place + 1)
                    y = mask * made + (1 - mask) * known
                    if not last and repeat + 1 < repeats:
                        y = math.sqrt(now / then) * y + math.sqrt(1 - now / then) * noise(place + 2)
        return seen(mask * y + (1 - mask) * x)


def seen(x: Tensor) -> Tensor:
    """Inputs from -1 to 1 as images from 0 to 1."""
    return ((x + 1) / 2).clamp(0, 1)


def log_likelihood_of_levels(x: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """The log-probability of each number under a normal distribution that is divided among 256 levels (equation 13).

    Args:
        x: numbers -1, -1 + 2/255, ..., 1.
        mean, spread: of the distribution.

    Returns:
        Of the shape of x. The lowest and the highest level have all that lies beyond them.
    """
    above = torch.special.ndtr((x + 1 / LEVELS - mean) / spread)
    below = torch.special.ndtr((x - 1 / LEVELS - mean) / spread)
    above = torch.where(x > 1 - 1 / LEVELS, 1.0, above)
    below = torch.where(x < -1 + 1 / LEVELS, 0.0, below)
    return (above - below).clamp(min=1e-12).log()

"""From noise to images, with a network that knows the noise: ancestral sampling, DDIM, and a fast ODE solver.

A sampler walks through a falling sequence of steps t_1 > t_2 > ..., at the end of which the noise is gone (ᾱ = 1).
Noise that it needs is a function of a seed, the place in the walk and the image's number, so that an image does not
depend on those that are made together with it.
"""

import math
from collections.abc import Callable, Iterator
from typing import Literal, get_args

import torch
from torch import Tensor

from ..counter import normal
from ..errors import UserError, nearest
from .noise_schedule import NoiseSchedule

Sampler = Literal["ddpm", "ddim", "dpm_solver"]
Denoise = Callable[[Tensor, int], tuple[Tensor, Tensor]]  # (x_t, t) to the image and the noise that are in it


class Noise:
    """Standard normal numbers for images with the numbers `first`, `first` + 1, ...

    Args:
        seed: of all.
        shape: `n c h w`.
        first: the first image's number.
        device: where they are wanted.
    """

    def __init__(self, seed: int, shape: tuple[int, ...], first: int, device: torch.device) -> None:
        self.seed, self.shape = seed, shape
        self.index = torch.arange(first, first + shape[0], device=device)

    def __call__(self, place: int) -> Tensor:
        """Of one place in the walk: 0 for the beginning."""
        return normal(self.seed, place, self.index, math.prod(self.shape[1:])).view(self.shape)


def timesteps(total: int, steps: int) -> list[int]:
    """`steps` evenly spaced steps out of `total`, falling, of which the first is the last one, total - 1.

    Lin et al. 2023, arXiv:2305.08891, section 3.3 («trailing»).

    Raises:
        UserError: more steps than there are, or none.
    """
    if not 1 <= steps <= total:
        raise UserError(f"steps={steps} must be from 1 to the {total} of the training")
    return [round(total - i * total / steps) - 1 for i in range(steps)]


def walk(
    denoise: Denoise,
    schedule: NoiseSchedule,
    x: Tensor,
    noise: Noise,
    *,
    sampler: str = "ddpm",
    steps: list[int],
    eta: float = 0.0,
    variance: str = "large",
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images with ever less noise.

    Args:
        denoise: the network.
        schedule: of the training.
        x: images `n c h w` at the first of the steps.
        noise: of the later places.
        sampler: "ddpm", the chain of Ho et al. 2020, algorithm 2, which with fewer steps has the β of the steps that it
            takes (Nichol and Dhariwal 2021, arXiv:2102.09672, section 4); "ddim" (Song, Meng and Ermon 2020,
            arXiv:2010.02502, equation 12); "dpm_solver", DPM-Solver++(2M), of second order (Lu et al. 2022,
            arXiv:2211.01095, algorithm 2).
        steps: falling.
        eta: η of DDIM: 0 draws no noise, 1 as much as the chain.
        variance: σ² of the chain: "large", β, or "small", β̃ (section 3.2).

    Yields:
        After each step the images there, and x̂_0 as it was guessed in the step.

    Raises:
        UserError: an unknown sampler, or an η that it cannot have.
    """
    if sampler not in get_args(Sampler):
        raise UserError(f"there is no sampler={sampler}{nearest(sampler, list(get_args(Sampler)))}")
    if eta and sampler != "ddim":
        raise UserError(f"eta={eta} is of sampler=ddim, and not of {sampler}: add it, or leave out eta=")
    if not 0 <= eta <= 1:
        raise UserError(f"eta={eta} must be from 0 to 1")
    before: tuple[Tensor, float] | None = None  # x̂_0 and log(√ᾱ / √(1 - ᾱ)) of the step before
    for place, t in enumerate(steps, start=1):
        image, epsilon = denoise(x, t)
        now = float(schedule.alpha_bar[t])
        then = float(schedule.alpha_bar[steps[place]]) if place < len(steps) else 1.0
        if sampler == "ddpm":
            x = _ancestral(x, image, now, then, noise(place) if place < len(steps) else None, variance)
        elif sampler == "ddim":
            spread = eta * math.sqrt((1 - then) / (1 - now) * (1 - now / then))
            x = math.sqrt(then) * image + math.sqrt(max(0.0, 1 - then - spread**2)) * epsilon
            x = x + spread * noise(place) if spread else x
        else:
            x, before = _second_order(x, image, now, then, before)
        yield x, image


def _ancestral(x: Tensor, image: Tensor, now: float, then: float, noise: Tensor | None, variance: str) -> Tensor:
    """One step of algorithm 2, between any two ᾱ."""
    alpha = now / then
    beta = 1 - alpha
    mean = math.sqrt(then) * beta / (1 - now) * image + math.sqrt(alpha) * (1 - then) / (1 - now) * x
    spread = math.sqrt(beta if variance == "large" else beta * (1 - then) / (1 - now))
    return mean if noise is None else mean + spread * noise


def _second_order(
    x: Tensor, image: Tensor, now: float, then: float, before: tuple[Tensor, float] | None
) -> tuple[Tensor, tuple[Tensor, float]]:
    """A step of DPM-Solver++(2M): with λ = log(√ᾱ / √(1 - ᾱ)) x̂_0 is continued on a line through its last two values.

    The first step and the last one, in which λ becomes infinite, are of first order.
    """
    log_ratio = 0.5 * math.log(now / (1 - now))
    if then == 1:
        return image, (image, log_ratio)
    h = 0.5 * math.log(then / (1 - then)) - log_ratio
    guess = image if before is None else image + (image - before[0]) * (h / (2 * (log_ratio - before[1])))
    x = math.sqrt((1 - then) / (1 - now)) * x - math.sqrt(then) * math.expm1(-h) * guess
    return x, (image, log_ratio)

"""How much of an image is left, and how much is noise, at each step of a diffusion.

Ho, Jain and Abbeel 2020, arXiv:2006.11239, equations 2 to 7. With β_t, α_t = 1 - β_t and ᾱ_t = α_1 ... α_t:

    x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε                                                                     (equation 4)

Steps are counted from 0: the tables at t hold what the paper calls t + 1.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import UserError, nearest

Kind = Literal["linear", "cosine"]
Prediction = Literal["epsilon", "x0", "v"]


def betas(kind: str, steps: int) -> Tensor:
    """β of each step, float64 `steps`.

    Args:
        kind: "linear", from 1e-4 to 0.02 for 1,000 steps (section 4), and 1000 / steps times that for others; "cosine",
            ᾱ_t = f(t) / f(0) with f(t) = cos²((t / T + s) / (1 + s) π / 2), s = 0.008, and β of at most 0.999 (Nichol
            and Dhariwal 2021, arXiv:2102.09672, equation 17).
        steps: T.

    Raises:
        UserError: an unknown kind, or too few steps for it.
    """
    if kind not in get_args(Kind):
        raise UserError(f"there is no task.noise_schedule={kind}{nearest(kind, list(get_args(Kind)))}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 2:
        raise UserError(f"task.steps={steps} must be a whole number from 2, as in task.steps=1000")
    if kind == "linear":
        if steps <= 20:
            raise UserError(f"task.steps={steps} is too few for a linear schedule: use 21 or more, or the cosine one")
        return torch.linspace(1e-4, 0.02, steps, dtype=torch.float64, device="cpu") * (1000 / steps)
    place = torch.arange(steps + 1, dtype=torch.float64, device="cpu") / steps
    f = torch.cos((place + 0.008) / 1.008 * (math.pi / 2)).square()
    return (1 - f[1:] / f[:-1]).clamp(max=0.999)


class NoiseSchedule:
    """Tables of a diffusion, computed in float64 and kept in float32 on each device that asks.

    Args:
        kind, steps: see `betas`.

    Attributes:
        beta, alpha_bar: float64 `steps`, on the CPU.
    """

    def __init__(self, kind: str = "linear", steps: int = 1000) -> None:
        self.beta = betas(kind, steps)
        self.steps = steps
        self.alpha_bar = (1 - self.beta).cumprod(0)
        before = torch.cat([torch.ones(1, dtype=torch.float64, device="cpu"), self.alpha_bar[:-1]])
        rest = 1 - self.alpha_bar
        self.tables = torch.stack(
            [
                self.alpha_bar.sqrt(),
                rest.sqrt(),
                before.sqrt() * self.beta / rest,  # equation 7, of x_0
                (1 - self.beta).sqrt() * (1 - before) / rest,  # of x_t
                (1 - before) / rest * self.beta,  # β̃
                self.beta,
            ],
            1,
        )
        self._on: dict[torch.device, Tensor] = {}

    def at(self, t: Tensor) -> tuple[Tensor, ...]:
        """√ᾱ, √(1 - ᾱ), the posterior mean's factors of x_0 and of x_t, β̃ and β of steps `b`; each `b 1 1 1`."""
        if t.device not in self._on:
            self._on[t.device] = self.tables.float().to(t.device)
        return self._on[t.device][t][..., None, None, None].unbind(1)

    def add_noise(self, x0: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """x_t (equation 4) of images `b c h w`, steps `b` and noise `b c h w`."""
        signal, noise, *_ = self.at(t)
        return signal * x0 + noise * epsilon

    def target(self, prediction: str, x0: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """What the network is to answer.

        Args:
            prediction: "epsilon", "x0", or "v" = √ᾱ ε - √(1 - ᾱ) x_0 (Salimans and Ho 2022, arXiv:2202.00512, section
                4).
            x0, t, epsilon: as in `add_noise`.
        """
        if prediction == "v":
            signal, noise, *_ = self.at(t)
            return signal * epsilon - noise * x0
        return x0 if prediction == "x0" else epsilon

    def image_of(self, prediction: str, answer: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The image x̂_0 that an answer at x_t means."""
        signal, noise, *_ = self.at(t)
        if prediction == "v":
            return signal * x - noise * answer
        return answer if prediction == "x0" else (x - noise * answer) / signal

    def noise_of(self, image: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The noise that lies between an image and x_t."""
        signal, noise, *_ = self.at(t)
        return (x - signal * image) / noise

    def posterior(self, x0: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of q(x_{t-1} | x_t, x_0) (equations 6 and 7)."""
        _, _, of_image, of_noisy, variance, _ = self.at(t)
        return of_image * x0 + of_noisy * x, variance

"""Samplers against diffusers and closed forms."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers.diffusion import Toy, diffusers
from torch import Tensor, nn

from torchatlas.generate.noise_schedule import NoiseSchedule
from torchatlas.generate.samplers import Noise, timesteps, walk


def toy_denoise(schedule: NoiseSchedule) -> Any:
    def denoise(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        steps = torch.full((len(x),), t)
        image = schedule.image_of("epsilon", Toy()(x, steps), x, steps).clamp(-1, 1)
        return image, schedule.noise_of(image, x, steps)

    return denoise


class Replayed:
    """The noise of ours, in the order in which the other library asks for it."""

    def __init__(self, noise: Noise, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
        self.places: Iterator[int] = iter(range(1, 10_000))
        self.noise = noise
        monkeypatch.setattr(f"{module}.randn_tensor", lambda *_, **__: self.noise(next(self.places)))


@pytest.mark.parametrize("variance", ["large", "small"])
@pytest.mark.parametrize("steps", [200, 50])
def test_the_chain_is_that_of_diffusers(variance: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = NoiseSchedule()
    noise = Noise(3, (2, 1, 4, 4), 0, torch.device("cpu"))
    theirs = diffusers.DDPMScheduler(
        1000, beta_schedule="linear", variance_type=f"fixed_{variance}", clip_sample=True, timestep_spacing="trailing"
    )
    theirs.set_timesteps(steps)
    assert theirs.timesteps.tolist() == timesteps(1000, steps)
    Replayed(noise, monkeypatch, "diffusers.schedulers.scheduling_ddpm")
    x = y = noise(0)
    for t in theirs.timesteps[:-1]:  # with few steps theirs puts noise on the last image, too
        y = theirs.step(Toy()(y, t.expand(2)), t, y).prev_sample
    made = [
        m for m, _ in walk(toy_denoise(schedule), schedule, x, noise, steps=timesteps(1000, steps), variance=variance)
    ]
    assert len(made) == steps
    torch.testing.assert_close(made[-2], y, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_ddim_is_that_of_diffusers(eta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = NoiseSchedule()
    noise = Noise(3, (2, 1, 4, 4), 0, torch.device("cpu"))
    theirs = diffusers.DDIMScheduler(1000, beta_schedule="linear", clip_sample=True, timestep_spacing="trailing")
    theirs.set_timesteps(20)
    Replayed(noise, monkeypatch, "diffusers.schedulers.scheduling_ddim")
    x = y = noise(0)
    for t in theirs.timesteps:
        y = theirs.step(Toy()(y, t.expand(2)), t, y, eta=eta, use_clipped_model_output=True).prev_sample
    made = [
        m
        for m, _ in walk(toy_denoise(schedule), schedule, x, noise, sampler="ddim", steps=timesteps(1000, 20), eta=eta)
    ]
    torch.testing.assert_close(made[-1], y, rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # theirs gives NumPy arrays of one number to int()
def test_dpm_solver_is_that_of_diffusers() -> None:
    schedule = NoiseSchedule("cosine")
    noise = Noise(3, (2, 1, 4, 4), 0, torch.device("cpu"))
    theirs = diffusers.DPMSolverMultistepScheduler(
        1000, beta_schedule="squaredcos_cap_v2", algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="zero",
        timestep_spacing="trailing", lower_order_final=True, solver_type="midpoint",
    )  # fmt: skip
    theirs.set_timesteps(20)
    assert theirs.timesteps.tolist() == timesteps(1000, 20)

    def denoise(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        steps = torch.full((len(x),), t)
        answer = Toy()(x, steps)
        return schedule.image_of("epsilon", answer, x, steps), answer

    x = y = noise(0)
    ours = walk(denoise, schedule, x, noise, sampler="dpm_solver", steps=timesteps(1000, 20))
    for i, (t, (made, _)) in enumerate(zip(theirs.timesteps, ours, strict=True)):
        y = theirs.step(Toy()(y, t.expand(2)), t, y).prev_sample
        torch.testing.assert_close(made, y, rtol=2e-3, atol=2e-3, msg=f"step {i}")


class Gaussian(nn.Module):
    """The noise that is expected in data of a normal distribution, which has a closed form."""

    in_channels, image_size, mean, spread = 1, 4, 0.1, 0.3

    def __init__(self, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.schedule = schedule

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        signal, noise, *_ = self.schedule.at(t)
        return noise * (x - signal * self.mean) / ((signal * self.spread) ** 2 + noise**2)


def test_the_chain_draws_from_the_distribution_of_the_data() -> None:
    """With the exact noise of a normal distribution."""
    schedule, noise = NoiseSchedule(), Noise(1, (200, 1, 4, 4), 0, torch.device("cpu"))
    made = list(walk(gaussian_denoise(schedule), schedule, noise(0), noise, steps=timesteps(1000, 1000)))
    assert float(made[-1][0].mean()) == pytest.approx(Gaussian.mean, abs=0.02)
    assert float(made[-1][0].std()) == pytest.approx(Gaussian.spread, rel=0.03)


def gaussian_denoise(schedule: NoiseSchedule) -> Any:
    def denoise(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        steps = torch.full((len(x),), t)
        epsilon = Gaussian(schedule)(x, steps)
        return schedule.image_of("epsilon", epsilon, x, steps), epsilon

    return denoise


def test_ode_samplers_follow_the_solution() -> None:
    """Of normal data it has a closed form; the solver of second order is nearer to it, and ten times the steps nearer.

    The last step, from some noise to none, is left out: no sampler can know what lies between.
    """
    schedule, noise = NoiseSchedule(), Noise(1, (20, 1, 4, 4), 0, torch.device("cpu"))

    def error(sampler: str, number: int) -> float:
        steps = timesteps(1000, number)
        walked = list(walk(gaussian_denoise(schedule), schedule, noise(0), noise, sampler=sampler, steps=steps))
        (a, b), (c, d) = ((float(r.sqrt()), float(1 - r)) for r in schedule.alpha_bar[[999, steps[-1]]])
        ratio = math.sqrt(((c * Gaussian.spread) ** 2 + d) / ((a * Gaussian.spread) ** 2 + b))
        exact = c * Gaussian.mean + (noise(0) - a * Gaussian.mean) * ratio
        return float((walked[-2][0] - exact).abs().mean())

    assert error("ddim", 1000) < 2e-3
    assert error("ddim", 200) < 0.2 * error("ddim", 20)
    assert error("dpm_solver", 20) < 0.5 * error("ddim", 20)

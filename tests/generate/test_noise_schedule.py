"""Noise schedules against diffusers, the paper's numbers and Bayes' rule."""

import math

import pytest
import torch
from helpers.diffusion import diffusers

from torchatlas.generate.noise_schedule import NoiseSchedule, betas


@pytest.mark.parametrize(("kind", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")])
def test_schedule_and_posterior_are_those_of_diffusers(kind: str, theirs: str) -> None:
    ours, other = NoiseSchedule(kind), diffusers.DDPMScheduler(1000, beta_schedule=theirs, variance_type="fixed_small")
    torch.testing.assert_close(ours.beta.float(), other.betas, rtol=2e-5, atol=0)
    torch.testing.assert_close(ours.alpha_bar.float(), other.alphas_cumprod, rtol=2e-4, atol=1e-9)
    x0, epsilon, t = torch.randn(5, 1, 4, 4), torch.randn(5, 1, 4, 4), torch.tensor([0, 1, 500, 998, 999])
    torch.testing.assert_close(ours.add_noise(x0, t, epsilon), other.add_noise(x0, epsilon, t), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        ours.target("v", x0, t, epsilon), other.get_velocity(x0, epsilon, t), rtol=1e-4, atol=1e-5
    )
    _, variance = ours.posterior(x0, epsilon, t)
    for step, value in zip(t.tolist()[1:], variance[1:].flatten().tolist(), strict=True):
        assert value == pytest.approx(float(other._get_variance(step)), rel=2e-4)


def test_schedule_has_the_numbers_of_the_paper() -> None:
    schedule = NoiseSchedule()
    assert float(schedule.beta[0]) == pytest.approx(1e-4)
    assert float(schedule.beta[-1]) == pytest.approx(0.02)
    assert float(schedule.alpha_bar[-1]) == pytest.approx(4.04e-5, rel=2e-3)
    short = NoiseSchedule("linear", 100)  # fewer steps, each with more noise: as little is left
    assert float(short.alpha_bar[-1]) == pytest.approx(float(schedule.alpha_bar[-1]), rel=0.5)
    assert float(betas("cosine", 1000).max()) == 0.999


def test_posterior_is_bayes_rule() -> None:
    """Equations 6 and 7 against the product of the two normal distributions that they come from."""
    schedule, t = NoiseSchedule(), torch.tensor([1, 10, 700])
    x0, x = torch.tensor([0.3, -0.8, 0.1]).view(3, 1, 1, 1), torch.tensor([0.5, 0.2, -1.0]).view(3, 1, 1, 1)
    mean, variance = schedule.posterior(x0, x, t)
    for i, step in enumerate(t.tolist()):
        before, beta = float(schedule.alpha_bar[step - 1]), float(schedule.beta[step])
        precision = 1 / (1 - before) + (1 - beta) / beta
        expected = (
            math.sqrt(before) * float(x0[i]) / (1 - before) + math.sqrt(1 - beta) * float(x[i]) / beta
        ) / precision
        assert float(variance[i]) == pytest.approx(1 / precision, rel=1e-3)
        assert float(mean[i]) == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "x0", "v"])
def test_each_prediction_means_the_same_image(prediction: str) -> None:
    schedule, t = NoiseSchedule(), torch.tensor([0, 400, 900])
    x0, epsilon = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    x = schedule.add_noise(x0, t, epsilon)
    image = schedule.image_of(prediction, schedule.target(prediction, x0, t, epsilon), x, t)
    torch.testing.assert_close(image, x0, rtol=1e-3, atol=2e-3)
    torch.testing.assert_close(schedule.noise_of(x0, x, t), epsilon, rtol=1e-3, atol=1e-3)

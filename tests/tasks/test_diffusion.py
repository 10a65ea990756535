"""Diffusion: the loss, bits per dimension, guidance, inpainting."""

import math

import numpy as np
import pytest
import torch
from helpers.diffusion import Toy
from torch import Tensor, nn

from torchatlas.errors import UserError
from torchatlas.generate.noise_schedule import NoiseSchedule
from torchatlas.generate.samplers import timesteps
from torchatlas.models.unet_ddpm import DDPMUNet
from torchatlas.tasks.diffusion import Diffusion, log_likelihood_of_levels

# --- the samplers


def test_images_do_not_depend_on_their_company() -> None:
    task = Diffusion(Toy())
    before = torch.random.get_rng_state()
    for options in ({"sampler": "ddpm"}, {"sampler": "ddim", "eta": 1.0}):
        all_of_them = task.sample(5, seed=2, steps=30, **options)
        torch.testing.assert_close(task.sample(2, seed=2, steps=30, first=3, **options), all_of_them[3:])
        assert not torch.equal(task.sample(5, seed=3, steps=30, **options), all_of_them)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert task.training


# --- the task


class Answer(nn.Module):
    """The noise that belongs to known images: a perfect network."""

    in_channels, image_size = 1, 4

    def __init__(self, schedule: NoiseSchedule, x0: Tensor) -> None:
        super().__init__()
        self.schedule, self.x0 = schedule, x0

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.schedule.noise_of(self.x0[: len(x)], x, t)


def levels(*shape: int) -> Tensor:
    return torch.randint(256, shape) / 127.5 - 1


@pytest.mark.parametrize("prediction", ["epsilon", "x0", "v"])
def test_a_perfect_answer_has_no_loss(prediction: str) -> None:
    x0 = levels(8, 1, 4, 4)

    class Perfect(Answer):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return self.schedule.target(prediction, self.x0, t, self.schedule.noise_of(self.x0, x, t))

    task = Diffusion(Perfect(NoiseSchedule(), x0), prediction=prediction).eval()
    out = task.step((x0, torch.zeros(8, dtype=torch.int64)))
    assert float(out["loss"]) < 1e-5
    # What is left is the first step's: the image is known up to the noise of beta_1.
    assert float(out["metrics/bits_per_dim"]) < 4
    worse = Diffusion(Toy()).eval().step((x0, torch.zeros(8, dtype=torch.int64)))
    assert float(worse["metrics/bits_per_dim"]) > float(out["metrics/bits_per_dim"])


def test_levels_are_a_distribution() -> None:
    """Equation 13: over the 256 levels the probabilities sum to one."""
    every = (torch.arange(256) / 127.5 - 1)[:, None]
    for mean in (-1.2, 0.0, 0.4, 1.0):
        spread = torch.tensor([0.01, 0.1, 0.5])
        total = log_likelihood_of_levels(every, torch.full((1, 3), mean), spread).double().exp().sum(0)
        torch.testing.assert_close(total, torch.ones(3, dtype=torch.float64), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variance", ["large", "small"])
def test_bits_per_dim_are_the_sum_over_all_steps(variance: str) -> None:
    """One step for each image, times their number, is in its mean the sum that torch.distributions gives."""
    steps, x0 = 30, levels(1, 1, 4, 4)
    task = Diffusion(Toy(), noise_schedule="cosine", steps=steps, variance=variance).eval()
    schedule, torch_normal = task.noise_schedule, torch.distributions.Normal
    kl, n = torch.distributions.kl_divergence, 400
    x, generator = x0.expand(n, -1, -1, -1), torch.Generator().manual_seed(0)

    def chain(noisy: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        image = schedule.image_of("epsilon", Toy()(noisy, t), noisy, t).clamp(-1, 1)
        mean, small = schedule.posterior(image, noisy, t)
        beta = schedule.beta.float()[t].view(-1, 1, 1, 1)
        return mean, (beta if variance == "large" else small).sqrt()

    total = torch.zeros(())
    for step in range(1, steps):
        t = torch.full((n,), step)
        noisy = schedule.add_noise(x, t, torch.randn(x.shape, generator=generator))
        mean, true_variance = schedule.posterior(x, noisy, t)
        total = total + kl(torch_normal(mean, true_variance.sqrt()), torch_normal(*chain(noisy, t))).mean(0).sum()
    last = float(schedule.alpha_bar[-1])
    total = total + kl(torch_normal(math.sqrt(last) * x0, math.sqrt(1 - last)), torch_normal(0.0, 1.0)).sum()
    first = torch.zeros(n, dtype=torch.int64)
    noisy = schedule.add_noise(x, first, torch.randn(x.shape, generator=generator))
    mean, _ = chain(noisy, first)
    spread = schedule.posterior(noisy, noisy, torch.ones_like(first))[1].sqrt()  # as in the authors' code
    total = total - log_likelihood_of_levels(x, mean, spread).mean(0).sum()
    expected = float(total) / (16 * math.log(2))
    found = [
        float(task.step((x0.expand(300, -1, -1, -1), first[:1].expand(300)))["metrics/bits_per_dim"]) for _ in range(8)
    ]
    assert np.mean(found) == pytest.approx(expected, rel=0.05)


def test_steps_of_evaluation_are_spread_evenly_and_repeat() -> None:
    task = Diffusion(Toy(), steps=100).eval()
    x = torch.zeros(50, 1, 4, 4)
    for rank_start in (task.on_validation_epoch_start, task.on_test_epoch_start):
        rank_start()
        t, epsilon = task.evaluation_noise(x)
        assert torch.equal(t.sort().values // 2, torch.arange(50))
        assert not torch.equal(t, t.sort().values)
        task.on_validation_epoch_start()
        again, same = task.evaluation_noise(x)
        assert torch.equal(t, again)
        assert torch.equal(epsilon, same)


@pytest.mark.parametrize("prediction", ["epsilon", "x0", "v"])
def test_guidance_is_the_formula_of_the_paper(prediction: str) -> None:
    """(1 + w) ε(c) - w ε(∅), whatever the network answers with; w = 0 is the conditional network."""
    network = DDPMUNet(in_channels=1, conditional=True).eval()
    nn.init.normal_(network.last.weight, std=0.1)
    nn.init.normal_(network.classes.weight)
    x, labels, t = torch.randn(3, 1, 8, 8), torch.tensor([0, 3, 7]), torch.full((3,), 200)
    task = Diffusion(network, prediction=prediction).eval()
    schedule = task.noise_schedule
    one, none = (
        schedule.noise_of(schedule.image_of(prediction, answer, x, t), x, t)
        for answer in (network(x, t, labels), network(x, t))
    )
    for w in (0.0, 2.0):
        image = schedule.image_of("epsilon", (1 + w) * one - w * none, x, t).clamp(-1, 1)
        torch.testing.assert_close(task.denoise(x, 200, labels, w)[0], image, rtol=1e-3, atol=1e-3)
    with pytest.raises(UserError, match="add class="):
        task.sample(2, guidance=1.0)
    with pytest.raises(UserError, match="unconditional=0"):
        Diffusion(network, unconditional=0.0).sample(2)
    with pytest.raises(UserError, match="not trained with classes"):
        Diffusion(Toy()).sample(2, labels=torch.tensor([0, 1]))


def test_the_class_is_hidden_as_often_as_was_said() -> None:
    class Seen(Toy):
        conditional, num_classes, labels = True, 10, torch.empty(0)

        def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
            self.labels = labels
            return super().forward(x, t)

    network = Seen()
    x, labels = torch.zeros(4000, 1, 4, 4), torch.arange(4000) % 10
    task = Diffusion(network, unconditional=0.2)
    task.step((x, labels))
    hidden = network.labels == 10
    assert float(hidden.float().mean()) == pytest.approx(0.2, abs=0.03)
    assert torch.equal(network.labels[~hidden], labels[~hidden])
    task.eval().step((x, labels))
    assert torch.equal(network.labels, labels)


class Recorder(Toy):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, int]] = []

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.seen.append((x, int(t[0])))
        return super().forward(x, t)


def test_inpainting_is_algorithm_1_of_repaint() -> None:
    """At each step what is known has the noise of that step, and is put in anew; each is repeated; the end is exact."""
    network = Recorder()
    task = Diffusion(network)
    other, mask = levels(3000, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    made = 2 * task.inpaint(other, mask, steps=10, repeats=3) - 1
    torch.testing.assert_close(made[..., 2:], other[..., 2:])
    assert [t for _, t in network.seen] == [t for t in timesteps(1000, 10)[:-1] for _ in range(3)] + [99]
    known = other[..., 2:]
    for x, t in network.seen[1:]:  # the first is noise
        signal = float(task.noise_schedule.alpha_bar[t]) ** 0.5
        slope = float((x[..., 2:] * known).mean() / known.square().mean())
        assert slope == pytest.approx(signal, abs=0.06)
        assert float((x[..., 2:] - signal * known).std()) == pytest.approx(math.sqrt(1 - signal**2), abs=0.03)
    before, after = network.seen[1][0], network.seen[2][0]  # one step apart: the way back puts new noise on
    assert float((before - after).abs().mean()) > 0.1


def test_interpolations_and_reconstructions_begin_with_noisy_images() -> None:
    """√ᾱ ((1 - w) a + w b) + √(1 - ᾱ) ε with one ε for the whole line, at the step that was asked for."""
    network = Recorder()
    task = Diffusion(network)
    a, b = levels(1, 4, 4), levels(1, 4, 4)
    assert task.interpolate(a, b, 3, depth=0.3).shape == (3, 1, 4, 4)
    x, t = network.seen[0]
    assert t == 299
    signal = float(task.noise_schedule.alpha_bar[t]) ** 0.5
    noise = x - signal * torch.stack([a, (a + b) / 2, b])
    torch.testing.assert_close(noise[0], noise[1])
    torch.testing.assert_close(noise[0], noise[2])
    assert 0.5 < float(noise[0].std()) / math.sqrt(1 - signal**2) < 1.6
    network.seen.clear()
    given = levels(3000, 1, 4, 4)
    task.reconstruct(given, depth=0.6)
    x, t = network.seen[0]
    assert t == 599
    signal = float(task.noise_schedule.alpha_bar[t]) ** 0.5
    assert float((x - signal * given).std()) == pytest.approx(math.sqrt(1 - signal**2), abs=0.03)
    assert float((x * given).mean() / given.square().mean()) == pytest.approx(signal, abs=0.05)


def test_the_last_step_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """KL(q(x_T | x_0) ‖ N(0, 1)) is in the bound: with less noise at the end it is more, as the formula says."""
    x0 = levels(64, 1, 4, 4)
    task = Diffusion(Toy()).eval()
    t = torch.full((64,), 300)
    noisy = task.noise_schedule.add_noise(x0, t, torch.randn(x0.shape))
    answer = task.answer(noisy, t, None)

    def bound() -> float:
        task.generator.manual_seed(0)
        return float(task.bits_per_dim(x0, noisy, t, answer, None).mean())

    complete = bound()
    at = task.noise_schedule.at

    def less_noise(steps: Tensor) -> tuple[Tensor, ...]:
        found = at(steps)
        if int(steps[0]) == 999:
            return (torch.full_like(found[0], 0.6), torch.full_like(found[1], 0.8), *found[2:])
        return found

    monkeypatch.setattr(task.noise_schedule, "at", less_noise)
    normal_ = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal_(0.6 * x0, 0.8), normal_(0.0, 1.0)).mean() / math.log(2)
    assert bound() - complete == pytest.approx(float(expected), rel=1e-3)


def test_mistakes_are_said() -> None:
    for options, words in (
        ({"noise_schedule": "linaer"}, "did you mean linear"),
        ({"prediction": "eps"}, "task.prediction=eps"),
        ({"variance": "learned"}, "task.variance"),
        ({"steps": 1}, "task.steps=1"),
        ({"unconditional": 1.0}, "task.unconditional"),
    ):
        with pytest.raises(UserError, match=words):
            Diffusion(Toy(), **options)
    with pytest.raises(UserError, match="no sampler=ddmi"):
        Diffusion(Toy()).sample(1, sampler="ddmi")
    with pytest.raises(UserError, match="from 1 to the 1000"):
        Diffusion(Toy()).sample(1, steps=2000)

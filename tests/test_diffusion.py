"""Diffusion: the schedule, the network and the samplers against diffusers, closed forms, and the commands."""

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Train
from PIL import Image
from torch import Tensor, nn

from torchatlas import cli
from torchatlas.counter import normal
from torchatlas.errors import UserError
from torchatlas.generate.noise_schedule import NoiseSchedule, betas
from torchatlas.generate.samplers import Noise, timesteps, walk
from torchatlas.models.unet_ddpm import DDPMUNet, embed_steps
from torchatlas.tasks.diffusion import Diffusion, log_likelihood_of_levels
from torchatlas.weights import load_weights

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers")


# --- the schedule


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


# --- the network


SIZES: dict[str, Any] = {"width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (1,), "groups": 4}


def diffusers_network(**options: Any) -> nn.Module:
    kinds = {"down": ("DownBlock2D", "AttnDownBlock2D"), "up": ("AttnUpBlock2D", "UpBlock2D")}
    network: nn.Module = diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=kinds["down"], up_block_types=kinds["up"], attention_head_dim=None, norm_num_groups=4,
        norm_eps=1e-6, downsample_padding=0, flip_sin_to_cos=False, freq_shift=1, **options,
    )  # fmt: skip
    return network.eval()


@pytest.mark.parametrize("conditional", [False, True])
def test_network_is_that_of_diffusers(conditional: bool, tmp_path: Path) -> None:
    """Weights under their names, old and new, give the same answers."""
    theirs = diffusers_network(**({"num_class_embeds": 11} if conditional else {}))
    state = theirs.state_dict()
    ours = DDPMUNet(**SIZES, conditional=conditional).eval()
    x, t, labels = torch.randn(3, 3, 8, 8), torch.tensor([0, 500, 999]), torch.tensor([0, 9, 10])
    expected = theirs(x, t, class_labels=labels if conditional else None).sample
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    old = dict(state)
    for new_name, old_name in names.items():
        old = {key.replace(new_name, old_name): tensor for key, tensor in old.items()}
    for given in (state, old):
        for parameter in ours.parameters():
            nn.init.zeros_(parameter)
        report = load_weights(ours, given)
        assert report.source == "diffusers"
        assert not report.missing
        assert not report.unexpected
        torch.testing.assert_close(ours(x, t, *([labels] if conditional else [])), expected, rtol=1e-4, atol=1e-5)
    if conditional:  # not told the class is the last label
        torch.testing.assert_close(ours(x, t), ours(x, t, torch.full_like(t, 10)))


def test_published_network_has_the_names_of_the_published_file() -> None:
    """google/ddpm-cifar10-32: as many parameters, and every tensor of it has a place."""
    with torch.device("meta"):
        theirs = diffusers.UNet2DModel(
            sample_size=32, block_out_channels=(128, 256, 256, 256), layers_per_block=2, attention_head_dim=None,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"), norm_eps=1e-6,
            downsample_padding=0, flip_sin_to_cos=False, freq_shift=1,
        )  # fmt: skip
        ours = DDPMUNet(width=128, multipliers=(1, 2, 2, 2), blocks=2, groups=32, image_size=32)
    from torchatlas.weights.diffusers_names import NAMINGS

    (naming,) = NAMINGS
    renamed = naming.arrange({naming.rename(k): v for k, v in theirs.state_dict().items()})  # type: ignore[misc]
    assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in ours.state_dict().items()}
    assert sum(p.numel() for p in theirs.parameters()) == 35_746_307


def test_steps_are_embedded_as_in_diffusers() -> None:
    from diffusers.models.embeddings import get_timestep_embedding

    t = torch.tensor([0, 1, 10, 999])
    torch.testing.assert_close(
        embed_steps(t, 16), get_timestep_embedding(t, 16, flip_sin_to_cos=False, downscale_freq_shift=1)
    )


def test_an_image_that_does_not_divide_is_refused_with_the_layer() -> None:
    network = DDPMUNet(multipliers=(1, 1, 1), attention=(), image_size=12)
    assert network(*network.example_input()).shape == (2, 3, 12, 12)
    with pytest.raises(ValueError, match=r"downsample\.1 gets 7x7 pixels.*multiples of 4"):
        network(torch.randn(1, 3, 14, 14), torch.tensor([0]))


# --- the samplers


class Toy(nn.Module):
    """Answers that depend on the image and the step, so that errors of a sampler show."""

    in_channels, image_size = 1, 4

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return 0.3 * x + 0.2 * torch.sin(5 * x) + 0.1 * (t / 1000)[:, None, None, None]


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


def test_images_do_not_depend_on_their_company() -> None:
    task = Diffusion(Toy())
    before = torch.random.get_rng_state()
    for options in ({"sampler": "ddpm"}, {"sampler": "ddim", "eta": 1.0}):
        all_of_them = task.sample(5, seed=2, steps=30, **options)
        torch.testing.assert_close(task.sample(2, seed=2, steps=30, first=3, **options), all_of_them[3:])
        assert not torch.equal(task.sample(5, seed=3, steps=30, **options), all_of_them)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert task.training


def test_normal_numbers_are_normal() -> None:
    x = normal(0, 7, torch.arange(1000), 101)
    assert x.shape == (1000, 101)
    assert float(x.mean()) == pytest.approx(0, abs=0.01)
    assert float(x.std()) == pytest.approx(1, abs=0.01)
    assert float((x.abs() < 1).float().mean()) == pytest.approx(0.6827, abs=0.005)
    assert abs(float((x[:, :-1] * x[:, 1:]).mean())) < 0.01
    assert torch.equal(normal(0, 7, torch.tensor([5]), 101)[0], x[5])


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


# --- the commands


def test_commands_write_pictures(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    """One run, and what `sample`, `reconstruct`, `interpolate` and `inpaint` make of it; and their refusals."""
    folder = train(
        "model=ddpm_small", "data=digits", "duration=2st", "model.width=8", "model.multipliers=[1,1]", "model.groups=4",
        "model.attention=[1]", "task.steps=25", "callbacks=default",
    )  # fmt: skip
    cli.sample([f"ckpt={folder}", "n=9", "batch=4", "class=3,5", "guidance=1", "seed=1"])
    assert "9 images in" in capsys.readouterr().out
    assert sorted(p.name for p in (folder / "samples").iterdir()) == ["chain.gif", "chain.png", "grid.png", "images"]
    files = sorted((folder / "samples" / "images").iterdir())
    assert [p.name for p in files] == [f"{i:04d}.png" for i in range(9)]
    nine = [np.array(Image.open(p)) for p in files]
    assert nine[0].shape == (8, 8)
    cli.sample([f"ckpt={folder}", "n=2", "class=3,5", "guidance=1", "seed=1", f"output={folder / 'two'}"])
    for i in range(2):  # whatever others are made with it
        assert np.array_equal(np.array(Image.open(folder / "two" / "images" / f"{i:04d}.png")), nine[i])
    with Image.open(folder / "samples" / "chain.gif") as animation:
        assert animation.n_frames == 25
    cli.sample([f"ckpt={folder}", "n=1", f"output={folder / 'two'}"])  # those of the earlier call go
    assert [p.name for p in (folder / "two" / "images").iterdir()] == ["0000.png"]
    cli.reconstruct([f"ckpt={folder}", "n=3"])
    cli.interpolate([f"ckpt={folder}", "rows=2", f"input={folder / 'samples' / 'images'}", "steps=3"])
    cli.inpaint([f"ckpt={folder}", "n=2", "steps=4", "repeats=2", "mask=left"])
    for name in ("reconstructions.png", "interpolations.png", "inpainted/grid.png"):
        assert (folder / name).is_file()
    for command, arguments, words in (
        (cli.sample, ["class=11"], "no class '11'"),
        (cli.sample, ["sampler=ode"], "no sampler=ode"),
        (cli.sample, ["n=0"], "n=0"),
        (cli.reconstruct, ["n=0"], "0, must be at least 1"),
        (cli.inpaint, ["n=-1"], "-1, must be at least 1"),
        (cli.sample, ["eta=1"], "is of sampler=ddim"),
        (cli.sample, ["eta=2", "sampler=ddim"], "from 0 to 1"),
        (cli.sample, ["guidance=nan", "class=3"], "guidance=nan"),
        (cli.sample, ["steps=26"], "from 1 to the 25"),
        (cli.inpaint, ["mask=middle"], "no mask=middle"),
        (cli.interpolate, ["steps=1"], "steps=1"),
        (cli.interpolate, ["input=nowhere"], "no file or folder nowhere"),
        (cli.reconstruct, ["output=picture.jpg"], "must be a PNG"),
        (cli.reconstruct, ["depth=2"], "depth=2"),
    ):
        with pytest.raises(UserError, match=words):
            command([f"ckpt={folder}", *arguments])
    for change in ("task.prediction=v", "task.noise_schedule=cosine", "task.steps=50"):
        with pytest.raises(SystemExit):
            train(f"resume={folder}", change, "duration=4st")
        assert f"{change} cannot change in a resumed run" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model=ddpm_small", "data=weather"], "makes images, and data=weather has none"),
        (["model=ddpm_small", "data=digits", "data.mean=[0.3]"], "needs pixels from -1 to 1"),
        (["model=ddpm_small", "data=digits", "data.image_size=10"], "downsample.1 gets 5x5 pixels"),
        (["model=resnet20", "data=digits", "task=diffusion"], "model=resnet20"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: list[str], words: str, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        train(*arguments)
    assert stopped.value.code == 2
    assert words in " ".join(capsys.readouterr().err.split())

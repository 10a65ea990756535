"""Sampling against a bare loop: the same network and steps, side by side.

    python scripts/sampling_rate.py [model=ddpm_small ...] [--images 64] [--steps 20] [--rounds 5]

Overrides are those of train.py; the weights are random. The bare loop is the chain of Ho et al. 2020, algorithm 2, and
DDIM of Song et al. 2020, equation 12, with numbers from torch's generator and nothing else. Rounds alternate. Printed
are the median times for a network's call and their ratio (bare / ours: 1.00 means that nothing is added).
"""

import argparse
import statistics
import time
from typing import Any

import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from torchatlas.generate.samplers import timesteps
from torchatlas.run.build import build_network, build_task
from torchatlas.run.compose import register_resolvers
from torchatlas.run.devices import device_of
from torchatlas.tasks.diffusion import Diffusion


def now() -> float:
    """Seconds, when the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


@torch.no_grad()
def bare(task: Diffusion, n: int, sampler: str, steps: list[int]) -> float:
    """Seconds of the papers' loops."""
    network: Any = task.network.eval()
    x = torch.randn(n, network.in_channels, network.image_size, network.image_size, device=task.device)
    labels = [torch.zeros(n, dtype=torch.int64, device=task.device)] if task.conditional else []
    alpha_bar = [*task.noise_schedule.alpha_bar[steps].tolist(), 1.0]
    start = now()
    for i, t in enumerate(steps):
        a, b = alpha_bar[i], alpha_bar[i + 1]
        epsilon = network(x, torch.full((n,), t, device=x.device), *labels)
        image = ((x - (1 - a) ** 0.5 * epsilon) / a**0.5).clamp(-1, 1)
        if sampler == "ddim":
            x = b**0.5 * image + (1 - b) ** 0.5 * (x - a**0.5 * image) / (1 - a) ** 0.5
        else:
            x = b**0.5 * (1 - a / b) / (1 - a) * image + (a / b) ** 0.5 * (1 - b) / (1 - a) * x
            x = x + (1 - a / b) ** 0.5 * torch.randn_like(x) if b < 1 else x
    return now() - start


def ours(task: Diffusion, n: int, sampler: str, steps: int) -> float:
    """Seconds of `Diffusion.sample`."""
    labels = torch.zeros(n, dtype=torch.int64) if task.conditional else None
    start = now()
    task.sample(n, sampler=sampler, steps=steps, labels=labels)
    return now() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options, overrides = parser.parse_known_args()
    register_resolvers()
    with initialize_config_module("torchatlas.configs", version_base="1.3"):
        chosen = overrides or ["model=ddpm_small"]
        config: Any = OmegaConf.to_container(compose("train", ["name=sampling", *chosen]), resolve=True)
    task: Any = build_task(config["task"], build_network(config["model"]))
    task.place(device_of())
    task.eval()
    print(f"{' '.join(chosen)}: {options.rounds} rounds of {options.steps} steps, {options.images} images")
    for sampler in ("ddpm", "ddim"):
        steps = timesteps(task.steps, options.steps)
        times: dict[str, list[float]] = {"bare loop": [], "sample": []}
        bare(task, options.images, sampler, steps[:2])
        for _ in range(options.rounds):
            times["bare loop"].append(bare(task, options.images, sampler, steps))
            times["sample"].append(ours(task, options.images, sampler, options.steps))
        base = statistics.median(times["bare loop"])
        for name, values in times.items():
            middle = statistics.median(values)
            each = 1e3 * middle / options.steps
            print(f"  {sampler:<5} {name:<10} {each:9.2f} ms a step   ratio {base / middle:.2f}")


if __name__ == "__main__":
    main()

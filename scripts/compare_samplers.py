"""Samplers and guidance side by side: the same network, the same noise, a row for each.

    python scripts/compare_samplers.py CKPT [--columns 10] [--seed 0] [--output docs]

Writes `samplers.png` (the chain of all steps, DDIM and DPM-Solver++ with few) and, for a network that knows classes,
`guidance.png` (scales from 0 to 6, a class in each column), and prints the seconds of each row.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from torchatlas.run.devices import device_of
from torchatlas.run.restore import restore
from torchatlas.tasks.diffusion import Diffusion

SAMPLERS = (
    ("ddpm", None),
    ("ddpm", 20),
    ("ddim", 50),
    ("ddim", 20),
    ("ddim", 10),
    ("dpm_solver", 20),
    ("dpm_solver", 10),
)
SCALES = (0.0, 1.0, 3.0, 6.0)


def draw(rows: dict[str, Tensor], path: Path) -> None:
    """A labelled row of images for each entry."""
    columns = len(next(iter(rows.values())))
    figure, axes = plt.subplots(len(rows), columns, figsize=(0.75 * columns + 1.6, 0.78 * len(rows)), squeeze=False)
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        for cell, image in zip(line, images.cpu(), strict=True):
            cell.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
            cell.set_xticks([])
            cell.set_yticks([])
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    figure.subplots_adjust(
        left=1.5 / figure.get_figwidth(), right=0.995, bottom=0.005, top=0.995, wspace=0.04, hspace=0.04
    )
    figure.savefig(path, dpi=90)
    print(path)


def main() -> None:
    """Sample, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ckpt")
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("docs"))
    options = parser.parse_args()
    _, task, about = restore(options.ckpt)
    if not isinstance(task, Diffusion):
        parser.error(f"{options.ckpt} is of {task.name}, not of a diffusion")
    task.place(device_of())
    n, k = options.columns, len(about["data"]["classes"])
    labels = torch.arange(n) % k if task.conditional else None
    options.output.mkdir(parents=True, exist_ok=True)

    def row(**given: Any) -> Tensor:
        start = time.perf_counter()
        images: Tensor = task.sample(n, seed=options.seed, labels=labels, **given)
        print(f"{given}: {time.perf_counter() - start:.1f} s for {n} images")
        return images

    scale = 1.0 if task.conditional else 0.0
    rows = {
        f"{sampler} {steps or task.steps}": row(sampler=sampler, steps=steps, guidance=scale)
        for sampler, steps in SAMPLERS
    }
    draw(rows, options.output / "samplers.png")
    if task.conditional:
        rows = {f"guidance {w:g}": row(sampler="ddim", steps=50, guidance=w) for w in SCALES}
        draw(rows, options.output / "guidance.png")


if __name__ == "__main__":
    main()

"""The commands `sample`, `interpolate`, `reconstruct` and `inpaint`: a trained network makes images."""

import logging
import time
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor

from ..predict.inputs import folder_for
from ..predict.made_images import (
    COLUMNS,
    Progress,
    arrange,
    batches,
    labels_of,
    maker,
    options_of,
    save_animation,
    save_single,
)
from ..predict.registry import answers
from ..storage.run_folder import shown
from ..tasks.diffusion import Diffusion, seen

log = logging.getLogger(__name__)
MOMENTS = 10  # of the denoising that a strip shows
SHOWN = 8  # images of a strip
FRAMES = 48  # of the animated picture


@answers(tasks=("elbo", "diffusion"), method="sample", ends="")
def sample(
    ckpt: str, output: str = "", *, n: int = 64, seed: int = 0, class_: Annotated[str, "class"] = "",
    guidance: float = 0.0, sampler: Literal["ddpm", "ddim", "dpm_solver"] | None = None, steps: int | None = None,
    eta: float = 0.0, batch: int = 64,
) -> Path:  # fmt: skip
    """Images by a VAE or a diffusion: a grid, each alone, and of a diffusion how they came out of noise.

    Args:
        ckpt: a run folder, of which the best checkpoint is taken, or a checkpoint.
        output: a folder; else samples in the run folder. Each image is there as soon as it is made.
        n: images.
        seed: of the noise. An image depends neither on n nor on batch.
        class_: of a diffusion with classes: a name, several with commas between, which take turns, or all.
        guidance: by classes; 0 is none.
        sampler: of a diffusion; else ddpm, the chain of the training.
        steps: of the sampler; else all of ddpm, and 50 of the others.
        eta: share of new noise in a step of ddim, from 0 to 1.
        batch: images that are made together.

    Returns:
        The folder, with `grid.png`, `images/0000.png` and so on, and of a diffusion `chain.png` and `chain.gif`; those
        of an earlier call are gone.

    Raises:
        UserError: the checkpoint cannot make images, or not in this way.

    Examples:
        torchatlas sample ckpt=runs/ddpm_small-digits n=16 sampler=ddim steps=50 class=all guidance=2
    """
    path, task, about = maker(ckpt, "sample", "make images of its own")
    options = options_of(task, guidance=guidance, sampler=sampler or "", steps=steps or 0, eta=eta)
    labels = labels_of(task, about, class_, n)
    parts = list(batches(n, batch))
    folder = folder_for(path, output, "samples")
    width = max(4, len(str(n - 1)))
    began = time.monotonic()
    chain: list[Tensor] = []
    made: list[Tensor] = []
    for k, part in enumerate(parts):
        if isinstance(task, Diffusion):
            some = None if labels is None else labels[part.start : part.stop]
            walk = task.walk(len(part), seed=seed, labels=some, first=part.start, **options)
            total = options.get("steps") or task.default_steps(sampler or "ddpm")
            progress = Progress(total * len(parts))
            progress.done = total * k
            keep = {round(i * (total - 1) / (FRAMES - 1)) for i in range(FRAMES)}
            for i, (x, _) in enumerate(walk):
                progress.step()
                if k == 0 and i in keep:
                    chain.append(seen(x[: COLUMNS * COLUMNS]).cpu())
            made.append(seen(x).cpu())
        else:
            made.append(task.sample(len(part), seed=seed, first=part.start).cpu())
        singles = folder / "images" if k else emptied(folder / "images")
        save_single(made[-1], [singles / f"{i:0{width}d}.png" for i in part])
    images, seconds = torch.cat(made), time.monotonic() - began
    arrange(images, min(COLUMNS, n)).save(folder / "grid.png")
    extra = ""
    for name in ("chain.png", "chain.gif"):
        (folder / name).unlink(missing_ok=True)
    if chain:
        moments = [chain[round(i * (len(chain) - 1) / (MOMENTS - 1))] for i in range(MOMENTS)]
        arrange(torch.stack(moments, 1)[:SHOWN].flatten(0, 1), MOMENTS).save(folder / "chain.png")
        save_animation([arrange(frame, min(COLUMNS, n)) for frame in chain], folder / "chain.gif")
        extra = ", chain.png and chain.gif"
    print(f"{n} images in {seconds:.1f} s: grid.png{extra}, and each alone under images/, in {shown(folder)}")
    return folder


def emptied(singles: Path) -> Path:
    """The folder of single images, without those of an earlier call: it holds the images of one."""
    singles.mkdir(exist_ok=True)
    for old in singles.glob("*.png"):
        if old.stem.isdigit():
            old.unlink()
    return singles

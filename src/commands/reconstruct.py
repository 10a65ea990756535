"""The command `torchatlas reconstruct`: images, and what a network makes of them."""

from pathlib import Path

import torch

from ..predict.inputs import given_images, picture_file
from ..predict.made_images import COLUMNS, arrange, maker, options_of, pictures
from ..storage.run_folder import shown
from ..tasks.diffusion import Diffusion
from .interpolate import padded


def reconstruct(
    where: str, given: str = "", output: str = "", *, n: int = 16, depth: float = 0.0, seed: int = 0, root: str = ""
) -> Path:
    """Write images above what the network makes of them, and print how far off each is.

    Args:
        where: a checkpoint or a run folder.
        given: files or folders with commas between; else the first of the test split.
        output: a PNG file; else `reconstructions.png` in the run folder.
        n: the most images.
        depth: of a diffusion: the share of the steps whose noise is put on and taken off; 0: half.
        seed: of that noise.
        root: see `evaluate`.

    Returns:
        The file.
    """
    path, task, about = maker(where, "reconstruct", "reconstruct images")
    options = options_of(task, depth=depth) | ({"seed": seed} if isinstance(task, Diffusion) else {})
    file = picture_file(path, output, "reconstructions.png")
    x, names = given_images(task, about, given, n, root)
    images, made = pictures(task, x), task.reconstruct(x, **options)
    rows = [torch.cat([images[i : i + COLUMNS], made[i : i + COLUMNS]]) for i in range(0, len(x), COLUMNS)]
    sheet = torch.cat([padded(row, 2 * min(COLUMNS, len(x))) for row in rows])
    arrange(sheet, min(COLUMNS, len(x))).save(file)
    for name, error in zip(names, (images - made).square().mean((1, 2, 3)).sqrt().tolist(), strict=True):
        print(f"{name}  root mean squared error {error:.4f} of the range of a pixel")
    print(f"{len(x)} images, each above what was made of it: {shown(file)}")
    return file

"""The command `torchatlas reconstruct`: images, and what a network makes of them."""

from pathlib import Path
from typing import Annotated

import torch

from ..predict.inputs import given_images, picture_file
from ..predict.made_images import COLUMNS, arrange, maker, options_of, pictures
from ..predict.registry import answers
from ..storage.run_folder import shown
from ..tasks.diffusion import Diffusion
from .interpolate import padded


@answers(tasks=("autoencoding",), ends=" input=FILE")
@answers(tasks=("elbo", "diffusion"), method="reconstruct")
def reconstruct(
    ckpt: str, input: str = "", output: str = "", *, n: int = 16, depth: float | None = None, seed: int = 0,
    data_root: Annotated[str, "data.root"] = "",
) -> Path:  # fmt: skip
    """Images above what a network makes of them, and how far off each is.

    Args:
        ckpt: a run folder, of which the best checkpoint is taken, or a checkpoint.
        input: files or folders with commas between; else the first images of the test split.
        output: a .png file; else reconstructions.png in the run folder.
        n: the most images.
        depth: of a diffusion: share of the steps whose noise is put on and taken off; else half of them.
        seed: of that noise.
        data_root: folder of the data; else the one of training if it is there, else the one in TORCHATLAS_DATA.

    Returns:
        The file.

    Examples:
        torchatlas reconstruct ckpt=runs/vae-mnist n=8
    """
    path, task, about = maker(ckpt, "reconstruct", "reconstruct images")
    options = options_of(task, depth=depth or 0.0) | ({"seed": seed} if isinstance(task, Diffusion) else {})
    file = picture_file(path, output, "reconstructions.png")
    x, names = given_images(task, about, input, n, data_root)
    images, made = pictures(task, x), task.reconstruct(x, **options)
    rows = [torch.cat([images[i : i + COLUMNS], made[i : i + COLUMNS]]) for i in range(0, len(x), COLUMNS)]
    sheet = torch.cat([padded(row, 2 * min(COLUMNS, len(x))) for row in rows])
    arrange(sheet, min(COLUMNS, len(x))).save(file)
    for name, error in zip(names, (images - made).square().mean((1, 2, 3)).sqrt().tolist(), strict=True):
        print(f"{name}  root mean squared error {error:.4f} of the range of a pixel")
    print(f"{len(x)} images, each above what was made of it: {shown(file)}")
    return file

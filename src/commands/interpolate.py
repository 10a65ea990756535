"""The command `torchatlas interpolate`: images between images."""

from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from ..errors import UserError
from ..predict.inputs import given_images, picture_file
from ..predict.made_images import arrange, maker, options_of, pictures
from ..predict.registry import answers
from ..storage.run_folder import shown
from ..tasks.diffusion import Diffusion


def padded(pairs: Tensor, size: int) -> Tensor:
    """Originals and copies `2m c h w` as two rows of size / 2 each, with white images where some are missing."""
    originals, copies = pairs.chunk(2)
    white = torch.ones_like(originals[:1]).expand(size // 2 - len(originals), -1, -1, -1)
    return torch.cat([originals, white, copies, white])


@answers(tasks=("autoencoding", "elbo", "diffusion"), method="interpolate")
def interpolate(
    ckpt: str, input: str = "", output: str = "", *, steps: int = 10, rows: int = 8, depth: float | None = None,
    seed: int = 0, data_root: Annotated[str, "data.root"] = "",
) -> Path:  # fmt: skip
    """Lines of images between pairs of images.

    Args:
        ckpt: a run folder, of which the best checkpoint is taken, or a checkpoint.
        input: two files with commas between, or folders, whose images are paired in their order; else the first of the
            test split.
        output: a .png file; else interpolations.png in the run folder.
        steps: images of a line, both ends among them.
        rows: the most pairs.
        depth: of a diffusion: share of the steps whose noise is put on and taken off; else half of them.
        seed: of that noise.
        data_root: folder of the data; else the one of training if it is there, else the one in TORCHATLAS_DATA.

    Returns:
        The file.

    Examples:
        torchatlas interpolate ckpt=runs/vae-mnist input=one.png,other.png steps=8
    """
    path, task, about = maker(ckpt, "interpolate", "interpolate between images")
    if steps < 2 or rows < 1:
        raise UserError(f"steps={steps} must be at least 2, and rows={rows} at least 1")
    options = options_of(task, depth=depth or 0.0) | ({"seed": seed} if isinstance(task, Diffusion) else {})
    file = picture_file(path, output, "interpolations.png")
    x, _ = given_images(task, about, input, 2 * rows, data_root)
    if len(x) < 2:
        raise UserError("there must be at least two images to go between: input=ONE.png,OTHER.png")
    lines = [
        torch.cat([pictures(task, a[None]), task.interpolate(a, b, steps, **options), pictures(task, b[None])])
        for a, b in zip(x[0::2], x[1::2], strict=False)
    ]
    arrange(torch.cat(lines), steps + 2).save(file)
    print(f"{len(lines)} lines of {steps} images, between the two that were given: {shown(file)}")
    return file

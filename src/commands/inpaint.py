"""The command `torchatlas inpaint`: hidden parts of images, made by a diffusion."""

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from ..data.images.files import load_image
from ..errors import UserError
from ..predict.inputs import folder_for, given_images
from ..predict.made_images import COLUMNS, Progress, arrange, labels_of, maker, pictures, save_single
from ..predict.registry import answers
from ..storage.run_folder import shown
from .interpolate import padded

MASKS = ("left", "right", "top", "bottom", "centre")


def mask_of(given: str, task: Any) -> Tensor:
    """Which pixels are to be made, `1 1 h w`.

    Args:
        given: half of the image ("left", "right", "top", "bottom"), its "centre", or a file of which the bright pixels
            are to be made.
        task: whose network says the size.
    """
    size: int = task.network.image_size
    if given not in MASKS:
        path = Path(given).expanduser()
        if not path.is_file():
            raise UserError(f"there is no mask={given}: name a file, or {', '.join(MASKS)}")
        mask = (load_image(path, 1, size) >= 128).float()[None]
        if not 0 < float(mask.mean()) < 1:
            raise UserError(f"{path} hides {'all' if mask.any() else 'nothing'}: bright pixels are to be made")
        return mask.to(task.device)
    mask = torch.zeros(1, 1, size, size, device=task.device)
    half, quarter = size // 2, size // 4
    rows, columns = {
        "left": (slice(None), slice(0, half)),
        "right": (slice(None), slice(size - half, size)),
        "top": (slice(0, half), slice(None)),
        "bottom": (slice(size - half, size), slice(None)),
        "centre": (slice(quarter, size - quarter), slice(quarter, size - quarter)),
    }[given]
    mask[:, :, rows, columns] = 1
    return mask


@answers(tasks=("diffusion",), method="inpaint")
def inpaint(
    ckpt: str, input: str = "", mask: Literal["left", "right", "top", "bottom", "centre"] | str = "centre",
    output: str = "", *, n: int = 8, class_: Annotated[str, "class"] = "", guidance: float = 0.0, steps: int = 250,
    repeats: int = 10, seed: int = 0, data_root: Annotated[str, "data.root"] = "",
) -> Path:  # fmt: skip
    """Images, what is hidden of them, and what a diffusion makes in its place.

    Args:
        ckpt: a run folder, of which the best checkpoint is taken, or a checkpoint.
        input: files or folders with commas between; else the first images of the test split.
        mask: a part of the image, or a file whose bright pixels are to be made.
        output: a folder; else inpainted in the run folder.
        n: the most images.
        class_: of a diffusion with classes: a name, several with commas between, which take turns, or all.
        guidance: by classes; 0 is none.
        steps: of the sampler.
        repeats: times that RePaint goes back in each step.
        seed: of the noise.
        data_root: folder of the data; else the one of training if it is there, else the one in TORCHATLAS_DATA.

    Returns:
        The folder.

    Examples:
        torchatlas inpaint ckpt=runs/ddpm_small-digits mask=left n=4
    """
    path, task, about = maker(ckpt, "inpaint", "fill in images")
    folder = folder_for(path, output, "inpainted")
    x, names = given_images(task, about, input, n, data_root)
    hidden = mask_of(mask, task)
    progress = Progress((min(steps, task.steps) - 1) * repeats + 1)
    made = task.inpaint(
        x, hidden, seed=seed, steps=steps, repeats=repeats, guidance=guidance, tell=progress.step,
        labels=labels_of(task, about, class_, len(x)),
    )  # fmt: skip
    images = pictures(task, x)
    grey = hidden * 0.5 + (1 - hidden) * images
    columns = min(COLUMNS, len(x))
    sheet = [
        padded(torch.cat([grey[i : i + columns], made[i : i + columns]]), 2 * columns)
        for i in range(0, len(x), columns)
    ]
    arrange(torch.cat(sheet), columns).save(folder / "grid.png")
    save_single(made, [folder / f"{i:04d}-{Path(name).stem.replace(' ', '_')}.png" for i, name in enumerate(names)])
    print(f"{len(x)} images, with what is hidden above: grid.png and single files in {shown(folder)}")
    return folder

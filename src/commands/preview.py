"""The command `torchatlas preview`: a picture of what the training images become."""

from pathlib import Path
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..data.images.base import ImageData
from ..data.masks.codes import IGNORED
from ..errors import UserError
from ..predict.rows import file_for
from ..run.build import build_data
from ..run.compose import composed, require_config_words
from ..run.mistakes import in_a_sentence

LARGEST = 64  # rows or columns


def preview(*words: Annotated[str, "training"], n: int = 8, epochs: int = 6, output: str = "preview.png") -> Path:
    """A picture of what augmentation makes of some training images in the first epochs.

    Args:
        words: those of training, as in data=cifar10 augment=trivialaugment.
        n: images, from 1 to 64.
        epochs: columns beside the original, from 1 to 64.
        output: a .png file.

    Returns:
        The file.

    Raises:
        UserError: the data have no images, or a number or the file's name cannot be.

    Examples:
        torchatlas preview data=cifar10 augment=trivialaugment n=4
    """
    for key, value in (("n", n), ("epochs", epochs)):
        if not 1 <= value <= LARGEST:
            raise UserError(f"{key}={value} must be a whole number from 1 to {LARGEST}")
    path = Path(output).expanduser()
    if path.suffix != ".png":
        raise UserError(f"output={path} must end in .png, as in output=preview.png")
    path = file_for(output)

    require_config_words(words, "here, where no network is trained")
    with in_a_sentence(words):
        data = build_data(composed(words).plain()["data"])
    if not isinstance(data, ImageData):
        raise UserError("the chosen data have no images to preview: type one that has, as in data=cifar10")
    data.prepare_data()
    data.setup("fit")
    figure = draw(data, n, epochs)
    figure.savefig(path, dpi=120)
    print(path)
    return path


def draw(data: ImageData, n: int, epochs: int) -> Figure:
    """A row for each of `n` training images, evenly spaced in the data set, which together are the batch."""
    train = data.splits["train"]
    n = min(n, len(train))
    indices = torch.arange(n) * (len(train) // n)
    columns = {"original": data.transform(train[-1, indices])}
    columns |= {f"epoch {epoch}": data.transform(train[epoch, indices]) for epoch in range(epochs)}
    figure = Figure(figsize=(1.3 * len(columns), 1.5 * n + 0.2), layout="constrained")
    axes = figure.subplots(n, len(columns), squeeze=False)
    mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    for column, (title, (x, *_, y)) in enumerate(columns.items()):
        axes[0, column].set_title(title, fontsize=9)
        for row in range(n):
            image = (x[row] * std + mean).clamp(0, 1)
            cell = axes[row, column]
            if y[row].ndim == 2:  # a mask: the colours of the classes over the image
                colours = torch.tensor([*data.colours, (0, 0, 0)]) / 255  # type: ignore[attr-defined]
                over = colours[y[row].clamp(max=len(colours) - 1)].permute(2, 0, 1)
                image = torch.where(y[row] == IGNORED, image, 0.5 * image + 0.5 * over)
            cell.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
            cell.set_xticks([])
            cell.set_yticks([])
            if y[row].ndim < 2:
                cell.set_xlabel(name_label(y[row], data), fontsize=7, parse_math=False)
    return figure


def name_label(label: Tensor, data: ImageData) -> str:
    """The class of a label; of a soft one "0.70 cat + 0.30 dog", without shares under half a percent."""
    if label.ndim == 0:
        return str(data.classes[int(label)])
    shares = {str(data.classes[k]): float(label[k]) for k in label.argsort(descending=True) if label[k] >= 0.005}
    return next(iter(shares)) if len(shares) == 1 else " + ".join(f"{x:.2f} {name}" for name, x in shares.items())

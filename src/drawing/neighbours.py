"""Images and their nearest training images."""

from collections.abc import Callable, Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

GAP = 2  # pixels between them


def draw_neighbours(samples: Tensor, read: Callable[[Tensor], Tensor], shown: Mapping[str, Tensor]) -> Figure:
    """A row for each sample: itself, and the nearest training images beside it.

    Args:
        samples: uint8 `n c h w`.
        read: numbers of training images, int64 `k`, to these, uint8 `k c h w`.
        shown: by kind of distance the numbers of the nearest training images, int64 `n k`.
    """
    columns = [samples[:, None]]
    titles = {0: "sample"}
    for kind, places in shown.items():
        titles[sum(part.shape[1] for part in columns)] = f"nearest {kind}"
        columns.append(torch.stack([read(row) for row in places]))
    tiles = nn.functional.pad(torch.cat(columns, 1), (0, GAP, 0, GAP), value=255)
    rows, across, _, h, w = tiles.shape
    sheet = tiles.permute(0, 3, 1, 4, 2).reshape(rows * h, across * w, -1)
    figure = Figure(figsize=(0.8 * across + 0.4, 0.8 * rows + 0.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet.squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([place * w for place in titles], titles.values(), ha="left", fontsize=8)
    axes.set_yticks([])
    axes.tick_params(labeltop=True, labelbottom=False, length=0)
    axes.spines[:].set_visible(False)
    return figure

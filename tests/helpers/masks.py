"""Random images with blobs of classes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from torchatlas.data.masks.base import SegmentationData


class Shapes(SegmentationData):
    """Random images and blobs of four classes, the last of them ignored."""

    mean, std = (0.0,), (1 / 255,)  # levels stay levels
    side = 24

    def read_splits(self) -> dict[str, tuple[Tensor, Tensor]]:
        rng = np.random.default_rng(0)
        images = torch.from_numpy(rng.integers(0, 256, (8, 1, self.side, self.side), dtype=np.uint8))
        fields = np.stack([ndimage.gaussian_filter(rng.random((self.side, self.side)), 2) for _ in range(8)])
        masks = np.digitize(fields, np.quantile(fields, (0.4, 0.7, 0.95))).astype(np.uint8)
        masks[masks == 3] = 255
        pairs = images, torch.from_numpy(masks)
        return {"train": pairs, "val": pairs, "test": pairs}


def shapes(**options: Any) -> Shapes:
    data = Shapes(**{"in_channels": 1, "image_size": 24, "num_classes": 3, "batch_size": 4, **options})
    data.setup()
    return data


# --- files


def save(folder: Path, name: str, pixels: Any, palette: list[int] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    if palette:
        image.putpalette(palette)
    image.save(folder / name)

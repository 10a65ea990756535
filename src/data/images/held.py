"""Images that a program has in memory, as the files that hold the same pixels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ...errors import UserError

CHANNELS = (1, 3, 4)
FORMS = "uint8 from 0 to 255, floats from 0 to 1, or PIL images"
AS_PNG = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")  # modes that a PNG file holds as they are
AS_TIFF = ("I", "F", "CMYK")


def write_images(values: Sequence[Any], folder: Path) -> None:
    """One file for each image, without loss, in the order of their names.

    Args:
        values: PIL images, or arrays and tensors, see `image_of`.
        folder: it is there.

    Raises:
        UserError: a value is no image; its place is said.
    """
    for i, value in enumerate(values):
        image = image_of(value, f"input {i}")
        mode = "L" if image.mode == "LA" and not image.has_transparency_data else image.mode
        image = image if mode in (*AS_PNG, *AS_TIFF) else image.convert("RGB")
        options: dict[str, Any] = {} if mode in AS_TIFF else {"compress_level": 1}
        if notes := image.getexif():
            options["exif"] = notes.tobytes()
        image.save(folder / f"{i:08d}{'.tiff' if mode in AS_TIFF else '.png'}", **options)


def image_of(value: Any, name: str = "the image") -> Image.Image:
    """An image in memory as Pillow has it.

    Args:
        value: a PIL image; or an array or a tensor: `h w`; with 1, 3 or 4 channels `h w c` or `c h w`. Where both could
            be meant, an array is `h w c` and a tensor `c h w`. Levels are uint8, whole numbers from 0 to 255, uint16 up
            to 65535, floats from 0 (black) to 1 (white), or truth values.
        name: for the message.

    Raises:
        UserError: it is no image, or its numbers are no such levels.

    >>> image_of(np.zeros((2, 3, 3), "uint8")).size, image_of(torch.ones(3, 2, 5)).size
    ((3, 2), (5, 2))
    """
    if isinstance(value, Image.Image):
        return value
    tensor = isinstance(value, torch.Tensor)
    try:
        levels = value.detach().cpu().numpy() if tensor else np.asarray(value)
    except (TypeError, ValueError) as error:  # bfloat16, rows of several lengths
        levels = value.detach().float().cpu().numpy() if tensor else None
        if levels is None:
            raise UserError(f"{name} is no image: give {FORMS}") from error
    if levels.dtype.kind not in "biuf":
        raise UserError(f"{name} is a {type(value).__name__}, and no image: give {FORMS}")
    return Image.fromarray(_in_8_bits(_channels_last(levels, tensor, name), name))


def _channels_last(levels: NDArray[Any], tensor: bool, name: str) -> NDArray[Any]:
    """`h w`, or `h w c` of 3 or 4 channels."""
    if levels.ndim == 3:
        first, last = levels.shape[0] in CHANNELS, levels.shape[2] in CHANNELS
        if first and (tensor or not last):
            levels = levels.transpose(1, 2, 0)
        elif not last:
            raise UserError(
                f"{name} has the shape {_by(levels)}, where 1, 3 or 4 channels are expected first or last: of several "
                "grey images give a list"
            )
        levels = levels[..., 0] if levels.shape[2] == 1 else levels
    if levels.ndim != 2 and not (levels.ndim == 3 and levels.shape[2] in CHANNELS):
        raise UserError(f"{name} has the shape {_by(levels)}, which is none of h w, h w c and c h w")
    if not levels.size:
        raise UserError(f"{name} has the shape {_by(levels)}, and no pixel")
    return levels


def _in_8_bits(levels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if levels.dtype == np.uint8:
        return np.ascontiguousarray(levels)
    if levels.dtype == np.bool_:
        return levels.astype(np.uint8) * np.uint8(255)
    low, high = float(levels.min()), float(levels.max())
    if levels.dtype == np.uint16:  # as of files: white stays white
        return ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if levels.dtype.kind == "f":
        if not 0 <= low <= high <= 1:  # nor are there any that are no numbers
            raise UserError(
                f"{name} has numbers from {low:g} to {high:g}: give {FORMS}, not normalised, which is done as in "
                "training"
            )
        return np.rint(levels.astype(np.float64) * 255).astype(np.uint8)
    if not 0 <= low <= high <= 255:
        raise UserError(f"{name} has whole numbers from {low:g} to {high:g}: give {FORMS}")
    return levels.astype(np.uint8)


def _by(levels: NDArray[Any]) -> str:
    return " x ".join(map(str, levels.shape)) or "of one number"

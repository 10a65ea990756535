"""What a network for segmentation says of a user's images."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..analysis.tiling import predict_tiled
from ..data.masks.base import SegmentationData
from ..drawing.overlay import overlay
from ..errors import UserError
from ..tasks.segmentation import Segmentation
from .registry import answers
from .rows import made_folder

log = logging.getLogger(__name__)
ENDS = ("_mask.png", "_overlay.png", ".npz")  # of what is written of an image
BAND = 1024  # rows that are painted at once: as floating-point numbers an image takes many times its memory


@answers(tasks=("segmentation",), reads=True, ends=" input=FILE output=FOLDER")
@torch.no_grad()
def segment_files(
    task: Segmentation, data: SegmentationData, given: str, *, output: str = "", tile: int = 1024,
    overlap: int | None = None, resize: int | None = None, probabilities: bool = False,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """The masks of image files of any size, as files, and the share of each class.

    Images keep their size: those that are larger than a tile are predicted in tiles, and what the network cannot divide
    is mirrored at its borders. For each image `output` gets NAME_mask.png, whose palette has the colours of the classes
    and whose pixels are their numbers, and NAME_overlay.png, the mask over the image. NAME is that of the file without
    its ending; of files in several folders it keeps the folders.

    Args:
        task: with the trained network.
        data: of the training, see `reader`.
        given: an image, or a folder with images.
        output: a folder, which is made; "": nothing is written.
        tile: of masks: pixels of a side up to which an image is predicted at once.
        overlap: pixels that neighbouring tiles share; else as many as the network sees.
        resize: of masks: pixels to which the longer side of a larger image is scaled down first; else it stays. Masks
            have the size of the file all the same.
        probabilities: of masks: whether there is NAME.npz too, with "probabilities", float16 `k h w`, and "classes".

    Yields:
        For each file, "file", "mask" (where it was written) and "share_<class>" for each class, from 0 to 1; or the
        reason for which it cannot be read, as "error".

    Raises:
        UserError: numbers that cannot be, a folder that cannot be written, or no file that is a readable image.
    """
    for name, value, least in (("tile", tile, 1), ("overlap", overlap, 0), ("resize", resize, 1)):
        if value is not None and value < least:
            raise UserError(f"{name}={value} must be at least {least}")
    if probabilities and not output:
        raise UserError("probabilities are written to a file: name a folder with output=FOLDER")
    task.eval()
    samples = data.read(given)
    paths = [Path(about["file"]) for about in samples.about]
    folder = made_folder(Path(output).expanduser()) if output else None
    names = dict(zip(paths, names_of(paths), strict=True)) if folder else {}
    if folder is not None:
        require_free(folder, names)
    larger = 0
    for (about,), batch in samples.told():
        if not batch:
            yield about
            continue
        pixels, *rest = batch
        h, w = pixels.shape[2:]
        x, *_ = data.transform((scaled_down(pixels.to(task.device), resize), *rest))
        larger += max(h, w) > data.full_size and resize is None
        logits = predict_tiled(task.network, x, tile, overlap)[0].float()
        if logits.shape[1:] != (h, w):
            logits = F.interpolate(logits[None], (h, w), mode="bilinear", antialias=True)[0]
        mask = logits.argmax(0).to(torch.uint8)  # an eighth of the memory
        shares = torch.bincount(mask.flatten(), minlength=len(logits)) / mask.numel()
        row: dict[str, Any] = {**about}
        if folder:
            name = names[Path(about["file"])]
            row["mask"] = str(write(folder, name, pixels[0].numpy(), mask, data.colours))
            if probabilities:
                values = logits.softmax(0).half().cpu().numpy()
                np.savez_compressed(folder / f"{name}.npz", probabilities=values, classes=np.array(data.classes))
        named = zip(data.classes, shares.tolist(), strict=True)
        yield row | {f"share_{name}": round(share, 6) for name, share in named}
    data.pixel_reader.tell(logging.WARNING)
    if larger:
        log.warning(
            "%d of %d images are larger than the %d pixels of training and were predicted as they are: resize=%d "
            "scales them first, as training on folders of images does",
            larger, len(paths), data.full_size, data.full_size,
        )  # fmt: skip


def scaled_down(images: Tensor, longest: int | None) -> Tensor:
    """Images `n c h w` from 0 to 255 whose longer side has at most so many pixels; None: as they are."""
    h, w = images.shape[2:]
    if longest is None or max(h, w) <= longest:
        return images
    size = [max(1, round(side * longest / max(h, w))) for side in (h, w)]
    return F.interpolate(images.float(), size, mode="bilinear", antialias=True).round().clamp(0, 255)


def names_of(paths: Sequence[Path]) -> list[str]:
    """A name for each file, without its ending where no other one has that name, below the folder that all share."""
    whole = [path.absolute() for path in paths]
    folder = os.path.commonpath([path.parent for path in whole])
    stems = [path.relative_to(folder).with_suffix("") for path in whole]
    return [
        (stem if stems.count(stem) == 1 else stem.with_name(path.name.replace(".", "_"))).as_posix()
        for path, stem in zip(whole, stems, strict=True)
    ]


def require_free(folder: Path, names: Mapping[Path, str]) -> None:
    """Refuse to write over files that lie beside the images, as their own masks may do.

    Args:
        folder: in which is written.
        names: of what is written, by image.

    Raises:
        UserError: one of them is there.
    """
    places = {path.parent.resolve() for path in names}
    for name in names.values():
        for end in ENDS:
            path = folder / f"{name}{end}"
            if path.exists() and path.parent.resolve() in places:
                raise UserError(
                    f"{path} is there already, beside the images, and would be overwritten: name another folder with "
                    "output=FOLDER"
                )


def write(
    folder: Path, name: str, pixels: NDArray[np.uint8], mask: Tensor, colours: Sequence[tuple[int, int, int]]
) -> Path:
    """The mask as a file with a palette, and the mask over the image; returns the mask's file.

    Args:
        folder, name: where, see `segment_files`.
        pixels: the image as it is in the file, `c h w`.
        mask: classes, `h w`.
        colours: of the classes, from 0 to 255.
    """
    path = folder / f"{name}_mask.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    classes = mask.to(torch.uint8).cpu().numpy()
    image = Image.fromarray(classes)
    image.putpalette([level for colour in colours for level in colour])
    image.save(path)
    base = np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0)
    painted = np.empty_like(base, order="C")
    for rows in map(slice, range(0, len(base), BAND), range(BAND, len(base) + BAND, BAND)):
        band = overlay(base[rows] / 255, classes[rows], np.array(colours) / 255)
        painted[rows] = (band * 255).round().astype(np.uint8)
    Image.fromarray(painted).save(path.with_name(f"{Path(name).name}_overlay.png"))
    return path

"""Membranes of nerve cells in electron micrographs, from the challenge of ISBI 2012."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from scipy import ndimage
from torch import Tensor

from ...errors import UserError
from ...metrics.figures import Figure, Reports
from ..download import fetch_checked
from ..images.reader import PixelReader
from .base import SegmentationData

SLICES, SIDE = 30, 512
HELD_OUT = 10  # the last slices
SMOOTHING = (0.0, 1.0, 2.0, 3.0)  # spreads in pixels, of which the threshold baseline takes the best
WHERE = "isbi_membrane/train/image/0.png ... 29.png with .../label/0.png ..., or train-volume.tif with train-labels.tif"


class ISBI2012(SegmentationData):
    """30 consecutive slices of 512x512 pixels through the nerve cord of a fruit fly's larva, with membranes marked.

    Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image segmentation algorithms for connectomics",
    Frontiers in Neuroanatomy 9:142; the images are of Cardona et al. 2010, PLoS Biology 8(10). Serial-section
    transmission electron microscopy, 4x4x50 nanometres to a voxel.

    The server that judged results on the challenge's test volume is closed, so results here are on held-out slices of
    the training volume and cannot be compared with its table. Neighbouring slices are nearly alike. The splits are
    therefore blocks: slices 20 to 29 are the test split, of the first 20 the last `val_size` are for validation, and
    only at the two borders between blocks do neighbours lie in different splits.

    Class 0 is the cell and class 1 the membrane, the rare structure that is searched for and of which Dice is told. The
    files of the challenge have it the other way: white are cells, and a result is the certainty of no membrane.

    The files are `root/isbi_membrane/train/image/N.png` and `label/N.png`, or the TIFF files of the challenge, in
    `root` or `root/isbi_membrane`, which are downloaded where neither is there.

    Args:
        others: see `SegmentationData`.
    """

    mean, std = (0.485,), (0.166,)
    classes = ("cell", "membrane")
    colours = ((0, 0, 0), (255, 90, 60))
    reports: ClassVar[Reports] = {
        "threshold_mean_iou": Figure("higher", tabled=True),
        "threshold_dice": Figure("higher", tabled=True),
    }
    objects = (0,)
    addresses: ClassVar[tuple[str, ...]] = ("https://downloads.imagej.net/ISBI-2012-challenge.zip",)
    volumes: ClassVar[dict[str, str]] = {"image": "train-volume.tif", "label": "train-labels.tif"}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.num_classes != 2:
            raise UserError(f"data.num_classes={self.num_classes} must be 2: cell and membrane")
        self._thresholds: dict[str, dict[str, float]] = {}

    def find(self) -> dict[str, list[Path]]:
        """The files of images and labels: 30 each, or a volume each; nothing where they are missing."""
        for folder in (self.root / "isbi_membrane", self.root):
            single = {kind: [folder / "train" / kind / f"{i}.png" for i in range(SLICES)] for kind in self.volumes}
            for files in (single, {kind: [folder / name] for kind, name in self.volumes.items()}):
                if all(path.is_file() for paths in files.values() for path in paths):
                    return files
        return {}

    def download(self) -> None:
        if self.find():
            return
        try:
            archive = fetch_checked(self.addresses, self.root / "ISBI-2012-challenge.zip", _fault_of_archive)
        except UserError as error:
            raise UserError(f"{error}; what is needed in that folder is {WHERE}") from error
        folder = self.root / "isbi_membrane"
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive) as opened:
            for name in self.volumes.values():
                (folder / name).write_bytes(opened.read(_member(opened, name)))

    def read_stack(self, paths: Sequence[Path]) -> NDArray[np.uint8]:
        """Grey levels `n h w` of single files, or of the pages of one.

        Raises:
            UserError: the file is torn, or is not of 30 slices of 512x512 pixels.
        """
        if len(paths) == SLICES:
            pages = [np.asarray(PixelReader().read(path)[0].convert("L")) for path in paths]
        else:
            PixelReader().open(paths[0])
            with Image.open(paths[0]) as image:
                pages = [np.asarray(page.convert("L")) for page in ImageSequence.Iterator(image)]
        if len(pages) != SLICES or {page.shape for page in pages} != {(SIDE, SIDE)}:
            shape = "x".join(map(str, pages[0].shape[::-1]))
            raise UserError(
                f"{paths[0]} has {len(pages)} slices, of {shape} pixels, where {SLICES} of {SIDE}x{SIDE} are right: "
                f"what is needed in {self.root} is {WHERE}"
            )
        stack: NDArray[np.uint8] = np.stack(pages)
        return stack

    def read_splits(self) -> dict[str, tuple[Tensor, Tensor]]:
        files = self.find()
        if not files:
            raise UserError(f"ISBI 2012 is not in {self.root}: what is needed in it is {WHERE}")
        train = SLICES - HELD_OUT - self.val_size
        if train < 1:
            raise UserError(f"data.val_size={self.val_size} leaves nothing of {SLICES - HELD_OUT} training slices")
        images = torch.from_numpy(self.read_stack(files["image"]))[:, None]
        masks = torch.from_numpy((self.read_stack(files["label"]) < 128).astype(np.uint8))
        parts = (train, self.val_size, HELD_OUT)
        pairs = zip(("train", "val", "test"), images.split(parts), masks.split(parts), strict=True)
        return {name: (part, mask) for name, part, mask in pairs}

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        """The constant answer, and the best threshold: pixels darker than it, after smoothing, are membrane.

        Threshold and smoothing are those with the best Dice of the membranes on the training split; Dice and mean IoU
        are of all pixels of a split together.
        """
        if not self._thresholds:
            found = {name: self.threshold_figures(name) for name in ("train", "val", "test")}
            best = int(found["train"]["dice"].argmax())
            self._thresholds = {
                name: {f"threshold_{key}": float(values.flatten()[best]) for key, values in figures.items()}
                for name, figures in found.items()
                if name != "train"
            }
        constant = super().baselines
        return {name: constant[name] | figures for name, figures in self._thresholds.items()}

    def threshold_figures(self, split: str) -> dict[str, NDArray[np.float64]]:
        """Dice of the membranes and mean IoU for each smoothing and each threshold from 1 to 255, `4 255`."""
        dataset: Any = self.splits[split]
        images, masks = dataset.images.float().mean(1).numpy(), dataset.masks.numpy()
        dice, iou = [], []
        for spread in SMOOTHING:
            smooth = np.stack([ndimage.gaussian_filter(image, spread) for image in images]) if spread else images
            levels = smooth.round().astype(np.uint8)
            darker = [np.bincount(levels[masks == k], minlength=256).cumsum() for k in (0, 1)]
            false, true = (counts[:255].astype(np.float64) for counts in darker)  # darker than 1, ..., 255
            missed, right = darker[1][-1] - true, darker[0][-1] - false
            dice.append(2 * true / np.maximum(1, 2 * true + false + missed))
            ious = [hits / np.maximum(1, hits + false + missed) for hits in (true, right)]
            iou.append((ious[0] + ious[1]) / 2)
        return {"dice": np.stack(dice), "mean_iou": np.stack(iou)}


def _member(archive: zipfile.ZipFile, name: str) -> str:
    """The path of a file in the archive, in whatever folder it lies; nothing where it is missing."""
    return next((entry for entry in archive.namelist() if Path(entry).name == name), "")


def _fault_of_archive(path: Path) -> str:
    """What is wrong with a downloaded archive, or nothing; the zip format has a checksum of each file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [_member(archive, name) for name in ISBI2012.volumes.values()]
            if not all(members):
                return "the archive has no train-volume.tif with train-labels.tif"
            for member in members:
                with archive.open(member) as file:
                    while file.read(1 << 20):
                        pass
    except (OSError, zipfile.BadZipFile) as error:
        return f"the archive is torn ({error})"
    return ""

"""Images with labels: what all image data modules share."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...counter import uniform
from ...errors import UserError
from ..base import SPLIT_SEED, DataModule
from ..loading import BatchDataset
from ..reading import Given, find_files
from .augment import NUMBERS, Augmentation
from .files import ENDINGS, ImageFiles
from .held import write_images
from .reader import PixelReader, ground_of


class ImageValues(TypedDict):
    """What networks for images have to know of them.

    Attributes:
        classes: names in the order of the labels.
        in_channels, image_size: of an input.
        mean, std: of each channel on the scale 0..1, by which inputs are normalised.
        ground: colour under transparent places of files; None: transparency is left out.
        upright: whether photographs are turned as cameras have noted.
    """

    classes: list[str]
    in_channels: int
    image_size: int
    mean: list[float]
    std: list[float]
    ground: list[int] | None
    upright: bool


class ImageDescription(ImageValues):
    """Images with labels."""

    kind: Literal["image"]


class InMemoryImages:
    """uint8 images `n c h w` and int64 labels `n`, read by whole batches."""

    again = True

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images.contiguous(), labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor, Tensor, int]:
        epoch, indices = key
        places = indices % len(self)
        return self.images[places], self.labels[places], indices, epoch


def crop_and_flip(images: Tensor, random: Tensor, *, padding: int, flip: bool) -> Tensor:
    """Shift each image by up to `padding` pixels, with zeros from outside, and mirror half of them.

    Equal to zero padding, a random crop of the old size and a random horizontal flip.

    Args:
        images: `b c h w` of any type.
        random: numbers in [0, 1) of shape `b 3`: vertical place, horizontal place, flip.
        padding: pixels on each side.
        flip: whether to mirror where the third number is under one half.
    """
    b, c, h, w = images.shape
    top, left = (random[:, :2] * (2 * padding + 1)).long().unbind(1)
    rows = top[:, None] + torch.arange(h, device=images.device)
    columns = torch.arange(w, device=images.device).expand(b, w)
    if flip:
        columns = torch.where(random[:, 2:] < 0.5, w - 1 - columns, columns)
    columns = left[:, None] + columns
    places = rows[:, :, None] * (w + 2 * padding) + columns[:, None, :]
    # One gather over flat images: indexing by batch, channel, row and column takes seven times as long on a CPU.
    padded = F.pad(images, (padding,) * 4).flatten(2)
    return padded.gather(2, places.view(b, 1, h * w).expand(b, c, h * w)).view(b, c, h, w)


def fit_images(images: Tensor, in_channels: int, image_size: int) -> Tensor:
    """uint8 images `n c h w` with the wanted channels and square size; grey is repeated, colour becomes luma."""
    if images.shape[1] != in_channels:
        if in_channels == 1:
            luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # ITU-R 601-2
            images = (images.float() * luma).sum(1, keepdim=True).round().to(torch.uint8)
        else:
            images = images[:, :1].expand(-1, in_channels, -1, -1)
    if images.shape[-2:] != (image_size, image_size):
        parts = [
            F.interpolate(part.float(), (image_size, image_size), mode="bilinear", antialias=True)
            for part in images.split(1000)
        ]
        images = torch.cat([part.round().clamp(0, 255).to(torch.uint8) for part in parts])
    return images


class ImageData(DataModule):
    """Labelled images, held as uint8 and augmented in batches on the device of the network.

    A subclass implements `read_images`, and `download` where there is something to download.

    Args:
        in_channels: channels that the network gets: 1 (colour becomes luma) or 3 (grey is repeated).
        image_size: height and width that the network gets, in pixels; other sizes are resized once.
        num_classes: number of classes.
        root: folder that has the files, or gets them.
        val_size: samples that are taken from the training split for validation.
        crop_padding: pixels by which training images are padded and then cropped at random; 0 for none.
        flip: whether half of the training images are mirrored.
        augment: what else happens to training images, see `Augmentation`; by default nothing.
        mean, std: per channel on the scale 0..1; by default the constants of the class.
        ground: the colour that is seen through transparent places of image files, see `ground_of`; None: transparency
            is left out, and what is stored under it is seen.
        common: batch size, workers, seed and so on, see `DataModule`.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classification", "autoencoding", "elbo", "diffusion")
    network = "mlp"
    of_images = True
    endings = ENDINGS
    classes: Sequence[str] = ()
    resize: int | None = None  # pixels of the shorter side of a file before its centre is cut out; None: `image_size`
    mean: Sequence[float] = (0.5,)
    std: Sequence[float] = (0.25,)
    turned_before: ClassVar[bool] = False  # whether photographs were, before checkpoints said so

    def __init__(
        self,
        *,
        in_channels: int,
        image_size: int,
        num_classes: int,
        root: str = "data",
        val_size: int = 100,
        crop_padding: int = 0,
        flip: bool = False,
        augment: Mapping[str, Any] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        ground: str | int | Sequence[int] | None = "white",
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if in_channels not in (1, 3):
            raise UserError(f"data.in_channels={in_channels} must be 1 (grey) or 3 (colour)")
        if image_size < 1 or crop_padding < 0 or val_size < 1:
            raise UserError(
                f"data.image_size={image_size} and data.val_size={val_size} must be positive, "
                f"and data.crop_padding={crop_padding} not negative"
            )
        self.in_channels, self.image_size, self.num_classes = in_channels, image_size, num_classes
        self.root, self.val_size = Path(root).expanduser(), val_size
        self.crop_padding, self.flip = crop_padding, flip
        self.augment = Augmentation.of(augment or {}, in_channels=in_channels, image_size=image_size)
        self.pixel_reader = PixelReader(ground_of(ground))
        for key, values, least in (("mean", mean, -math.inf), ("std", std, 0.0)):
            _require_statistic(key, values, least)
        self.user_gave = {"mean": mean is not None, "std": std is not None}
        self.own_statistics = mean is not None or std is not None
        self.given_statistics = mean is not None and std is not None
        self.mean = _per_channel(self.mean if mean is None else mean, in_channels)
        self.std = _per_channel(self.std if std is None else std, in_channels)
        self._statistics: tuple[Any, Tensor] = None, torch.empty(0)
        if not self.classes:
            self.classes = [str(k) for k in range(num_classes)]

    def download(self) -> None:
        """Make sure that the files are under `root`."""

    def read_images(self, train: bool) -> tuple[Tensor, Tensor]:
        """The official training or test split: uint8 images `n c h w` and int64 labels `n`."""
        raise NotImplementedError

    def read_splits(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The three splits, validation carved from training by a generator with a fixed seed."""
        images, labels = self.read_images(train=True)
        if self.val_size >= len(images):
            raise UserError(f"data.val_size={self.val_size} leaves nothing of {len(images)} training samples")
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SPLIT_SEED))
        val, train = order[: self.val_size].sort().values, order[self.val_size :].sort().values
        return {
            "train": (images[train], labels[train]),
            "val": (images[val], labels[val]),
            "test": self.read_images(train=False),
        }

    def prepare_data(self) -> None:
        if not self.fake:
            self.download()

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        splits = self.in_folds(self.fake_splits() if self.fake else self.read_splits())
        ready: dict[str, BatchDataset] = {}
        for name, (images, labels) in splits.items():
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
                raise UserError(
                    f"the {name} labels run from {int(labels.min())} to {int(labels.max())}, "
                    f"outside data.num_classes={self.num_classes}"
                )
            ready[name] = InMemoryImages(fit_images(images, self.in_channels, self.image_size), labels)
        self.splits = ready

    def fake_splits(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Noise over one fixed pattern per class: a rule that any classifier can learn."""
        shape = (self.in_channels, self.image_size, self.image_size)
        generator = torch.Generator().manual_seed(SPLIT_SEED)
        patterns = torch.randint(0, 128, (self.num_classes, *shape), generator=generator)

        def make(n: int) -> tuple[Tensor, Tensor]:
            labels = torch.randint(self.num_classes, (n,), generator=generator)
            noise = torch.randint(0, 128, (n, *shape), generator=generator)
            return (patterns[labels] + noise).to(torch.uint8), labels

        return {"train": make(2 * self.batch_size), "val": make(self.batch_size), "test": make(self.batch_size)}

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """uint8 images, labels, indices and epoch in; normalised float images `b c h w` and labels `b` out.

        Training images are cropped and mirrored, moved, recoloured and given to the policy; then normalised; then
        erased with 0, which is the mean of the data; then mixed, which makes the labels soft: float `b k`.
        """
        images, labels, indices, epoch = batch
        if epoch < 0:
            return self.normalize(images), labels
        random = uniform(self.seed, epoch, indices, self.augment.draws)
        if self.crop_padding or self.flip:
            images = crop_and_flip(images, random[:, NUMBERS["crop"]], padding=self.crop_padding, flip=self.flip)
        images = self.normalize(self.augment.change(images, random))
        return self.augment.combine(images, labels, random, num_classes=self.num_classes)

    def normalize(self, images: Tensor) -> Tensor:
        """(x / 255 - mean) / std, per channel."""
        key = (images.device, *self.mean, *self.std)
        if self._statistics[0] != key:  # else each batch would wait for a copy to the device
            mean_and_std = torch.tensor([self.mean, self.std], device=images.device)
            self._statistics = key, (255 * mean_and_std)[:, :, None, None]
        mean, std = self._statistics[1].unbind()
        return (images.float() - mean) / std

    def preprocess_as(self, mean: Sequence[float], std: Sequence[float], image_size: int) -> list[str]:
        lines = []
        mean, std = (_per_channel(values, self.in_channels) for values in (mean, std))
        theirs = f"mean {_short(mean)}, spread {_short(std)}"
        if not self.own_statistics:
            self.normalize_by(mean, std)
            lines.append(f"images are normalised as for these weights: {theirs}")
        elif [*self.mean, *self.std] != [*mean, *std]:
            lines.append(
                f"images are normalised by data.mean and data.std, {_short(self.mean)} and {_short(self.std)}; for "
                f"these weights it was {theirs}"
            )
        if self.image_size != image_size:
            lines.append(
                f"the weights were trained with images of {image_size} pixels, and data.image_size is {self.image_size}"
            )
        return lines

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        shape = (batch, self.in_channels, self.image_size, self.image_size)
        return torch.randn(shape), torch.randint(self.num_classes, (batch,))

    def read(self, given: str) -> Given[BatchDataset]:
        return self.read_files(find_files(given, self.endings))

    def read_files(self, paths: Sequence[Path]) -> Given[BatchDataset]:
        """Image files of any sizes, see `read`."""
        names = np.array([os.fsencode(path) for path in paths])
        files = ImageFiles(
            Path(), names, torch.zeros(len(paths), dtype=torch.int64), in_channels=self.in_channels,
            image_size=self.image_size, resize=self.resize, reader=self.pixel_reader,
        )  # fmt: skip
        return Given([{"file": str(path)} for path in paths], files)

    def as_given(self, values: Sequence[Any], folder: Path) -> tuple[DataModule, Any]:
        write_images(values, folder)
        return self, str(folder)

    def tell_reading(self, level: int) -> None:
        self.pixel_reader.tell(level)

    def values(self) -> ImageValues:
        """What all descriptions of images have."""
        return {
            "classes": list(self.classes),
            "in_channels": self.in_channels,
            "image_size": self.image_size,
            "mean": [float(m) for m in self.mean],
            "std": [float(s) for s in self.std],
            "ground": None if self.pixel_reader.ground is None else list(self.pixel_reader.ground),
            "upright": self.pixel_reader.upright,
        }

    def describe(self) -> ImageDescription:
        return {"kind": "image", **self.values()}  # type: ignore[typeddict-item]  # of a folder with `resize`

    def normalize_by(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Take these statistics, per channel on the scale 0..1; none are computed then."""
        self.mean, self.std, self.given_statistics = mean, std, True

    def take_statistics(self, mean: Tensor, squares: Tensor) -> None:
        """Those of the training images, of which a user may have given one.

        Args:
            mean, squares: of the values and of their squares, float64 `c`.
        """
        if not self.user_gave["mean"]:
            self.mean = mean.tolist()
        if not self.user_gave["std"]:
            self.std = (squares - mean**2).clamp(min=1e-4).sqrt().tolist()
        self.given_statistics = True

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """A resumed run normalises with the statistics of its first start; classes have the names of that.

        Files are read as then, too: checkpoints of earlier versions left transparency out.
        """
        self.normalize_by(state_dict["mean"], state_dict["std"])
        self.classes = list(state_dict["classes"])
        self.pixel_reader = replace(
            self.pixel_reader, ground=ground_of(state_dict.get("ground")),
            upright=state_dict.get("upright", self.turned_before),
        )  # fmt: skip


def _require_statistic(key: str, values: Any, least: float) -> None:
    """Refuse what is no number for each channel; see `ImageData`."""
    if values is None:
        return
    known = isinstance(values, Sequence) and not isinstance(values, str) and len(values) in (1, 3)
    if not known or not all(type(v) in (int, float) and least < v < math.inf for v in values):
        over = " over 0" if least == 0 else ""
        raise UserError(
            f"data.{key}={values} must be one or three numbers{over} on the scale 0..1, as in "
            f"data.{key}=[0.5,0.5,0.5], or null"
        )


def _per_channel(values: Sequence[float], channels: int) -> list[float]:
    if len(values) == channels:
        return list(values)
    return [sum(values) / len(values)] * channels


def _short(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)

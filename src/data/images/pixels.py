"""Images of digits, read row by row or pixel by pixel."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ...counter import uniform
from ...errors import UserError
from ..base import SPLIT_SEED, DataModule
from ..loading import BatchDataset
from ..reading import Given
from .base import ImageData, ImageValues
from .digits import Digits
from .files import ENDINGS
from .mnist import MNIST


def permutation(size: int) -> list[int]:
    """A random order of `size` places that is always the same."""
    with torch.device("cpu"):  # also where a network is tried on another device
        random = uniform(SPLIT_SEED, 0, torch.arange(size), 1)[:, 0]
    return random.argsort(stable=True).tolist()  # type: ignore[no-any-return]


class PixelDescription(ImageValues):
    """Images that are read in parts.

    Attributes:
        by: "row" or "pixel".
        order: in which the pixels of the flat image are taken; None: row after row.
    """

    kind: Literal["pixels"]
    by: str
    order: list[int] | None


class Pixels(DataModule):
    """Grey images as sequences: what is read at once is a row, or one pixel. A subclass names the images.

    Le, Jaitly and Hinton 2015, arXiv:1504.00941, section 4.2 ("sequential MNIST", pixel by pixel, also in a fixed
    random order). Splits and normalisation are those of the images' own class; there is no augmentation. Batches:
    x `b t c`, labels `b`.

    Args:
        by: "row", as many steps as there are rows and as many values a step as there are columns, or "pixel", one value
            a step, row after row.
        permute: whether the pixels are taken in one random order, the same for all images and all runs, before they are
            divided into steps.
        in_channels, num_classes: what networks are told: values of a step, and classes.
        images: arguments of the images' class: root, val_size and what is common to all data.

    Raises:
        UserError: another way to read, or a declaration that is not that of the images.
    """

    tasks = ("classification",)
    endings = ENDINGS
    source: ClassVar[type[ImageData]]
    image_size: ClassVar[int]

    def __init__(
        self, *, by: str, permute: bool = False, in_channels: int, num_classes: int = 10, targets: str | None = None,
        **images: Any,
    ) -> None:  # fmt: skip
        if by not in ("row", "pixel"):
            raise UserError(f"data.by={by} must be row or pixel")
        values = self.image_size if by == "row" else 1
        if (in_channels, num_classes) != (values, 10):
            raise UserError(
                f"data.in_channels={in_channels} and data.num_classes={num_classes} must be {values} and 10 for digits "
                f"that are read with data.by={by}"
            )
        self.images = self.source(in_channels=1, image_size=self.image_size, num_classes=num_classes, **images)
        super().__init__(
            batch_size=self.images.batch_size, num_workers=self.images.num_workers, seed=self.images.seed,
            fake=self.images.fake, same_batch=self.images.same_batch, targets=targets, sampling=self.images.sampling,
        )  # fmt: skip
        self.by, self.in_channels, self.num_classes = by, in_channels, num_classes
        self.classes: Sequence[str] = list(self.images.classes)
        self.order = permutation(self.image_size**2) if permute else None
        self._order = torch.tensor(self.order or [], device="cpu")

    def prepare_data(self) -> None:
        self.images.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        self.images.fold = self.fold
        self.images.setup(stage)
        self.splits, self.places, self.pool = self.images.splits, self.images.places, self.images.pool

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """uint8 images `b 1 h w`, labels, indices and epoch in; normalised sequences `b t c` and labels `b` out."""
        images, labels, _, _ = batch
        x = self.images.normalize(images).flatten(1)
        if self.order is not None:
            if self._order.device != x.device:  # else each batch would wait for a copy to the device
                self._order = torch.tensor(self.order, device=x.device)
            x = x[:, self._order]
        return x.unflatten(1, (-1, self.in_channels)), labels

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        x = torch.randn(batch, self.image_size**2 // self.in_channels, self.in_channels)
        return x, torch.randint(self.num_classes, (batch,))

    def read(self, given: str) -> Given[BatchDataset]:
        return self.images.read(given)

    def as_given(self, values: Sequence[Any], folder: Path) -> tuple[DataModule, Any]:
        return self, self.images.as_given(values, folder)[1]

    def tell_reading(self, level: int) -> None:
        self.images.pixel_reader.tell(level)

    def describe(self) -> PixelDescription:
        return {"kind": "pixels", **self.images.values(), "by": self.by, "order": self.order}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """A resumed run reads in the order of its first start."""
        self.images.load_state_dict(state_dict)
        self.order = state_dict["order"]
        self._order = torch.tensor(self.order or [], device="cpu")


class DigitSequences(Pixels):
    """scikit-learn's 8x8 digits, see `Digits`: 8 steps of 8 values, or 64 steps of one."""

    at_hand = True
    source = Digits
    image_size = 8


class MNISTSequences(Pixels):
    """MNIST, see `MNIST`: 28 steps of 28 values, or 784 steps of one."""

    source = MNIST
    image_size = 28

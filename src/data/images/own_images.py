"""Images of a program's own data set: PIL images, or arrays and tensors of uint8."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import UserError
from ..held import classes_in, items_of, labels_in, number_of, require_classes, splits_of
from .base import ImageData, ImageDescription
from .files import fitted
from .held import image_of
from .reader import PixelReader, of_8_bits

LOOKED = 1000  # images of which mean and spread are computed


class HeldImages:
    """The same batches as `InMemoryImages`, from a data set of a program's own.

    Args:
        dataset: gives pairs of an image and its class.
        num_classes: of all labels.
        in_channels, image_size, resize, reader: see `load_image`.
    """

    again = True

    def __init__(
        self, dataset: Any, num_classes: int, in_channels: int, image_size: int, resize: int | None, reader: PixelReader
    ) -> None:  # fmt: skip
        self.dataset, self.num_classes = dataset, num_classes
        self.in_channels, self.image_size, self.resize, self.reader = in_channels, image_size, resize, reader
        self.size = number_of(dataset)
        if (labels := labels_in(dataset)) is not None:
            self.labels = labels

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor, Tensor, int]:
        epoch, indices = key
        pairs = items_of(self.dataset, (indices % self.size).tolist())
        images = torch.stack([self.pixels(x) for x, _ in pairs])
        return images, classes_of([y for _, y in pairs], self.num_classes), indices, epoch

    def pixels(self, value: Any) -> Tensor:
        """One image as uint8 `c h w` of the wanted size, as of a file."""
        image = image_of(value)
        image = of_8_bits(image, "an image") if image.mode.startswith(("I", "F")) else image
        return fitted(image, image.size, self.in_channels, self.image_size, self.resize, self.reader)


def classes_of(given: Sequence[Any], num_classes: int) -> Tensor:
    """Classes as int64 `b`.

    Raises:
        UserError: a target is no class, or none of so many.
    """
    try:
        numbers = torch.tensor([float(y) for y in given], dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"a target of the data set is {given[0]!r:.40}, and no number of a class from 0") from error
    require_classes(numbers, num_classes)
    return classes_in(numbers)


class OwnImages(ImageData):
    """Images with classes of a `torch.utils.data.Dataset` that a program gives to `torchatlas.train`.

    A sample is a pair (image, class) or a dictionary with both. Images are PIL images, or arrays and tensors of uint8
    as `image_of` takes them, of any sizes: they are fitted to `image_size` as files are, so that the network answers to
    files too. Training images are divided where no data set is given for validation.

    Args:
        held: the name under which the program has given them.
        val_share: of the training images, for validation.
        classes: names in the order of the labels; None: their numbers.
        resize: pixels of the shorter side before the centre is cut out; None: `image_size`.
        options: see `ImageData`.
    """

    tasks = ("classification", "autoencoding", "elbo", "diffusion")
    turned_before = True

    def __init__(
        self, *, held: str | None = None, val_share: float = 0.1, classes: Sequence[str] | None = None,
        resize: int | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        self.held, self.val_share, self.resize = held, val_share, resize
        if classes is not None:
            if len(classes) != self.num_classes:
                raise UserError(f"data.classes are {len(classes)} names, and data.num_classes is {self.num_classes}")
            self.classes = list(map(str, classes))

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        if self.fake:
            super().setup(stage)
            return
        ready = {}
        for split, dataset in splits_of(self.held, self.val_share).items():
            ready[split] = HeldImages(
                dataset, self.num_classes, self.in_channels, self.image_size, self.resize, self.pixel_reader
            )
        self.splits = {**ready}
        if not self.given_statistics and "train" in ready:
            n = len(ready["train"])
            images = ready["train"][-1, torch.linspace(0, n - 1, min(n, LOOKED)).long()][0].double() / 255
            self.take_statistics(images.mean((0, 2, 3)), images.square().mean((0, 2, 3)))

    def describe(self) -> ImageDescription:
        return {"kind": "image", **self.values(), **({} if self.resize is None else {"resize": self.resize})}  # type: ignore[typeddict-item]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.resize = state_dict.get("resize", self.resize)

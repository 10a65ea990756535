"""Images with a class for each pixel: what all data for segmentation share."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...counter import uniform
from ...errors import UserError
from ...metrics.figures import Figure, Reports
from ..base import SPLIT_SEED, require_memory
from ..images.augment import NUMBERS
from ..images.base import ImageData, ImageValues, fit_images
from ..images.colour import colour_jitter
from ..reading import Given
from .border_weights import balancing_weights, border_weights
from .codes import IGNORED, Pair
from .files import PairedFiles, Weigh, WholeImages, weights_of
from .joint_augment import DRAWS, affine_matrices, fetch, fetch_whole, grid_displacements, places, smooth_displacements

JOINT_STREAM = 0x6A6F696E  # added to the seed, so that these numbers are shared with no other part
ELASTIC = ("unet", "simard")
COUNTED = 2000  # training masks, evenly spaced, in which the pixels of each class are counted


def voc_colours(number: int) -> list[tuple[int, int, int]]:
    """The colour map of PASCAL VOC's development kit: black first, then colours that are far from one another.

    The bits of the class, three by three from the lowest, are the bits of red, green and blue from the highest.

    >>> voc_colours(4)
    [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
    """

    def level(k: int, channel: int) -> int:
        return sum((k >> (3 * place + channel) & 1) << (7 - place) for place in range(8))

    return [(level(k, 0), level(k, 1), level(k, 2)) for k in range(number)]


class InMemoryMasks:
    """Images and masks, read by whole batches.

    Args:
        images: uint8 `n c h w`.
        masks: uint8 `n h w`.
        sizes: int64 `n 2`: height and width of what is the image, from the upper left corner; the rest is filled.
        weights: of the pixels, float `n h w`, or None.
    """

    def __init__(self, images: Tensor, masks: Tensor, sizes: Tensor, weights: Tensor | None = None) -> None:
        self.images, self.masks, self.sizes, self.weights = images.contiguous(), masks.contiguous(), sizes, weights

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Any, ...]:
        epoch, i = key
        weights = () if self.weights is None else (self.weights[i],)
        return self.images[i], self.masks[i], *weights, self.sizes[i], i, epoch

    def masks_of(self, indices: Tensor) -> Tensor:
        return self.masks[indices]


class SegmentationDescription(ImageValues):
    """Images with a class for each pixel.

    Attributes:
        colours: of the classes, red, green and blue from 0 to 255.
        full_size: side of the whole images, of which `image_size` is a part.
        ignore_index: the class of pixels that do not count.
    """

    kind: Literal["segmentation"]
    colours: list[list[int]]
    full_size: int
    ignore_index: int


class SegmentationData(ImageData):
    """Images and masks, held as uint8 and augmented together in batches on the device of the network.

    A batch is (x, mask), or (x, weights, mask) in training with border weights: x float `b c h w`, mask int64 `b h w`
    with classes and 255 for ignored pixels, weights float `b h w`. A subclass implements `read_splits`.

    Args:
        in_channels: 1 (colour becomes luma) or 3 (grey is repeated).
        image_size: side of what the network gets in training, in pixels.
        num_classes: number of classes.
        full_size: side of the whole images; null: `image_size`. Larger ones than `image_size` are cut at random places
            in training, and whole in evaluation.
        flip, vertical_flip: whether half of the training images are mirrored, from left to right and upside down.
        quarter_turns: whether training images are turned by a random number of quarter turns.
        elastic: "unet" or "simard", see `joint_augment`; None: none.
        elastic_std: of U-Net's displacements, in pixels.
        elastic_alpha, elastic_sigma: of Simard's, in pixels.
        border_weights: whether training batches have U-Net's weights of pixels. Augmentation moves them with the mask.
        border_w0, border_sigma: see `border_weights`.
        border_balance: whether these weights balance the classes, w_c of equation 2; else w_c is 1.
        augment: of `Augmentation` the rotation, translation, scale, shear and colour (of the image alone).
        others: see `ImageData`.

    Attributes:
        classes, colours: names, and for each a colour in which people see it.
    """

    tasks = ("segmentation",)
    network = "unet_same"
    turned_before = True
    reports: ClassVar[Reports] = {
        "majority_mean_iou": Figure("higher", tabled=True),
    }
    ignore_index: ClassVar[int] = IGNORED
    objects: ClassVar[Collection[int]] = ()  # the classes between whose parts borders are; (): all but the first
    colours: Sequence[tuple[int, int, int]] = ()

    def __init__(
        self,
        *,
        full_size: int | None = None,
        vertical_flip: bool = False,
        quarter_turns: bool = False,
        elastic: str | None = None,
        elastic_std: float = 10.0,
        elastic_alpha: float = 34.0,
        elastic_sigma: float = 4.0,
        border_weights: bool = False,
        border_w0: float = 10.0,
        border_sigma: float = 5.0,
        border_balance: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 2 <= self.num_classes <= IGNORED:
            raise UserError(f"data.num_classes={self.num_classes} must be from 2 to {IGNORED}: {IGNORED} means ignored")
        if full_size is not None and (not isinstance(full_size, int) or full_size < self.image_size):
            raise UserError(
                f"data.full_size={full_size} must be a whole number from data.image_size={self.image_size}, or null"
            )
        if elastic not in (None, *ELASTIC):
            raise UserError(f"data.elastic={elastic} must be {', '.join(ELASTIC)} or null")
        if min(elastic_std, elastic_alpha) < 0 or min(elastic_sigma, border_sigma) <= 0 or border_w0 < 0:
            raise UserError(
                "data.elastic_std, data.elastic_alpha and data.border_w0 must not be negative, and data.elastic_sigma "
                "and data.border_sigma must be positive"
            )
        for key in ("policy", "erasing", "cutout", "mixup", "cutmix"):
            if getattr(self.augment, key):
                raise UserError(
                    f"data.augment.{key}={getattr(self.augment, key)} changes images without their masks: use "
                    "augment=affine or augment=colour_jitter"
                )
        self.full_size = self.image_size if full_size is None or self.fake else full_size
        self.vertical_flip, self.quarter_turns, self.elastic = vertical_flip, quarter_turns, elastic
        self.elastic_std, self.elastic_alpha, self.elastic_sigma = elastic_std, elastic_alpha, elastic_sigma
        self.border_weights, self.border_w0, self.border_sigma = border_weights, border_w0, border_sigma
        self.border_balance = border_balance
        if not self.colours:
            self.colours = voc_colours(self.num_classes)
        self._counts: dict[str, list[int]] = {}

    @classmethod
    def small(cls) -> dict[str, Any]:
        return super().small() | {"image_size": 64, "full_size": 64}

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        splits = self.fake_splits() if self.fake else self.read_splits()
        held = {name: self.hold(images, masks) for name, (images, masks) in splits.items()}
        self.keep(held)

    def keep(self, held: Mapping[str, InMemoryMasks]) -> None:
        """These are the splits; each training image gets its border weights once."""
        self.splits = dict(held)
        if self.border_weights and "train" in held:
            weigh = self.weigher()
            held["train"].weights = torch.stack([weights_of(mask, weigh) for mask in held["train"].masks])

    def hold(self, images: Tensor, masks: Tensor) -> InMemoryMasks:
        """Square images `n c h w` and masks `n h w` of one size, as a split."""
        known = masks[masks != IGNORED]
        if len(known) and int(known.max()) >= self.num_classes:
            raise UserError(f"a mask has the class {int(known.max())}, outside data.num_classes={self.num_classes}")
        if masks.shape[-1] != self.full_size:
            wide = F.interpolate(masks[:, None].float(), (self.full_size,) * 2, mode="nearest-exact")
            masks = wide[:, 0].to(torch.uint8)
        sizes = torch.full((len(masks), 2), self.full_size)
        return InMemoryMasks(fit_images(images, self.in_channels, self.full_size), masks, sizes)

    def weigher(self) -> Weigh:
        """Border weights of a training mask; the classes are balanced over the whole split."""
        balance = balancing_weights(self.class_pixels) if self.border_balance else [1.0] * self.num_classes
        return BorderWeights(
            balance, tuple(self.objects or range(1, self.num_classes)), self.border_w0, self.border_sigma
        )

    def fake_splits(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Patches of a texture for each class under noise: a rule that any network for segmentation can learn."""
        generator = torch.Generator().manual_seed(SPLIT_SEED)
        size, side = self.image_size, min(4, self.image_size)
        tiles = -(-size // side)
        shape = (self.num_classes, self.in_channels, side, side)
        textures = torch.randint(0, 128, shape, generator=generator, dtype=torch.uint8)
        textures = textures.repeat(1, 1, tiles, tiles)[..., :size, :size]

        def make(n: int) -> tuple[Tensor, Tensor]:
            coarse = torch.randint(self.num_classes, (n, 1, 4, 4), generator=generator)
            masks = F.interpolate(coarse.float(), (size, size), mode="nearest-exact").to(torch.uint8)
            images = torch.zeros(n, self.in_channels, size, size, dtype=torch.uint8)
            for k, texture in enumerate(textures):
                images = torch.where(masks == k, texture, images)
            noise = torch.randint(0, 128, images.shape, generator=generator, dtype=torch.uint8)
            return images + noise, masks[:, 0]

        return {"train": make(2 * self.batch_size), "val": make(self.batch_size), "test": make(self.batch_size)}

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """What a split yields, in; normalised float images `b c h w`, weights where there are, int64 masks, out.

        Training images are cut, mirrored, turned, moved and bent together with their masks and weights; then the
        images alone are recoloured.
        """
        images, masks, *weights, sizes, indices, epoch = batch
        if epoch < 0:
            return self.normalize(images), *weights, masks.long()
        random = uniform(self.seed, epoch, indices, self.augment.draws)
        own = uniform(self.seed + JOINT_STREAM, epoch, indices, DRAWS)
        where = self.draw_places(sizes, random, own, epoch, indices)
        layers = [masks, *weights]
        if self.augment.moves or self.elastic:
            images = fetch(images, where, "bilinear")
            layers = [fetch(layer[:, None], where, "nearest")[:, 0] for layer in layers]
        elif self.flip or self.vertical_flip or self.quarter_turns or self.full_size > self.image_size:
            images = fetch_whole(images, where)
            layers = [fetch_whole(layer[:, None], where)[:, 0] for layer in layers]
        if self.augment.recolours:
            strengths = {key: getattr(self.augment, key) for key in ("brightness", "contrast", "saturation", "hue")}
            images = colour_jitter(images, random[:, NUMBERS["colour"]], strengths)
        masks, *weights = layers
        return self.normalize(images), *weights, masks.long()

    def draw_places(self, sizes: Tensor, random: Tensor, own: Tensor, epoch: int, indices: Tensor) -> Tensor:
        """Where each pixel of a training batch comes from, `b 2 s s`; see `joint_augment.places`."""
        size, change = self.image_size, self.augment
        room = (sizes - size).clamp(min=0) + 1
        corner = (random[:, :2] * room).long()
        flips = torch.stack([random[:, 2] < 0.5 * self.flip, own[:, 0] < 0.5 * self.vertical_flip], 1)
        turns = (4 * own[:, 1]).long() if self.quarter_turns else torch.zeros_like(indices)
        matrices = shifts = None
        if change.moves:
            matrices = affine_matrices(
                random[:, NUMBERS["affine"]], size,
                rotation=change.rotation, translate=change.translate, scale=change.scale, shear=change.shear,
            )  # fmt: skip
        if self.elastic == "unet":
            shifts = grid_displacements(own[:, 2:], size, self.elastic_std)
        elif self.elastic == "simard":
            shifts = smooth_displacements(
                self.seed, epoch, indices, size, alpha=self.elastic_alpha, sigma=self.elastic_sigma
            )
        return places(size, corner, flips, turns, matrices, shifts)

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        side = self.image_size
        weights = (torch.ones(batch, side, side),) if self.border_weights else ()
        mask = torch.randint(self.num_classes, (batch, side, side))
        return torch.randn(batch, self.in_channels, side, side), *weights, mask

    def count_pixels(self, split: str) -> list[int]:
        """Pixels of each class in a split; of the training split in at most `COUNTED` masks, evenly spaced.

        A class that those do not have counts as the rarest one in weights, see `balancing_weights`.
        """
        if split not in self._counts:
            dataset: Any = self.splits[split]
            step = -(-len(dataset) // COUNTED) if split == "train" else 1
            total = torch.zeros(256, dtype=torch.int64)
            for indices in torch.arange(0, len(dataset), step).split(64):
                total += torch.bincount(dataset.masks_of(indices).flatten().long(), minlength=256)
            self._counts[split] = total[: self.num_classes].tolist()
        return self._counts[split]

    @property
    def class_pixels(self) -> list[int]:
        """Pixels of each class in the training split, for weights that balance the classes."""
        return self.count_pixels("train")

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        """What a constant answer reaches on each split: the class that is the most frequent one in training, if known.

        The mean of IoU is over the classes that are in the split, and the constant one.
        """
        found: dict[str, dict[str, float]] = {}
        if "train" not in self.splits:
            return found
        counts = self.class_pixels
        most = counts.index(max(counts))
        for split in {"val", "test"} & set(self.splits):
            pixels = self.count_pixels(split)
            share = pixels[most] / max(1, sum(pixels))
            present = {k for k, n in enumerate(pixels) if n} | {most}
            found[split] = {"majority_pixel_accuracy": share, "majority_mean_iou": share / len(present)}
        return found

    def read_files(self, paths: Sequence[Path]) -> Given[WholeImages]:
        return Given(
            [{"file": str(path)} for path in paths], WholeImages(paths, self.in_channels, self.pixel_reader), size=1
        )

    def describe(self) -> SegmentationDescription:  # type: ignore[override]  # a kind of its own
        return {
            "kind": "segmentation",
            **self.values(),  # type: ignore[typeddict-item]
            "colours": [[int(level) for level in colour] for colour in self.colours],
            "full_size": self.full_size,
            "ignore_index": self.ignore_index,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.full_size = state_dict["full_size"]
        self.colours = [(red, green, blue) for red, green, blue in state_dict["colours"]]


@dataclass(frozen=True)
class BorderWeights:
    """The weights of `border_weights` with their settings, as workers get them."""

    balance: Sequence[float]
    objects: Collection[int]
    w0: float
    sigma: float

    def __call__(self, mask: NDArray[np.uint8]) -> NDArray[np.float32]:
        return border_weights(mask, self.balance, self.objects, w0=self.w0, sigma=self.sigma)


class FileSegmentation(SegmentationData):
    """Images and masks in files.

    A subclass says in `list_pairs` which files are paired, and in `codes` which class each code in a mask has. Sets
    that fit into `memory` are decoded once; of larger ones the workers decode each batch.

    Args:
        memory: bytes up to which all images and masks are held in memory.
        others: see `SegmentationData`. Images are fitted into `full_size` by `fit_pair`.
    """

    def __init__(self, *, memory: int = 2**30, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require_memory(memory)
        self.memory = memory

    def codes(self) -> Mapping[int, int]:
        """The class of each code that masks may have, see `StoredMask`."""
        raise NotImplementedError

    def list_pairs(self) -> dict[str, list[Pair]]:
        """The files of image and mask of each split."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        if self.splits or self.fake:
            super().setup(stage)
            return
        pairs, codes = self.list_pairs(), self.codes()
        for split, found in pairs.items():
            names = [os.fsencode(os.path.relpath(path, self.root)) for pair in found for path in pair]
            self.split_files[split] = self.root, names
        make = partial(
            PairedFiles, classes=codes, in_channels=self.in_channels, size=self.full_size, reader=self.pixel_reader
        )
        files = {name: make(found) for name, found in pairs.items()}
        size = sum(map(len, pairs.values())) * (self.in_channels + 1) * self.full_size**2
        self.in_memory = size <= self.memory
        if self.in_memory:
            self.num_workers = 0
            held = {}
            for name, dataset in files.items():
                images, masks, sizes, *_ = dataset[-1, torch.arange(len(dataset))]
                held[name] = InMemoryMasks(images, masks, sizes)
            self.keep(held)
            self.pixel_reader.tell()
            return
        self.splits = dict(files)
        if self.border_weights and "train" in files:
            train = files["train"]
            self.splits["train"] = make(train.pairs, weigh=self.weigher())

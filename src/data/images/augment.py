"""The section `data.augment` of a config: what happens to a training batch, on the device of the network.

How each sample is changed is decided by numbers that are a function of (seed, epoch, index), see `counter.uniform`, so
that a resumed run sees the same pictures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from ...errors import UserError, nearest
from .boxes import cutout, random_erasing
from .colour import colour_jitter
from .geometry import random_affine
from .mixing import mix
from .policies import POLICIES, autoaugment, randaugment, trivialaugment

_LIMITS = {
    "rotation": (180.0, " degrees"),
    "translate": (1.0, " of the side"),
    "scale": (0.9, ", the largest distance of the factor from 1"),
    "shear": (80.0, " degrees"),
    "brightness": (10.0, ", the largest distance of the factor from 1"),
    "contrast": (10.0, ", the largest distance of the factor from 1"),
    "saturation": (10.0, ", the largest distance of the factor from 1"),
    "hue": (0.5, " of the circle of colours"),
    "erasing": (1.0, ", a probability"),
    "mixup": (1000.0, ", the α of Beta(α, α)"),
    "cutmix": (1000.0, ", the α of Beta(α, α)"),
}


# Where each part's numbers lie among those of a sample, whatever other parts are in use: adding one leaves the others'
# choices as they were.
NUMBERS = {
    "crop": slice(0, 3),
    "mixing": slice(3, 7),
    "cutout": slice(7, 9),
    "affine": slice(9, 14),
    "colour": slice(14, 18),
    "policy": slice(18, 50),  # two for each of RandAugment's at most sixteen operations
    "erasing": slice(50, 73),
}


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training batch after cropping and mirroring; the defaults are nothing.

    Attributes:
        rotation, shear: largest angles in degrees.
        translate: largest translation as a share of the side.
        scale: largest distance of the factor from 1.
        brightness, contrast, saturation: largest distances of the factors from 1.
        hue: largest shift as a share of the circle.
        policy: one of `POLICIES`, or None.
        operations, magnitude: RandAugment's number of operations and their level of 31.
        erasing: probability of a box of zeros.
        cutout: side of a square of zeros in pixels.
        mixup, cutmix: α of the Beta distribution of the shares.
    """

    rotation: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    policy: str | None = None
    operations: int = 2
    magnitude: int = 9
    erasing: float = 0.0
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0

    @classmethod
    def of(cls, options: Mapping[str, Any], *, in_channels: int, image_size: int) -> "Augmentation":
        """From the section `data.augment` of a config.

        Raises:
            UserError: an unknown key or a value that cannot be; it says what can.
        """
        known = [field.name for field in fields(cls)]
        for key, value in options.items():
            if key not in known:
                raise UserError(f"data.augment has no key {key!r}{nearest(str(key), known)}")
            if key in _LIMITS:
                limit, unit = _LIMITS[key]
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                if not is_number or not 0 <= value <= limit:
                    raise UserError(f"data.augment.{key}={value} must be a number from 0 to {limit:g}{unit}")
        found = cls(**options)
        whole = (("operations", 1, 16), ("magnitude", 0, 30), ("cutout", 0, image_size))
        for key, low, high in whole:
            value = getattr(found, key)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                side = ", the side of the images" if key == "cutout" else ""
                raise UserError(f"data.augment.{key}={value} must be a whole number from {low} to {high}{side}")
        if found.policy is not None and found.policy not in POLICIES:
            raise UserError(
                f"there is no data.augment.policy={found.policy}{nearest(str(found.policy), list(POLICIES))}"
            )
        if found.policy == "autoaugment" and in_channels != 3:
            raise UserError(
                "data.augment.policy=autoaugment was found for the colours of CIFAR-10, and these images are grey: use "
                "data.augment.policy=trivialaugment"
            )
        return found

    @property
    def draws(self) -> int:
        """How many random numbers each sample needs, the three of cropping and mirroring among them."""
        used = {
            "crop": True, "mixing": self.mixes, "cutout": self.cutout, "affine": self.moves, "colour": self.recolours,
            "policy": self.policy, "erasing": self.erasing,
        }  # fmt: skip
        return max(NUMBERS[part].stop for part, in_use in used.items() if in_use)

    @property
    def moves(self) -> bool:
        return bool(self.rotation or self.translate or self.scale or self.shear)

    @property
    def recolours(self) -> bool:
        return bool(self.brightness or self.contrast or self.saturation or self.hue)

    @property
    def mixes(self) -> bool:
        return bool(self.mixup or self.cutmix)

    def change(self, images: Tensor, random: Tensor) -> Tensor:
        """Before normalisation: geometry, colour and policy.

        Args:
            images: uint8 `b c h w`.
            random: `b draws`.
        """
        if self.moves:
            images = random_affine(
                images, random[:, NUMBERS["affine"]],
                rotation=self.rotation, translate=self.translate, scale=self.scale, shear=self.shear,
            )  # fmt: skip
        if self.recolours:
            strengths = {
                "brightness": self.brightness, "contrast": self.contrast, "saturation": self.saturation, "hue": self.hue
            }  # fmt: skip
            images = colour_jitter(images, random[:, NUMBERS["colour"]], strengths)
        numbers = random[:, NUMBERS["policy"]]
        if self.policy == "randaugment":
            images = randaugment(images, numbers[:, : 2 * self.operations], magnitude=self.magnitude)
        elif self.policy == "trivialaugment":
            images = trivialaugment(images, numbers[:, :3])
        elif self.policy == "autoaugment":
            images = autoaugment(images, numbers[:, :5])
        return images

    def combine(self, images: Tensor, labels: Tensor, random: Tensor, *, num_classes: int) -> tuple[Tensor, Tensor]:
        """After normalisation, where 0 is the mean of the data: erasing, Cutout, then Mixup or CutMix.

        Args:
            images: float `b c h w`.
            labels: int64 `b`.
            random: `b draws`.
            num_classes: k.

        Returns:
            Images, and labels as they came, or soft ones `b k` where images are mixed.
        """
        if self.erasing:
            images = random_erasing(images, random[:, NUMBERS["erasing"]], probability=self.erasing)
        if self.cutout:
            images = cutout(images, random[:, NUMBERS["cutout"]], size=self.cutout)
        if self.mixes:
            numbers = random[:, NUMBERS["mixing"]]
            return mix(images, labels, numbers, mixup=self.mixup, cutmix=self.cutmix, num_classes=num_classes)
        return images, labels

"""What is known of a set of weights, and what became of it in a network."""

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

SHOWN = 6  # names of a list in the log
LARGEST = 10_000  # pixels of a side that metadata of a file can ask for


@dataclass(frozen=True)
class Preprocessing:
    """What the images went through with which the weights were trained or are evaluated.

    Attributes:
        image_size: height and width that the network gets, in pixels, cut from the centre.
        resize: length of the image's shorter side before that, in pixels.
        mean, std: per channel, on the scale 0..1; they are subtracted and divided by.
        interpolation: "bilinear", "bicubic", ...
    """

    image_size: int
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Preprocessing | None":
        """What `to_json` wrote; None where it is something else."""
        with contextlib.suppress(ValueError, TypeError, KeyError, OverflowError, RecursionError):
            found: dict[str, Any] = json.loads(text)
            size, resize = int(found["image_size"]), int(found["resize"])
            mean, std = tuple(map(float, found["mean"])), tuple(map(float, found["std"]))
            possible = len(mean) == len(std) in (1, 3) and all(map(math.isfinite, mean + std)) and min(std) > 0
            if possible and 0 < size <= LARGEST and 0 < resize <= LARGEST:
                return cls(size, resize, mean, std, str(found["interpolation"])[:40])
        return None

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> "Preprocessing | None":
        """From what a data module says of itself (`describe`); None where it has no images."""
        if not {"image_size", "mean", "std"} <= data.keys():
            return None
        size = int(data["image_size"])  # ImageData scales to the very size that the network gets
        return cls(size, size, tuple(data["mean"]), tuple(data["std"]), "bilinear")

    def __str__(self) -> str:
        mean, std = (", ".join(f"{x:.4g}" for x in numbers) for numbers in (self.mean, self.std))
        return (
            f"images of {self.image_size} pixels, cut from {self.resize} ({self.interpolation}), "
            f"minus ({mean}), divided by ({std})"
        )


@dataclass(frozen=True)
class Report:
    """What `load_weights` took and what it did not.

    Attributes:
        source: whose names the tensors had: "torchvision", "timm", "torchatlas", "kuangliu/pytorch-cifar", ...
        loaded: tensors taken as they are.
        missing: names in the network that the weights do not have; these keep their initial values.
        unexpected: names in the weights for which the network has no place.
        reshaped: tensors whose shape differs, with both shapes; these keep their initial values.
        adapted: sentences: what was changed to fit, and what else the user should know.
        fresh: names in heads for another number of classes, which keep their initial values.
        preprocessing: of the images, where it is known.
    """

    source: str
    loaded: int
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    preprocessing: Preprocessing | None = None

    @property
    def as_initialised(self) -> list[str]:
        """What of the network has not come from the weights."""
        return [*self.missing, *self.reshaped, *self.fresh]

    def describe(self) -> str:
        """Short lines for the log."""
        lines = [f"{self.loaded} tensors loaded, with the names of {self.source}", *self.adapted]
        for what, names in (
            ("not in the weights, as initialised", self.missing),
            ("of another shape, as initialised", self.reshaped),
            ("in the weights alone", self.unexpected),
        ):
            if names:
                lines.append(f"{what}: {shorten(names)}")
        if self.preprocessing:
            lines.append(f"trained for {self.preprocessing}")
        return "\n".join(lines)


def shorten(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")

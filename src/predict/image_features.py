"""What networks make of images, by which sets of images are compared."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.images.base import ImageDescription, fit_images
from ..errors import UserError
from ..models.contract import Classifying
from ..run.restore import restore
from ..tasks.classification import Classification
from ..weights.inception import RESIZE, load_inception

log = logging.getLogger(__name__)
MEASURED = 50  # images at a time in a network
TOLD = 30.0  # seconds between two lines about how far it is


@dataclass(frozen=True)
class Extractor:
    """A network whose features are compared.

    Attributes:
        name: for people.
        network: uint8 images `b c h w` to a tuple of features `b d` and perhaps logits `b k`.
        inception: whether it is that of FID.
        classifies: whether there are logits for the inception score.
        about: what the output says of it.
    """

    name: str
    network: Callable[[Tensor], tuple[Tensor, ...]]
    inception: bool = False
    classifies: bool = False
    about: dict[str, Any] = field(default_factory=dict)


def inception_extractor(path: Path, device: torch.device) -> Extractor:
    """The network of FID, from a file; see `load_inception`."""
    found = load_inception(path)
    network = found.network.to(device)

    def run(images: Tensor) -> tuple[Tensor, ...]:
        colour = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        outputs: tuple[Tensor, ...] = network(colour.to(device))
        return outputs

    about = {"inception_sha256": found.sha256, "inception_origin": found.origin, "inception_resize": RESIZE}
    return Extractor("Inception-v3", run, True, found.classifies, about)


def classifier_extractor(where: str, device: torch.device) -> Extractor:
    """A classifier of this project; its features are the values that its last layer gets.

    Raises:
        UserError: the checkpoint is none of a classifier of images.
    """
    path, task, about = restore(where)
    data: ImageDescription = about["data"]
    network, heads = task.network, task.claims.heads
    known = heads or isinstance(network, Classifying)
    if not isinstance(task, Classification) or data["kind"] != "image" or not known:
        raise UserError(f"classifier={where} is no classifier of images: name the run folder of one")
    task.place(device)
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (data["mean"], data["std"]))

    def values(x: Tensor) -> Tensor:
        if isinstance(network, Classifying):
            found: Tensor = network.forward_head(network.forward_features(x), pre_logits=True)
            return found
        caught: list[Tensor] = []  # of a user's network that names its heads
        layer = network.get_submodule(heads[-1])
        with layer.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0])):
            network(x)
        return caught[-1]

    def run(images: Tensor) -> tuple[Tensor, ...]:
        x = fit_images(images, data["in_channels"], data["image_size"]).to(device) / 255
        return (values((x - mean) / std).flatten(1).float(),)

    name = f"{type(task.network).__name__} of {about['config']['name']}"
    return Extractor(name, run, about={"classifier": name, "classifier_checkpoint": str(path)})


@torch.no_grad()
def extract(
    batches: Iterator[Tensor], extractors: Sequence[Extractor], total: int, keep: int = 0
) -> tuple[list[list[Tensor]], Tensor]:
    """What the networks make of images.

    Args:
        batches: uint8 `b c h w`, `total` in all.
        keep: the first images, which are given back.

    Returns:
        For each network its outputs, `n d` each, on the CPU; and the first images, uint8 `keep c h w`.
    """
    parts: list[list[tuple[Tensor, ...]]] = [[] for _ in extractors]
    kept: list[Tensor] = []
    done, told = 0, time.monotonic()
    for images in batches:
        kept += [images[: keep - done]] if done < keep else []
        for few in images.split(MEASURED):
            for part, extractor in zip(parts, extractors, strict=True):
                part.append(tuple(output.cpu() for output in extractor.network(few)))
            done += len(few)
            if time.monotonic() - told > TOLD:
                told = time.monotonic()
                log.info("%d of %d images", done, total)
    return [[torch.cat(column) for column in zip(*part, strict=True)] for part in parts], torch.cat(kept or [images])

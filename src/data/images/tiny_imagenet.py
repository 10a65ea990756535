"""Tiny ImageNet."""

import io
import json
import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from ...errors import UserError
from ..download import fetch
from .base import ImageData
from .imagenet import synset_names

log = logging.getLogger(__name__)
NAME = "tiny-imagenet-200"
SIDE = 64  # pixels


class TinyImageNet(ImageData):
    """100,000 + 10,000 colour images of 64x64 pixels in 200 classes of ImageNet, from Stanford's course CS231n.

    Le and Yang 2015, "Tiny ImageNet Visual Recognition Challenge". The labels of the official test set are secret, so
    the official validation set is the test set here, and validation is cut from training. The archive, or the folder
    that was unpacked from it, is in `root`. Its images are decoded once, straight from the archive, into
    `root/tiny-imagenet-200.safetensors` (1.35 GB), which gets its name when it is complete. Each process holds all
    images in memory. Labels follow the sorted WordNet IDs. Mean and spread are those of the training images.
    """

    mean, std = (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)
    md5: ClassVar[str] = "90528d7ca1a48142e341f4ef8d21d0de"
    addresses: ClassVar[tuple[str, ...]] = ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",)
    number_of_classes: ClassVar[int] = 200
    per_class: ClassVar[dict[str, int]] = {"train": 500, "test": 50}

    @property
    def decoded(self) -> Path:
        return self.root / f"{NAME}.safetensors"

    def download(self) -> None:
        if self.is_decoded():
            return
        archive, folder = self.root / f"{NAME}.zip", self.root / NAME
        if folder.is_dir() and not archive.is_file():
            tensors, classes = self.decode(folder, lambda name: (folder / name).read_bytes())
        else:
            with zipfile.ZipFile(fetch(self.addresses, archive, self.md5)) as opened:
                tensors, classes = self.decode(archive, lambda name: opened.read(f"{NAME}/{name}"))
        part = self.decoded.with_name(f"{self.decoded.name}.{os.getpid()}.part")  # other runs may do the same
        try:
            save_file(tensors, part, metadata={"classes": json.dumps(classes)})
            os.replace(part, self.decoded)
        except (OSError, SafetensorError) as error:
            part.unlink(missing_ok=True)
            raise UserError(
                f"the decoded images cannot be written to {self.decoded} ({error}): make the folder writable, with "
                "1.4 GB of space, or copy the archive into another and name that with data.root=FOLDER"
            ) from error

    def is_decoded(self) -> bool:
        """Whether the file of decoded images is there and whole; the format itself says whether bytes are missing."""
        try:
            with safe_open(self.decoded, "pt") as file:
                shapes = [tuple(file.get_slice(f"{split}_images").get_shape()) for split in self.per_class]
        except (OSError, SafetensorError):
            return False
        return shapes == [(n * self.number_of_classes, 3, SIDE, SIDE) for n in self.per_class.values()]

    def decode(self, source: Path, read: Callable[[str], bytes]) -> tuple[dict[str, Tensor], list[str]]:
        """All images as uint8 `n c h w`, the labels, and the names of the classes.

        Args:
            source: archive or folder, for messages.
            read: contents of a file of it.

        Raises:
            UserError: a file is missing, or one is no image of the right size.
        """
        log.info("decoding %s, once", source)
        advice = f"move {source} elsewhere, and it is downloaded anew"

        def contents(name: str) -> bytes:
            try:
                return read(name)
            except (OSError, KeyError) as error:
                raise UserError(f"{source} has no readable {name}: {advice}") from error

        wnids = sorted(contents("wnids.txt").decode().split())
        rows = [line.split("\t") for line in contents("val/val_annotations.txt").decode().splitlines()]
        files = {
            "train": [(f"train/{w}/images/{w}_{i}.JPEG", w) for w in wnids for i in range(self.per_class["train"])],
            "test": [(f"val/images/{row[0]}", row[1]) for row in rows if len(row) > 1],
        }
        label = {wnid: k for k, wnid in enumerate(wnids)}
        tensors: dict[str, Tensor] = {}
        for split, found in files.items():
            expected = self.per_class[split] * self.number_of_classes
            if len(found) != expected or not {wnid for _, wnid in found} <= set(wnids):
                raise UserError(f"{source} names {len(found)} {split} images, not the official {expected}: {advice}")
            images = torch.empty((expected, 3, SIDE, SIDE), dtype=torch.uint8)
            for image, (name, _) in zip(images, found, strict=True):
                data = contents(name)
                try:
                    with Image.open(io.BytesIO(data)) as opened:
                        pixels = F.pil_to_tensor(opened.convert("RGB"))
                except (OSError, ValueError, SyntaxError) as error:
                    raise UserError(f"{name} in {source} cannot be read as an image: {advice}") from error
                if pixels.shape != image.shape:
                    raise UserError(f"{name} in {source} is not of {SIDE}x{SIDE} pixels: {advice}")
                image.copy_(pixels)
            tensors[f"{split}_images"] = images
            tensors[f"{split}_labels"] = torch.tensor([label[wnid] for _, wnid in found])
        return tensors, synset_names(wnids, contents("words.txt").decode())

    def read_images(self, train: bool) -> tuple[Tensor, Tensor]:
        split = "train" if train else "test"
        with safe_open(self.decoded, "pt") as file:
            self.classes = json.loads(file.metadata()["classes"])
            return file.get_tensor(f"{split}_images"), file.get_tensor(f"{split}_labels")

"""MNIST and Fashion-MNIST."""

import gzip
import shutil
from typing import ClassVar

import torchvision
from torch import Tensor

from ...errors import UserError
from ..download import fetch
from .base import ImageData


class MNIST(ImageData):
    """60,000 + 10,000 grey digits of 28x28 pixels, the official splits.

    LeCun, Cortes and Burges 1998. The files lie in torchvision's layout, `root/MNIST/raw`, so that a folder
    made by torchvision is used as it is.
    """

    mean, std = (0.1307,), (0.3081,)
    reader: ClassVar[type[torchvision.datasets.MNIST]] = torchvision.datasets.MNIST
    addresses: ClassVar[tuple[str, ...]] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )

    def download(self) -> None:
        raw = self.root / self.reader.__name__ / "raw"
        for packed_name, md5 in self.reader.resources:
            path = raw / packed_name.removesuffix(".gz")
            if not path.is_file():
                urls = [address + packed_name for address in self.addresses]
                packed = fetch(urls, raw / packed_name, md5)
                unpacking = path.with_name(path.name + ".part")
                with gzip.open(packed) as source, unpacking.open("wb") as target:
                    shutil.copyfileobj(source, target)
                unpacking.rename(path)
            n = 10_000 if path.name.startswith("t10k") else 60_000
            size = 8 + n if "labels" in path.name else 16 + n * 28 * 28  # header, then one byte a value
            if path.stat().st_size != size:
                raise UserError(
                    f"{path} has {path.stat().st_size} bytes where {size} are right: move it elsewhere, "
                    "and it is unpacked or downloaded anew"
                )

    def read_images(self, train: bool) -> tuple[Tensor, Tensor]:
        data = self.reader(str(self.root), train=train)
        return data.data[:, None], data.targets


class FashionMNIST(MNIST):
    """60,000 + 10,000 grey pictures of clothes, 28x28 pixels, the official splits.

    Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747.
    """

    mean, std = (0.2860,), (0.3530,)
    reader = torchvision.datasets.FashionMNIST
    classes = tuple(torchvision.datasets.FashionMNIST.classes)
    addresses = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    )

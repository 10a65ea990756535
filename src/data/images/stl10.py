"""STL-10."""

import tarfile
from typing import ClassVar

import numpy as np
import torch
import torchvision
from torch import Tensor

from ...errors import UserError
from ..download import fetch, md5_of
from .base import ImageData


class STL10(ImageData):
    """5,000 + 8,000 colour images of 96x96 pixels in 10 classes, the official splits without the unlabelled images.

    Coates, Lee and Ng 2011, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", AISTATS. The files
    lie in torchvision's layout, `root/stl10_binary`; of the archive (2.6 GB) only the labelled images are unpacked. The
    authors' protocol trains on ten folds of 1,000 images; here all 5,000 less `val_size` are for training. Mean and
    spread are those of the training images.
    """

    mean, std = (0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713)
    classes = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
    reader: ClassVar[type[torchvision.datasets.STL10]] = torchvision.datasets.STL10  # knows names and checksums
    addresses: ClassVar[tuple[str, ...]] = ("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",)

    def download(self) -> None:
        folder = self.root / self.reader.base_folder
        files = [file for file in (*self.reader.train_list, *self.reader.test_list) if "unlabeled" not in file[0]]
        if not all((folder / name).is_file() for name, _ in files):
            archive = fetch(self.addresses, self.root / self.reader.filename, self.reader.tgz_md5)
            wanted = {f"{self.reader.base_folder}/{name}" for name, _ in files}
            with tarfile.open(archive) as tar:
                tar.extractall(self.root, (member for member in tar if member.name in wanted), filter="data")
        for name, md5 in files:
            path = folder / name
            if not path.is_file() or md5_of(path) != md5:
                raise UserError(f"{path} has a wrong checksum: move the folder elsewhere, and it is unpacked anew")

    def read_images(self, train: bool) -> tuple[Tensor, Tensor]:
        folder, split = self.root / self.reader.base_folder, "train" if train else "test"
        images = torch.from_numpy(np.fromfile(folder / f"{split}_X.bin", np.uint8)).view(-1, 3, 96, 96)
        labels = torch.from_numpy(np.fromfile(folder / f"{split}_y.bin", np.uint8)).long() - 1
        return images.transpose(2, 3), labels  # the files have column after column

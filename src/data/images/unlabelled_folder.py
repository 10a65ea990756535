"""A user's own folder of images without classes."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import UserError
from ..folders import Files, split_folders
from ..reading import LeftOut, list_files
from .files import ENDINGS
from .image_folder import ImageFolder


class UnlabelledFolder(ImageFolder):
    """Images of any sizes somewhere under a folder, for networks that make images and for autoencoders.

    All files below `root` are taken, in the order of their paths; hidden ones are left out, see `is_hidden`. The
    shorter side is scaled to `image_size` (or `resize`) and the centre is cut out. Where `root` has a folder `train`,
    those beside it called `val` and `test` are the user's own splits. Splits that are missing are cut from the training
    images by a checksum of each file's path, so that a file that is added moves no other. All labels are 0.

    Args:
        options: see `ImageFolder`; there are no classes to name or to count.
    """

    tasks = ("autoencoding", "elbo", "diffusion")
    network = "autoencoder"

    def __init__(self, **options: Any) -> None:
        super().__init__(classes=["image"], num_classes=1, **options)

    def find_splits(self) -> dict[str, Path]:
        if not self.root.is_dir():
            raise UserError(f"the folder {self.root} does not exist: name one with images, data.root=FOLDER")
        found = split_folders(self.root)
        return found if "train" in found else {"all": self.root}

    def files_of(self, folder: Path, left: LeftOut, complete: bool) -> Files:
        """Sorted image files below a folder, relative to `root`, and zeros.

        Raises:
            UserError: there is none.
        """
        prefix = folder.relative_to(self.root).as_posix()
        names = [
            os.fsencode(name if prefix == "." else f"{prefix}/{name}") for name in list_files(folder, ENDINGS, left)
        ]
        if not names:
            raise UserError(
                f"{folder} holds no image ({', '.join(ENDINGS)}): name a folder with some, data.root=FOLDER"
            )
        return np.array(names, dtype=np.bytes_), torch.zeros(len(names), dtype=torch.int64)

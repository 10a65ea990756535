"""scikit-learn's handwritten digits."""

import torch
from torch import Tensor

from ...errors import UserError
from ..base import SPLIT_SEED
from .base import ImageData


class Digits(ImageData):
    """1,797 grey digits of 8x8 pixels, embedded in scikit-learn: nothing to download.

    Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI; scikit-learn ships its test
    part. There is no official split: a fifth is the test set and `val_size` samples are the validation
    set, both stratified by class and cut by a fixed seed.
    """

    at_hand = True
    mean, std = (0.3058,), (0.3764,)

    def read_splits(self) -> dict[str, tuple[Tensor, Tensor]]:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        x, y = load_digits(return_X_y=True)
        if not 10 <= self.val_size <= 1400:
            raise UserError(f"data.val_size={self.val_size} of the digits must be from 10 to 1400: each class is in it")
        images = torch.from_numpy(x * 255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
        labels = torch.from_numpy(y).long()
        rest, test = train_test_split(range(len(y)), test_size=0.2, stratify=y, random_state=SPLIT_SEED)
        train, val = train_test_split(rest, test_size=self.val_size, stratify=y[rest], random_state=SPLIT_SEED)
        return {name: (images[i], labels[i]) for name, i in (("train", train), ("val", val), ("test", test))}

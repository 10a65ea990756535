"""Scenes of digits."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from torchatlas.data.images.digits import Digits
from torchatlas.data.masks.digit_scenes import DigitScenes


def test_scenes_have_the_digits_of_their_split_and_no_threshold_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"in_channels": 1, "image_size": 64, "num_classes": 11, "val_size": 3, "test_size": 3}
    data, fewer = DigitScenes(train_size=24, **options), DigitScenes(train_size=2, **options)
    data.setup()
    fewer.setup()
    train: Any = data.splits["train"]
    assert torch.equal(train.images[:2], fewer.splits["train"].images)
    assert torch.equal(train.masks[:2], fewer.splits["train"].masks)
    assert not torch.equal(train.images[:3], data.splits["test"].images)
    assert set(train.masks.unique().tolist()) == set(range(11))
    ink = train.masks > 0
    assert 0.08 < float(ink.float().mean()) < 0.25
    best = 0.0
    for level, sign in itertools.product(range(0, 256, 16), (1, -1)):
        found = sign * train.images[:, 0].int() > sign * level
        best = max(best, 2 * float((found & ink).sum()) / float(found.sum() + ink.sum()))
    assert best < 0.5

    whole = Digits.read_splits

    def one_each(self: Digits) -> dict[str, tuple[Tensor, Tensor]]:
        chosen = zip(whole(self).items(), (3, 5, 7), strict=True)
        return {split: (images[labels == k], labels[labels == k]) for (split, (images, labels)), k in chosen}

    monkeypatch.setattr(Digits, "read_splits", one_each)
    apart = DigitScenes(train_size=3, **options).read_splits()
    assert [set(masks.unique().tolist()) for _, masks in apart.values()] == [{0, 4}, {0, 6}, {0, 8}]

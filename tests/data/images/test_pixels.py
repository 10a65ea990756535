"""Digits as sequences of pixels."""

import math

import pytest
import torch
from helpers.data import ready

from torchatlas.data.images.digits import Digits
from torchatlas.data.images.mnist import MNIST
from torchatlas.data.images.pixels import DigitSequences, MNISTSequences, permutation
from torchatlas.errors import UserError


@pytest.mark.parametrize(("by", "shape"), [("row", (8, 8)), ("pixel", (64, 1))])
def test_sequences_are_the_images(by: str, shape: tuple[int, int]) -> None:
    images = ready(Digits(in_channels=1, image_size=8, num_classes=10, val_size=144))
    data = ready(DigitSequences(by=by, in_channels=shape[1], val_size=144))
    key = (-1, torch.arange(20))
    x, labels = data.transform(data.splits["test"][key])
    pictures, expected = images.transform(images.splits["test"][key])
    assert x.shape == (20, *shape)
    assert torch.equal(labels, expected)
    assert torch.equal(x.reshape(20, 1, 8, 8), pictures)


def test_training_sequences_are_not_augmented() -> None:
    data = ready(DigitSequences(by="pixel", in_channels=1, val_size=144))
    indices = torch.tensor([5, 2])
    early, late = (data.transform(data.splits["train"][epoch, indices])[0] for epoch in (0, 8))
    assert torch.equal(early, late)


def test_permuted_pixels_are_one_fixed_order() -> None:
    plain, permuted = (DigitSequences(by="pixel", in_channels=1, val_size=144, permute=p) for p in (False, True))
    key = (-1, torch.arange(9))
    x, y = (ready(data).transform(data.splits["val"][key])[0] for data in (plain, permuted))
    order = permuted.describe()["order"]
    assert sorted(order) == list(range(64))
    assert order != list(range(64))
    assert plain.describe()["order"] is None
    assert torch.equal(y, x[:, order])
    rows = DigitSequences(by="row", in_channels=8, val_size=144, permute=True, seed=5)
    assert rows.describe()["order"] == order  # neither the seed nor the way of reading changes it
    assert torch.equal(ready(rows).transform(rows.splits["val"][key])[0].flatten(1), y.flatten(1))
    restored = DigitSequences(by="pixel", in_channels=1, val_size=144)
    restored.load_state_dict(permuted.state_dict())
    assert torch.equal(ready(restored).transform(restored.splits["val"][key])[0], y)


def test_permutation_is_far_from_the_order_of_the_pixels() -> None:
    order = torch.tensor(permutation(784)).double()
    assert abs(float(torch.corrcoef(torch.stack([order, torch.arange(784.0).double()]))[0, 1])) < 5 / math.sqrt(784)
    assert float((order.diff().abs() > 28).double().mean()) > 0.9


def test_pixels_refuse_other_declarations() -> None:
    with pytest.raises(UserError, match=r"data.by=column must be row or pixel"):
        MNISTSequences(by="column", in_channels=28)
    with pytest.raises(UserError, match=r"data.in_channels=8 and data.num_classes=10 must be 28 and 10"):
        MNISTSequences(by="row", in_channels=8)


def test_mnist_sequences_are_made_of_mnist() -> None:
    images = ready(MNIST(in_channels=1, image_size=28, num_classes=10, fake=True, batch_size=4))
    data = ready(MNISTSequences(by="row", in_channels=28, fake=True, batch_size=4))
    key = (-1, torch.arange(4))
    x = data.transform(data.splits["test"][key])[0]
    assert torch.equal(x[:, None], images.transform(images.splits["test"][key])[0])
    assert data.describe() | {"kind": "image", "by": 0, "order": 0} == images.describe() | {"by": 0, "order": 0}

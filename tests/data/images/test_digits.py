"""The splits of scikit-learn's digits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch


def test_digits_are_stratified_and_apart(make_data: Callable[..., Any]) -> None:
    data = make_data("digits")
    rows = {s: data.splits[s].images.flatten(1) for s in ("train", "val", "test")}
    assert {s: len(r) for s, r in rows.items()} == {"train": 1293, "val": 144, "test": 360}
    assert {int(n) for n in torch.bincount(data.splits["test"].labels)} <= {35, 36, 37}
    hashes = {s: {bytes(row.tolist()) for row in r} for s, r in rows.items()}
    assert not hashes["test"] & hashes["train"]
    assert not hashes["test"] & hashes["val"]
    assert not hashes["val"] & hashes["train"]
    images = torch.cat([rows["train"], rows["val"]]).float() / 255
    assert float(images.mean()) == pytest.approx(data.mean[0], abs=0.01)
    assert float(images.std()) == pytest.approx(data.std[0], abs=0.01)

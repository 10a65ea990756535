"""Torn files of CIFAR and MNIST are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchatlas.errors import UserError


def test_torn_files_are_refused(make_data: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch", "batches.meta"]
    for name in names:
        (tmp_path / "cifar-10-batches-py" / name).write_bytes(b"torn")
    with pytest.raises(UserError, match="data_batch_1 has a wrong checksum"):
        make_data("cifar10", "data.fake=false", f"data.root={tmp_path}")
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"has 4 bytes where 47040016 are right"):
        make_data("mnist", "data.fake=false", f"data.root={tmp_path}")

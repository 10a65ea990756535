"""Chorales as files have them, and made music."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.data import ready, whole
from torch import Tensor

from torchatlas.data.sequences.polyphonic import JSBChorales
from torchatlas.errors import UserError


def rolls(*lengths: int) -> list[Tensor]:
    return [(torch.rand(n, 88) < 0.05).to(torch.uint8) for n in lengths]


def music_file(folder: Path, **changed: list[Tensor]) -> type[JSBChorales]:
    """A MATLAB file in the layout of the published ones, and a class that expects it."""
    from scipy.io import savemat

    pieces = {"traindata": rolls(9, 5), "validdata": rolls(6), "testdata": rolls(7, 4)} | changed
    cells = {}
    for key, part in pieces.items():
        cells[key] = np.empty((1, len(part)), dtype=object)
        for i, piece in enumerate(part):
            cells[key][0, i] = piece.numpy()
    path = folder / "polyphonic" / "JSB_Chorales.mat"
    path.parent.mkdir()
    savemat(path, cells)

    class Small(JSBChorales):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        sizes = {"train": 2, "val": 1, "test": 2}  # noqa: RUF012

    Small.pieces = pieces  # type: ignore[attr-defined]
    return Small


def test_music_is_read_and_padded_behind(tmp_path: Path) -> None:
    kind = music_file(tmp_path)
    data = ready(kind(root=str(tmp_path)))
    x, lengths = data.transform(whole(data, "train"))
    assert x.shape == (2, 9, 88)
    assert x.dtype == torch.float32
    assert lengths.tolist() == [9, 5]
    one, two = kind.pieces["traindata"]  # type: ignore[attr-defined]
    assert torch.equal(x[0], one.float())
    assert torch.equal(x[1, :5], two.float())
    assert not x[1, 5:].any()


def test_damaged_music_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = music_file(tmp_path, validdata=rolls(6, 6))
    with pytest.raises(UserError, match=r"does not hold 1 val pieces of 88 keys: move it elsewhere"):
        ready(kind(root=str(tmp_path)))
    path = tmp_path / "polyphonic" / "JSB_Chorales.mat"
    path.write_bytes(path.read_bytes()[:-1])

    def refuse(*_: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchatlas.data.download.download_file", refuse)
    with pytest.raises(UserError, match=r"could not be downloaded .*no network"):
        kind(root=str(tmp_path)).prepare_data()


def test_made_music_can_be_predicted() -> None:
    """The keys of a frame are those of the frame before, five higher."""
    data = ready(JSBChorales(fake=True, batch_size=8))
    x, lengths = data.transform(whole(data, "val"))
    for piece, length in zip(x, lengths, strict=True):
        assert torch.equal(piece[1:length], piece[: length - 1].roll(5, 1))
        assert not piece[length:].any()
    assert len(set(lengths.tolist())) > 1

"""Smoothed edges in coloured masks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchatlas.data.masks.base import voc_colours
from torchatlas.data.masks.codes import find_codes
from torchatlas.data.masks.smoothed import between
from torchatlas.errors import UserError


def masks(folder: Path, colours: np.ndarray, resample: Image.Resampling) -> list[tuple[Path, Path]]:
    """Squares on a ground, drawn large and scaled down."""
    rng, pairs = np.random.default_rng(0), []
    for i in range(8):
        mask = np.zeros((96, 96), np.uint8)
        for k in range(1, len(colours)):
            y, x = rng.integers(0, 60, 2)
            mask[y : y + 33, x : x + 31] = k
        path = folder / f"{i}.png"
        Image.fromarray(colours[mask]).resize((72, 72), resample).save(path)
        pairs.append((path.with_suffix(".jpg"), path))
    return pairs


def test_smoothed_edges_are_no_classes(tmp_path: Path) -> None:
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], dtype=np.uint8)
    assert len(find_codes(masks(tmp_path, colours, Image.Resampling.NEAREST))) == 3
    with pytest.raises(UserError, match=r"colours in the masks \d+ are rare and lie between others, .*smoothed .the"):
        find_codes(masks(tmp_path, colours, Image.Resampling.BILINEAR))


def test_rare_classes_between_others_are_classes(tmp_path: Path) -> None:
    """Half of VOC's colours lie between others, and some of its classes are rare."""
    colours = np.array(voc_colours(21), dtype=np.uint8)
    pairs = masks(tmp_path, colours, Image.Resampling.NEAREST)
    assert len(find_codes(pairs)) == 21
    assert (64, 0, 0) in between(dict.fromkeys(voc_colours(8), 1000) | {(64, 0, 0): 3})
    assert (64, 0, 9) not in between(dict.fromkeys(voc_colours(8), 1000) | {(64, 0, 9): 3})

"""Images and masks in files."""

from pathlib import Path

import numpy as np
from helpers.masks import save
from PIL import Image

from torchatlas.data.masks.files import PairedFiles, fit_pair


def test_images_are_fitted_into_a_square_without_losing_a_pixel() -> None:
    image = np.arange(2 * 6 * 4, dtype=np.uint8).reshape(2, 6, 4)
    mask = np.arange(24, dtype=np.uint8).reshape(6, 4)
    pixels, classes, size = fit_pair(image, mask, 9)
    assert size == (6, 4)
    assert np.array_equal(pixels[:, :6, :4], image)
    assert np.array_equal(classes[:6, :4], mask)
    assert (classes == 255).sum() == 81 - 24
    assert np.array_equal(pixels[:, :6, 4:8], image[..., ::-1])  # mirrored, as often as needed
    assert np.array_equal(pixels[:, 6:, :4], image[:, 5:2:-1])
    wide = np.repeat(np.repeat(mask, 3, 0), 3, 1)
    pixels, classes, size = fit_pair(wide[None], wide, 6)
    assert size == (6, 4)
    assert np.array_equal(classes[:, :4], mask)


def test_photographs_are_upright_as_their_masks_are(tmp_path: Path) -> None:
    """Orientation 6: the camera was turned, and people see the image a quarter turn to the right."""
    levels, exif = np.arange(24, dtype=np.uint8).reshape(4, 6), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(levels).save(tmp_path / "image.png", exif=exif)
    for upright in (np.rot90(levels, -1), levels):  # the other mask was drawn on the pixels as they are stored
        save(tmp_path, "mask.png", upright)
        files = PairedFiles([(tmp_path / "image.png", tmp_path / "mask.png")], {k: k for k in range(24)}, 1, 6)
        image, mask, (h, w) = files.read(0)
        assert (h, w) == upright.shape
        assert np.array_equal(image[0, :h, :w], upright)
        assert np.array_equal(mask[:h, :w], upright)

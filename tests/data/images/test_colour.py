"""Colours are changed as torchvision changes them."""

from typing import Any

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from helpers.images import B, numbers, pictures, worst

from torchatlas.data.images import colour


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("operation", "reference", "low", "high", "levels"),
    [
        (colour.brightness, TF.adjust_brightness, 0.0, 2.0, 0),
        (colour.contrast, TF.adjust_contrast, 0.0, 2.0, 1),
        (colour.saturation, TF.adjust_saturation, 0.0, 2.0, 1),
        (colour.sharpness, TF.adjust_sharpness, 0.0, 2.0, 1),
        (colour.hue, TF.adjust_hue, -0.5, 0.5, 1),
        (colour.solarize, TF.solarize, 0.0, 255.0, 0),
    ],
)
def test_colour_equals_torchvision(
    operation: Any, reference: Any, low: float, high: float, levels: int, channels: int
) -> None:
    images, x = pictures(channels), numbers(low, high)
    got = operation(images, x)
    assert worst(got, images, reference, x.tolist()) <= levels
    rounded = operation(images, x.float())
    assert int((rounded.int() - got.int()).abs().max()) <= 1
    assert not torch.equal(got, images) or (channels == 1 and operation in (colour.hue, colour.saturation))


@pytest.mark.parametrize("channels", [1, 3])
def test_whole_numbers_equal_torchvision(channels: int) -> None:
    images = pictures(channels)
    bits = torch.arange(B) % 9
    assert worst(colour.posterize(images, bits), images, TF.posterize, bits.tolist()) == 0
    assert worst(colour.autocontrast(images), images, TF.autocontrast) == 0
    assert worst(colour.equalize(images), images, TF.equalize) == 0
    assert worst(colour.invert(images), images, TF.invert) == 0
    large = pictures(channels, 40, 50, 12)
    assert worst(colour.equalize(large), large, TF.equalize) == 0
    assert not torch.equal(colour.equalize(large), large)
    thin = pictures(channels, 2, 9)
    assert worst(colour.sharpness(thin, torch.zeros(B)), thin, TF.adjust_sharpness, [0.0] * B) == 0


def test_colour_jitter_equals_its_operations_in_order() -> None:
    images, random = pictures(), torch.rand(B, 4)
    strengths = {"brightness": 0.4, "contrast": 0.3, "saturation": 1.5, "hue": 0.2}
    got = colour.colour_jitter(images, random, strengths)
    expected = colour.brightness(images, 0.6 + 0.8 * random[:, 0])
    expected = colour.contrast(expected, 0.7 + 0.6 * random[:, 1])
    expected = colour.saturation(expected, 2.5 * random[:, 2])
    expected = colour.hue(expected, 0.4 * random[:, 3] - 0.2)
    assert (got.int() - expected.int()).abs().max() <= 1
    assert torch.equal(colour.colour_jitter(images, random, dict.fromkeys(strengths, 0.0)), images)

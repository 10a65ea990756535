"""Images and names of ImageNet's form."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


# --- Tiny ImageNet

WNIDS = ("n02123045", "n01443537", "n03126707")
WORDS = "n01443537\tgoldfish, Carassius auratus\nn02123045\ttabby, tabby cat\nn03126707\tcrane\nn02012849\tcrane\n"


def jpeg(rng: np.random.Generator, height: int, width: int, *, grey: bool = False) -> bytes:
    """A file with large patches, so that it is much the same whatever decodes it."""
    pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    (image.convert("L") if grey else image).save(stream, "JPEG", quality=92)
    return stream.getvalue()


# --- images of every sort, for operations that are held against those of others

B = 48


def pictures(channels: int = 3, height: int = 14, width: int = 12, batch: int = B) -> Tensor:
    """Noise, smooth slopes, few levels, one level: what histograms and stretching can meet."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (batch, channels, height, width), dtype=torch.uint8, generator=generator)
    slope = torch.linspace(0, 200, height * width).view(height, width)
    images[1::6] = (slope + torch.arange(0, 55, 55 / channels)[:channels, None, None]).to(torch.uint8)
    images[2::6] = images[2::6] // 64 * 60 + 20
    images[3] = 77
    images[4::6] = images[4::6, :1]
    images[9] = 255
    return images


def worst(got: Tensor, images: Tensor, operation: Callable[..., Tensor], *parameters: list[Any]) -> int:
    """The largest distance in levels from the operation on each image alone."""
    assert got.dtype == torch.uint8
    expected = torch.stack([operation(*one) for one in zip(images, *parameters, strict=True)])
    return int((got.int() - expected.int()).abs().max())


def numbers(low: float, high: float) -> Tensor:
    """Parameters in float64, as torchvision computes with them, the ends and the middle among them."""
    x = low + (high - low) * torch.rand(B, dtype=torch.float64)
    x[:3] = torch.tensor([low, high, (low + high) / 2])
    return x

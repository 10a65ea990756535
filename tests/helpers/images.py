"""Images and names of ImageNet's form."""

import io

import numpy as np
import torch
from PIL import Image


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

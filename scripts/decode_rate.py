"""Images per second and core: reading, decoding and random crops of training, against torchvision, side by side.

    python scripts/decode_rate.py [FOLDER] [--image-size 224] [--images 256] [--rounds 5]

FOLDER holds a folder of images per class, as ImageNet's `train`. Without it, JPEG files of 500x375 pixels are made from
random parts of the two photographs that scikit-learn ships, with noise so that they take about as many bytes as those
of ImageNet (110 kB). Both sides read the same files in one thread; torchvision's is `datasets.ImageFolder` with
`v2.RandomResizedCrop` on Pillow's images, stacked into a batch of uint8. Rounds alternate; printed are medians, and the
ratio (torchatlas / torchvision). Time is that of the processor: other programs, and waiting for a disk, do not count.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from torchatlas.data.images.files import ENDINGS, ImageFiles
from torchatlas.data.reading import list_files

WIDTH, HEIGHT = 500, 375
QUALITY, NOISE = 93, 13  # of JPEG; standard deviation in levels of 256
BATCH = 32


def make_photographs(folder: Path, number: int) -> None:
    """JPEG files from random parts of two photographs, in one folder for each."""
    rng = np.random.default_rng(0)
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    for k in range(number):
        photograph = photographs[k % len(photographs)]
        scale = rng.uniform(0.5, min(photograph.width / WIDTH, photograph.height / HEIGHT))
        left = rng.uniform(0, photograph.width - scale * WIDTH)
        top = rng.uniform(0, photograph.height - scale * HEIGHT)
        box = (left, top, left + scale * WIDTH, top + scale * HEIGHT)
        pixels = np.asarray(photograph.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box))
        noisy = (pixels + rng.normal(0, NOISE, pixels.shape)).clip(0, 255).astype(np.uint8)
        path = folder / str(k % len(photographs)) / f"{k}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(noisy).save(path, quality=QUALITY)


def measure(folder: Path, image_size: int, images: int, rounds: int) -> dict[str, list[float]]:
    """Images per second of processor time, of each side in each round."""
    names = list_files(folder, ENDINGS)
    chosen = torch.randperm(len(names), generator=torch.Generator().manual_seed(0))[:images]
    files = ImageFiles(
        folder, np.array([os.fsencode(name) for name in names]), torch.zeros(len(names), dtype=torch.int64),
        in_channels=3, image_size=image_size, crop_seed=0,
    )  # fmt: skip
    reference = ImageFolder(folder, v2.Compose([v2.RandomResizedCrop(image_size), v2.PILToTensor()]))
    places = {Path(path): k for k, (path, _) in enumerate(reference.samples)}
    sides: dict[str, Callable[[torch.Tensor], object]] = {
        "torchatlas": lambda part: files[0, part],
        "torchvision": lambda part: torch.stack([reference[places[folder / names[i]]][0] for i in part.tolist()]),
    }
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds + 1):
        for side, read in sides.items():
            start = time.process_time()
            for part in chosen.split(BATCH):
                read(part)
            rates[side].append(len(chosen) / (time.process_time() - start))
    size = sum((folder / names[i]).stat().st_size for i in chosen.tolist()) / len(chosen)
    print(f"{len(chosen)} files of {size / 1e3:.0f} kB on average, crops of {image_size} pixels, one thread")
    return {side: values[1:] for side, values in rates.items()}  # the first round warms up


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        if options.folder is None:
            make_photographs(Path(made), options.images)
        rates = measure(options.folder or Path(made), options.image_size, options.images, options.rounds)
    middle = {side: statistics.median(values) for side, values in rates.items()}
    for side, values in rates.items():
        print(f"  {side:<12} {middle[side]:7.0f} images a second   ({min(values):.0f} to {max(values):.0f})")
    print(f"  ratio        {middle['torchatlas'] / middle['torchvision']:7.2f}")


if __name__ == "__main__":
    main()

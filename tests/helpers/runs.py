"""What stands in run folders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

FOLDER = (
    "data=image_folder", "data.image_size=8", "data.batch_size=8", "data.flip=false", "data.share=0.2", "trainer=cpu",
    "logger=none", "callbacks=default",
)  # fmt: skip


def make_folder(root: Path) -> None:
    """Dark and light noise, 40 images each."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(("dark", "light")):
        (root / name).mkdir(parents=True)
        for i in range(40):
            pixels = rng.integers(0, 120, (20, 20, 3)) + 120 * k
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i}.png")


def metrics(folder: Path) -> Any:
    return json.loads((folder / "metrics.json").read_text())


# Tensors in TensorBoard are events of one kind or another: scalars, pictures, text.
def events(folder: Path) -> dict[str, list[Any]]:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    found: dict[str, list[Any]] = {tag: accumulator.Scalars(tag) for tag in tags["scalars"]}
    found |= {tag: accumulator.Images(tag) for tag in tags["images"]}
    found |= {tag: accumulator.Tensors(tag) for tag in tags["tensors"]}
    if tags["graph"]:
        found["graph"] = [accumulator.Graph()]
    return found

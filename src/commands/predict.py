"""A trained checkpoint at work: figures on a split, predictions for a user's files."""

import csv
import json
import logging
from pathlib import Path
from typing import Literal

import rich
import torch
from rich.table import Table
from rich.text import Text
from torchvision.datasets.folder import IMG_EXTENSIONS

from ..data.sound.base import ENDINGS
from ..errors import UserError
from ..predict.images import _classify
from ..predict.inputs import find_files
from ..predict.language import _continue
from ..predict.masks import segment_files
from ..predict.passes import average_passes
from ..predict.series import forecast_file, score_file
from ..predict.sounds import classify_sounds
from ..predict.texts import classify_texts, reads
from ..run.devices import device_of
from ..run.restore import restore
from ..run.summary import MAKES
from ..tasks.classification import Classification
from ..tasks.forecasting import Forecasting
from ..tasks.language_modeling import LanguageModeling
from ..tasks.segmentation import Segmentation

log = logging.getLogger(__name__)


def predict(
    ckpt: str, input: str, output: str = "", *, top: int = 1, tta: Literal["none", "flip", "ten"] = "none",
    mc_samples: int = 0, length: int = 200, temperature: float = 0.8, seed: int = 0,
    mode: Literal["forecast", "anomalies"] = "forecast", threshold: float = 5.0, tile: int = 1024,
    overlap: int | None = None, resize: int | None = None, probabilities: bool = False,
) -> None:  # fmt: skip
    """What a network says of a user's file, or of all files in a folder.

    Images, sounds and texts get their likeliest classes; texts get entities, answers, or bits per character and a
    continuation; tables of series get forecasts or anomalies; masks go into the folder output.

    Args:
        ckpt: a run folder, of which the best checkpoint is taken, or a checkpoint.
        input: a file or a folder; of a classifier of texts a text itself, too.
        output: a CSV file; of masks a folder.
        top: classes for each image, sound or text.
        tta: test-time augmentation of images: the mean over an image and its mirror, or over ten crops.
        mc_samples: passes with dropout whose mean a classifier answers with, and the spread; 0 is one pass without.
        length: characters, words or tokens by which a text is continued.
        temperature: of that continuation; 0 takes the likeliest.
        seed: of that continuation and of dropout.
        mode: of series: the steps after the end, or how far each step was off its forecast.
        threshold: deviations over which a step is an anomaly.
        tile: of masks: pixels of a side up to which an image is predicted at once.
        overlap: pixels that neighbouring tiles share; else as many as the network sees.
        resize: pixels to which the longer side of a larger image is scaled down first.
        probabilities: of masks: whether each is written too.

    Examples:
        torchatlas predict ckpt=runs/resnet18-cifar10 input=photos top=3 output=classes.csv
        torchatlas predict ckpt=runs/unet-pets input=photos output=masks
    """
    path, task, about = restore(ckpt)
    average_passes(task, tta, mc_samples, about["data"]["kind"])
    torch.manual_seed(seed)
    source = Path(input).expanduser()
    texts = reads(task, about["data"])
    if not texts and not source.exists():
        raise UserError(f"there is no file or folder {source}: name one with input=PATH")
    task.to(device_of())
    if isinstance(task, Classification) and about["data"]["kind"] in ("image", "pixels"):
        rows = _classify(task, about["data"], find_files(source, IMG_EXTENSIONS), top)
    elif isinstance(task, Segmentation):
        rows = segment_files(
            task, about["data"], find_files(source, IMG_EXTENSIONS), output,
            tile=tile, overlap=overlap, resize=resize, probabilities=probabilities,
        )  # fmt: skip
        output = ""
    elif texts:
        rows = classify_texts(task, about["data"], input, top)
    elif isinstance(task, LanguageModeling):
        rows = _continue(task, about["data"], find_files(source, (".txt", ".md", ".rst")), length, temperature, seed)
    elif isinstance(task, Classification) and about["data"]["kind"] == "sound":
        rows = classify_sounds(task, about["data"], find_files(source, ENDINGS), top)
    elif isinstance(task, Forecasting) and about["data"]["kind"] == "series":
        if source.is_dir():
            raise UserError(f"{source} is a folder: name one table, input=FILE.csv")
        if mode == "forecast":
            rows = forecast_file(task, about["data"], source)
        else:
            rows = score_file(task, about["data"], source, threshold)
    else:
        use = MAKES.get(task.name)
        advice = f": use torchatlas {use[0]}" if use else ""
        raise UserError(
            f"{path} was trained for {task.name} on {about['data']['kind']}, which predict cannot read{advice}"
        )
    if output:
        with Path(output).open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    console = rich.get_console()
    if not console.is_terminal:
        for row in rows:
            print(json.dumps(row))
        return
    table = Table(*rows[0].keys())
    for row in rows:
        table.add_row(*(Text(f"{v:.4f}" if isinstance(v, float) else str(v)) for v in row.values()))
    console.print(table)

"""A trained checkpoint at work: figures on a split, predictions for a user's files."""

import csv
import json
import logging
from pathlib import Path

import rich
import torch
from rich.table import Table
from rich.text import Text
from torchvision.datasets.folder import IMG_EXTENSIONS

from ..data.sound.base import ENDINGS
from ..errors import UserError, nearest
from ..predict.images import _classify
from ..predict.inputs import find_files
from ..predict.language import _continue
from ..predict.masks import TILE, segment_files
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
MODES = ("forecast", "anomalies")  # what is said of a table of series


def predict(
    where: str, given: str, output: str = "", *, top: int = 1, length: int = 200, temperature: float = 0.8,
    seed: int = 0, tta: str = "none", mc_samples: int = 0, mode: str = "forecast", threshold: float = 5.0,
    tile: int = TILE, overlap: int | None = None, resize: int | None = None, probabilities: bool = False,
) -> None:  # fmt: skip
    """Print, and write to `output`, what the network says of a file or of all files in a folder.

    Images get their `top` classes with probabilities; over several passes (see `average_passes`) these are means, and
    beside each stands its standard deviation over the passes. Texts get the bits per character and per byte, or the
    perplexity per word or per token (and then the bits per byte), of the network, and a continuation of `length`
    characters, words or tokens. Sounds get their `top` classes. A table of series gets, by `mode`, a "forecast" of the
    steps after its end, or "anomalies": for each of its steps how far the forecast from before was off, and whether
    that is over `threshold` (see `forecast`). Lines of text get their `top` classes, their entities or the answers to
    their questions from networks that were trained for these; for them `given` may be a text itself (see
    `classify_texts`). Networks for segmentation give the share of each class and write masks into the folder `output`
    (see `segment_files` for it and for `tile`, `overlap`, `resize` and `probabilities`).
    """
    path, task, about = restore(where)
    average_passes(task, tta, mc_samples, about["data"]["kind"])
    torch.manual_seed(seed)
    source = Path(given).expanduser()
    texts = reads(task, about["data"])
    if not texts and not source.exists():
        raise UserError(f"there is no file or folder {source}: name one with input=PATH")
    task.to(device_of())
    if mode not in MODES:
        raise UserError(f"mode={mode} is unknown{nearest(mode, list(MODES))}")
    if isinstance(task, Classification) and about["data"]["kind"] in ("image", "pixels"):
        rows = _classify(task, about["data"], find_files(source, IMG_EXTENSIONS), top)
    elif isinstance(task, Segmentation):
        rows = segment_files(
            task, about["data"], find_files(source, IMG_EXTENSIONS), output,
            tile=tile, overlap=overlap, resize=resize, probabilities=probabilities,
        )  # fmt: skip
        output = ""
    elif texts:
        rows = classify_texts(task, about["data"], given, top)
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

"""A trained checkpoint at work: figures on a split, predictions for a user's files."""

import csv
import json
import logging
import math
import os
from pathlib import Path
from typing import Any

import lightning
import rich
import torch
from rich.table import Table
from rich.text import Text
from torch import nn
from torchvision.datasets.folder import IMG_EXTENSIONS

from .building import build_data, build_network, build_task, require_trusted
from .callbacks.threads import cores, divide
from .checkpoints import read
from .command_line import quiet_libraries
from .data.base import DataModule
from .data.image_folder import load_image
from .data.sound import ENDINGS
from .data.text import Codec, codec_of, read_text
from .errors import UserError
from .forecast import forecast_file, score_file
from .hear import classify_sounds
from .read_text import classify_texts, reads
from .runs import find_checkpoint, write_json
from .segment import TILE, segment_files
from .summary import MAKES, format_figure
from .tasks.base import Task
from .tasks.classification import Classification, passes
from .tasks.forecasting import Forecasting
from .tasks.language_modeling import LanguageModeling
from .tasks.segmentation import Segmentation
from .zoo import nearest

log = logging.getLogger(__name__)
SPLITS = ("train", "val", "test")
BATCH = 64
SHOWN = 10  # unknown characters or words that a warning names
VIEWS = ("none", "flip", "ten")  # of test-time augmentation
MODES = ("forecast", "anomalies")  # what is said of a table of series


def restore(where: str) -> tuple[Path, Task, dict[str, Any]]:
    """The task with the trained network, in eval mode, from the checkpoint alone.

    Args:
        where: a checkpoint, or a run folder, of which the best checkpoint is taken.

    Returns:
        The checkpoint's path, the task, and what the checkpoint says of config and data.

    Raises:
        UserError: there is no checkpoint, it is damaged, or its config asks for code that is not allowed.
    """
    path = find_checkpoint(where, "best")
    checkpoint = read(path)
    about: dict[str, Any] = checkpoint["torchatlas"]
    config = about["config"]
    for part in ("model", "task", "data"):
        require_trusted(config[part])
    require_trusted(about["data"])
    task = build_task(config["task"], build_network(config["model"]))
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise UserError(f"the weights in {path} do not fit the network of its config: {error}") from error
    return path, task.eval(), about


def average_passes(task: Task, tta: str, mc_samples: int, kind: str) -> None:
    """Let a classifier average the probabilities of several forward passes; see `passes`.

    Raises:
        UserError: another kind of task, an unknown kind of augmentation, or a network without dropout.
    """
    if tta not in VIEWS:
        raise UserError(f"tta={tta} is unknown{nearest(tta, list(VIEWS))}")
    if mc_samples < 0:
        raise UserError(f"mc_samples={mc_samples} must not be negative")
    if tta == "none" and mc_samples == 0:
        return
    if not isinstance(task, Classification):
        raise UserError(f"tta and mc_samples are for classifiers, and this checkpoint is of {task.name}")
    if tta != "none" and kind != "image":
        raise UserError(f"tta={tta} is for images, and this checkpoint is of data of kind {kind}: leave it out")
    rates = [m.p for m in task.network.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    if mc_samples and not any(rates):
        raise UserError(f"mc_samples={mc_samples} needs dropout, and the network of this checkpoint has none")
    task.averaged = passes(tta, mc_samples)


def evaluate(
    where: str, split: str = "test", root: str = "", output: str = "", *, tta: str = "none", mc_samples: int = 0,
    seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """Compute the task's figures on a split, print them, and return them.

    Args:
        where: see `restore`.
        split: "test", "val" or "train" (without augmentation).
        root: folder of the data; else the one of training if it is there, else the one in TORCHATLAS_DATA.
        output: a JSON file to write the figures to.
        tta, mc_samples: see `average_passes`.
        seed: of Monte Carlo dropout.
    """
    if split not in SPLITS:
        raise UserError(f"there is no split {split!r}{nearest(split, list(SPLITS))}")
    path, task, about = restore(where)
    average_passes(task, tta, mc_samples, about["data"]["kind"])
    torch.manual_seed(seed)
    config = about["config"]
    data = restored_data(about, root)
    data.prepare_data()
    data.setup("test")
    on_gpu = torch.cuda.is_available()
    threads, data.num_workers = divide(cores(), in_memory=data.in_memory, on_gpu=on_gpu, workers=data.num_workers)
    torch.set_num_threads(threads)
    quiet_libraries()
    trainer = lightning.Trainer(
        accelerator="auto", devices=1, precision=config["trainer"]["precision"], logger=False, callbacks=[],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
    )  # fmt: skip
    data.splits["test"] = data.splits[split]
    if split in (sizes := getattr(data, "bytes_per_token", {})):
        sizes["test"] = sizes[split]
    trainer.test(task, datamodule=data, verbose=False)
    figures = {key.replace("test/", f"{split}/", 1): v for key, v in task.figures.items() if key.startswith("test/")}
    print(f"{config['name']}: {path} on {len(data.splits[split])} samples of {split}")
    for key, value in figures.items():
        print(f"  {key:<28} {format_figure(key, value)}")
    if output:
        write_json(Path(output), {"checkpoint": str(path), "name": config["name"], **figures})
    return figures


def restored_data(about: dict[str, Any], root: str = "") -> DataModule:
    """The data of a checkpoint, with the classes and the statistics of the training; nothing is read yet.

    Args:
        about: see `restore`.
        root: folder of the data; else the one of training if it is there, else the one in TORCHATLAS_DATA.
    """
    config = about["config"]["data"]
    if "root" in config:
        if not root and not Path(config["root"]).exists():
            root = os.environ.get("TORCHATLAS_DATA", "")
        config["root"] = root or config["root"]
    if "classes" in config:  # a user's folder: the labels are those of training
        config["classes"] = about["data"]["classes"]
    data = build_data(config)
    data.load_state_dict(about["data"])
    return data


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
    device = "cuda" if torch.cuda.is_available() else "cpu"
    task.to(device)
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


def find_files(source: Path, endings: tuple[str, ...]) -> list[Path]:
    """A file, or those under a folder with certain endings."""
    if source.is_file():
        return [source]
    if not source.exists():
        raise UserError(f"there is no file or folder {source}: name one with input=PATH")
    found = sorted(p for p in source.rglob("*") if p.suffix.lower() in endings)
    if not found:
        raise UserError(f"{source} holds no file that ends in {', '.join(endings)}")
    return found


@torch.no_grad()
def _classify(task: Classification, about: dict[str, Any], paths: list[Path], top: int) -> list[dict[str, Any]]:
    classes = about["classes"]
    if not 1 <= top <= len(classes):
        raise UserError(f"top={top} must be from 1 to the {len(classes)} classes")
    mean, std = (torch.tensor(about[key])[:, None, None] for key in ("mean", "std"))
    rows = []
    for start in range(0, len(paths), BATCH):
        part = paths[start : start + BATCH]
        images = torch.stack(
            [load_image(p, about["in_channels"], about["image_size"], about.get("resize")) for p in part]
        )
        x = ((images / 255 - mean) / std).to(task.device)
        if about["kind"] == "pixels":  # read row by row or pixel by pixel
            x = x.flatten(1) if about["order"] is None else x.flatten(1)[:, about["order"]]
            x = x.unflatten(1, (-1, about["image_size"] if about["by"] == "row" else 1))
        each = task.predict(x)[None] if task.averaged is None else task.averaged(task.network, x)
        spreads = each.std(0, correction=0).cpu()
        for path, row, spread in zip(part, each.mean(0).cpu(), spreads, strict=True):
            values, places = row.topk(top)
            entry: dict[str, Any] = {"file": str(path)}
            for i, (value, place) in enumerate(zip(values.tolist(), places.tolist(), strict=True), start=1):
                suffix = "" if top == 1 else f"_{i}"
                entry |= {f"class{suffix}": classes[place], f"probability{suffix}": round(value, 6)}
                if task.averaged is not None:
                    entry[f"spread{suffix}"] = round(float(spread[place]), 6)
            rows.append(entry)
    return rows


@torch.no_grad()
def _continue(
    task: LanguageModeling, about: dict[str, Any], paths: list[Path], length: int, temperature: float, seed: int
) -> list[dict[str, Any]]:
    codec, context = codec_of(about), about["context"]
    rows = []
    for path in paths:
        text = read_text(path)
        tokens = codec.encode(text)
        if len(tokens) < 2:
            raise UserError(f"{path} has {len(tokens)} {codec.unit}s where at least 2 are needed")
        _tell_unknown(path, text, codec, len(tokens))
        nats = task.nll(tokens, context) / (len(tokens) - 1)
        per_byte = round(nats * len(tokens) / len(text.encode()) / math.log(2), 4)
        written = task.generate(tokens, length, context=context, temperature=temperature, seed=seed)
        if codec.unit == "character":
            figure = {"bits_per_character": round(nats / math.log(2), 4), "bits_per_byte": per_byte}
        else:
            figure = {"perplexity": round(math.exp(nats), 4)}
            figure |= {"bits_per_byte": per_byte} if codec.unit == "token" else {}
        row: dict[str, Any] = {"file": str(path), f"{codec.unit}s": len(tokens), **figure}
        rows.append(row | {"continuation": codec.decode(written[len(tokens) :])})
    return rows


def _tell_unknown(path: Path, text: str, codec: Codec, total: int) -> None:
    """Warn of what the training did not have; refuse a text that has nothing else."""
    unknown = codec.unknown(text)
    times = unknown.total()
    if not times:
        return
    if times == total:
        raise UserError(
            f"{path} has no {codec.unit} that the network was trained on: give a text in the language of the training"
        )
    shown = ", ".join(f"{token!r} {n}" for token, n in unknown.most_common(SHOWN))
    more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    log.warning(
        "%s: %d of %d %ss are unknown to the network, which sees one sign for all of them: %s%s",
        path, times, total, codec.unit, shown, more,
    )  # fmt: skip

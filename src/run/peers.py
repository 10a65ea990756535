"""Training programs of others, found in a folder that the user names: their arguments for our config, and their data.

A program is run as it is. It gets the network by its name there, or by its sizes, and the same batch, optimiser,
clipping and precision where it has options for them; all else is at its defaults.
"""

import pickle
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.base import DataModule
from ..data.images.base import ImageData
from ..errors import UserError
from .devices import device_of
from .tutorial import files_of

ENDLESS = 10**9  # steps or epochs
MOST_FILES = 5000  # training images that a program is given


class Peer(NamedTuple):
    """A program.

    Attributes:
        name: what the table calls it.
        script: its file.
        arguments: behind its name.
        folder: where it runs.
    """

    name: str
    script: Path
    arguments: list[str]
    folder: Path


def peer_of(given: str, model: str, config: Mapping[str, Any], data: DataModule, folder: Path) -> Peer:
    """The program in `peer=`: a folder that is known, or any training script with its arguments.

    Args:
        given: nanoGPT's folder, timm's or torchvision's; or "FILE.py ARGUMENTS".
        model: the name of the network here.
        config: of the run, plain.
        data: set up.
        folder: where the program will run; its data are written there.

    Raises:
        UserError: there is no such program, or it cannot train such a network on such data.
    """
    words = shlex.split(given)
    path = Path(words[0]).expanduser().resolve() if words else Path()
    if path.is_file() and path.suffix == ".py":
        return Peer(path.stem if path.stem != "train" else path.parent.name, path, words[1:], folder)
    for name, (marks, script, arguments) in KNOWN.items():
        if all((path / mark).exists() for mark in marks):
            return Peer(name, path / script, [*arguments(model, config, data, path, folder), *words[1:]], folder)
    raise UserError(
        f"peer={given} is neither a training script, as in peer='FILE.py --lr 0.1', nor a folder of {', '.join(KNOWN)}"
    )


def _optimizer(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The options of an optimiser that such programs have.

    Raises:
        UserError: it is another one than theirs.
    """
    optim, wanted = config["optim"], {"sgd": "torch.optim.SGD", "adamw": "torch.optim.AdamW"}
    found = next((key for key, target in wanted.items() if target == optim["_target_"]), None)
    if found is None or (name == "nanogpt" and found != "adamw"):
        raise UserError(
            f"{name} has no {optim['_target_']}: choose optim={'adamw' if name == 'nanogpt' else 'momentum'}"
        )
    return {"name": found, **optim}


def _nanogpt(_: str, config: Mapping[str, Any], data: DataModule, path: Path, folder: Path) -> list[str]:
    """Its options are its global variables; its data are tokens of 16 bits."""
    tokens: Any = getattr(data.splits["train"], "tokens", None)
    model, optim = config["model"], _optimizer(config, "nanogpt")
    if tokens is None or not model["_target_"].endswith(".GPT"):
        raise UserError(
            "nanogpt trains a GPT on text: choose model=gpt_char_cpu data=tiny_shakespeare, or leave out peer="
        )
    (folder / "data" / "bench").mkdir(parents=True)
    whole = np.asarray(tokens[torch.arange(len(tokens))], dtype=np.uint16)
    for split in ("train", "val"):
        whole.tofile(folder / "data" / "bench" / f"{split}.bin")
    (folder / "data" / "bench" / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": model["vocab_size"]}))
    (folder / "configurator.py").write_bytes((path / "configurator.py").read_bytes())  # it looks where it runs
    trainer, betas = config["trainer"], optim.get("betas", (0.9, 0.999))
    options = {
        "dataset": "bench", "device": device_of(trainer["accelerator"]).type, "compile": bool(config["compile"]),
        "dtype": "bfloat16" if trainer["precision"] == "bf16-mixed" else "float32", "eval_iters": 1, "log_interval": 1,
        "eval_interval": ENDLESS, "block_size": model["context"], "batch_size": data.batch_size,
        "n_layer": model["depth"], "n_head": model["heads"], "n_embd": model["dim"], "dropout": model["dropout"],
        "bias": model["bias"], "learning_rate": optim["lr"], "weight_decay": optim["weight_decay"], "beta1": betas[0],
        "beta2": betas[1], "grad_clip": float(trainer["gradient_clip_val"] or 0.0), "max_iters": ENDLESS,
        "gradient_accumulation_steps": trainer["accumulate_grad_batches"], "lr_decay_iters": ENDLESS,
        "always_save_checkpoint": False,
    }  # fmt: skip
    return [f"--{key}={value}" for key, value in options.items()]


def _images(data: DataModule, name: str, folder: Path) -> Path:
    """A folder of training images by class, and one of each for validation: links to files, or files that are written.

    Raises:
        UserError: the data are no images with labels.
    """
    if not isinstance(data, ImageData):
        raise UserError(f"{name} trains on images: choose such data, as in data=cifar10, or leave out peer=")
    train: Any = data.splits["train"]
    files = files_of(data) if data.split_files.get("train") else None
    for i, label in enumerate(train.labels[:MOST_FILES].tolist()):
        for split in ("train", "val") if i < 1 else ("train",):
            target = folder / "images" / split / f"{label:05d}" / f"{i}{files[i].suffix if files else '.png'}"
            target.parent.mkdir(parents=True, exist_ok=True)
            if files:
                target.symlink_to(files[i].resolve())
            else:
                _picture(train.images[i]).save(target)
    for label in range(data.num_classes):
        for split in ("train", "val"):
            (folder / "images" / split / f"{label:05d}").mkdir(parents=True, exist_ok=True)
            kept = folder / "images" / split / f"{label:05d}" / "kept.png"
            if not any(kept.parent.iterdir()):  # torchvision refuses a class without an image
                Image.new("RGB", (data.image_size, data.image_size)).save(kept)
    return folder / "images"


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())


def _timm(model: str, config: Mapping[str, Any], data: DataModule, _: Path, folder: Path) -> list[str]:
    optim, trainer, images = _optimizer(config, "timm"), config["trainer"], _images(data, "timm", folder)
    own = config["data"]
    found = [
        "--data-dir", images, "--model", model, "--batch-size", data.batch_size, "--num-classes", own["num_classes"],
        "--img-size", own["image_size"], "--device", device_of(trainer["accelerator"]).type, "--opt", optim["name"],
        "--lr", optim["lr"], "--weight-decay", optim["weight_decay"], "--momentum", optim.get("momentum", 0.9),
        "--epochs", 10**6, "--warmup-epochs", 0, "--workers", own["num_workers"] or 0, "--val-split", "val",
        "--output", folder / "output", "--in-chans", own["in_channels"],
    ]  # fmt: skip
    if not own.get("random_resized_crop"):
        found.append("--no-aug")
    if trainer["gradient_clip_val"]:
        found += ["--clip-grad", trainer["gradient_clip_val"]]
    if trainer["precision"] == "bf16-mixed":
        found += ["--amp", "--amp-dtype", "bfloat16"]
    return list(map(str, found))


def _torchvision(model: str, config: Mapping[str, Any], data: DataModule, _: Path, folder: Path) -> list[str]:
    optim, trainer, images = _optimizer(config, "torchvision"), config["trainer"], _images(data, "torchvision", folder)
    size = config["data"]["image_size"]
    found = [
        "--data-path", images, "--model", model, "--batch-size", data.batch_size, "--opt", optim["name"],
        "--device", device_of(trainer["accelerator"]).type, "--lr", optim["lr"], "--wd", optim["weight_decay"],
        "--momentum", optim.get("momentum", 0.9), "--epochs", 10**6, "--workers", config["data"]["num_workers"] or 0,
        "--train-crop-size", size, "--val-crop-size", size, "--val-resize-size", size,
        "--output-dir", folder / "output",
    ]  # fmt: skip
    if trainer["gradient_clip_val"]:
        found += ["--clip-grad-norm", trainer["gradient_clip_val"]]
    if trainer["precision"] == "bf16-mixed":
        found.append("--amp")
    return list(map(str, found))


Arguments = Callable[[str, Mapping[str, Any], DataModule, Path, Path], list[str]]
KNOWN: dict[str, tuple[tuple[str, ...], str, Arguments]] = {
    "nanogpt": (("configurator.py", "model.py", "train.py"), "train.py", _nanogpt),
    "timm": (("timm", "train.py"), "train.py", _timm),
    "torchvision": (("references/classification/train.py",), "references/classification/train.py", _torchvision),
}  # folder's marks, the script in it, and its arguments

"""Figures of a network on a split of data, for the command `evaluate` and for programs."""

import copy
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch

from ..data.base import DataModule
from ..data.held import hold, number_of
from ..errors import UserError, nearest, some
from ..predict.passes import average_passes
from ..run.build import build_data
from ..run.compose import composed
from ..run.console import logged_by, quiet_libraries
from ..run.devices import device_of
from ..run.restore import restore, restored_data, tell_changes
from ..tasks.base import Task
from ..training.precision import precision_to_evaluate
from ..training.threads import cores, divide
from ..zoo import options
from .own_data import splits_in


class Judged(NamedTuple):
    """What is evaluated.

    Attributes:
        where: its weights are from: {"checkpoint": PATH} or {"weights": NAME}.
        name, kind: of the run, and of its data.
        task, data: nothing is read yet.
        trainer: the section of the config.
        about: what a checkpoint says, see `restore`; empty of weights.
        moved: whether the data are in another folder than in training.
    """

    where: dict[str, str]
    name: str
    kind: str
    task: Task
    data: DataModule
    trainer: dict[str, Any]
    about: dict[str, Any]
    moved: bool = False


class Found(NamedTuple):
    """What came of it.

    Attributes:
        figures: by name, as in "test/accuracy".
        split: of the data.
        samples: in it.
    """

    figures: dict[str, float]
    split: str
    samples: int


def figures_on(
    judged: Judged, split: str | None = None, *, tta: str = "none", mc_samples: int = 0, seed: int = 0
) -> Found:
    """Evaluate.

    Args:
        judged: what is evaluated.
        split: of the data; None: all of a folder that has nothing of the training and is not divided into splits, and
            test of other data.
        tta, mc_samples: see `average_passes`.
        seed: of dropout.

    Raises:
        UserError: there is no such split.
    """
    task, data = judged.task, judged.data
    average_passes(task, tta, mc_samples, judged.kind)
    torch.manual_seed(seed)
    if split is None:
        split = "all" if judged.moved and data.is_new() else "test"
    with logged_by(logging.StreamHandler(), "%(message)s"):
        if split == "all":
            data.judge_all()
        data.prepare_data()
        data.setup("test")
    own = "test" if split == "all" else split
    if own not in data.splits:
        raise UserError(f"these data have no split {own}: use split={' or split='.join(data.splits)}")
    if judged.about and split != "all":
        tell_changes(data, judged.about, [split])
    accelerator = judged.trainer["accelerator"]
    device = device_of(accelerator)
    threads, data.num_workers = divide(
        cores(), in_memory=data.in_memory, on_gpu=device.type == "cuda", workers=data.num_workers
    )
    torch.set_num_threads(threads)
    quiet_libraries()
    precision: Any = precision_to_evaluate(judged.trainer["precision"], device)
    trainer = lightning.Trainer(
        accelerator=accelerator, devices=1, precision=precision, logger=False, callbacks=[],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
    )  # fmt: skip
    data.splits["test"] = data.splits[own]
    if split in (sizes := getattr(data, "bytes_per_token", {})):
        sizes["test"] = sizes[split]
    trainer.test(task, datamodule=data, verbose=False)
    figures = {key.replace("test/", f"{split}/", 1): v for key, v in task.figures.items() if key.startswith("test/")}
    return Found(figures, split, len(data.splits["test"]))


def judged_on(task: Task, about: dict[str, Any], path: Path, data: Any, words: Sequence[str]) -> Judged:
    """A trained network, with the data of its training, others of the zoo or a program's own; nothing is read yet.

    Args:
        task: with the network.
        about: what its checkpoint says, see `restore`; it stays as it is.
        path: of the checkpoint.
        data, words: see `TrainedModel.evaluate`.

    Raises:
        UserError: the data are none that the network can be evaluated on.
    """
    about = copy.deepcopy(about)
    config = about["config"]
    trainer = config["trainer"] | {"accelerator": task.device.type}
    kind = about["data"]["kind"]
    if data is None or (isinstance(data, str | os.PathLike) and str(data) not in options("data")):
        if words:
            raise UserError(f"{words[0]} needs the name of a data set before it, as in evaluate('cifar10', ...)")
        if data is not None and ("root" not in config["data"] or not Path(data).expanduser().is_dir()):
            raise UserError(f"there is no data set and no folder {data}{nearest(str(data), options('data'))}")
        return on_training_data(task, about, path, "" if data is None else os.fspath(data), task.device.type)
    if isinstance(data, str):
        chosen: Any = composed([f"data={data}", *words]).plain()["data"]
    else:
        chosen = own_section(about, data)
    both = {"in_channels", "image_size"} & set(config["data"]) & set(chosen) if kind == "image" else set()
    typed = {word.partition("=")[0].removeprefix("data.") for word in words}
    chosen |= {key: config["data"][key] for key in both - typed}
    if "classes" in chosen:
        chosen["classes"] = about["data"].get("classes")
    module = build_data(chosen)
    of_kind = module.describe()["kind"] if not isinstance(data, str) or module.of_images else kind
    classes = list(about["data"].get("classes", []))
    if of_kind != kind or (module.classes and list(map(str, module.classes)) != list(map(str, classes))):
        raise UserError(
            f"the network was trained for {kind} data with the classes {some(classes)}, and {data!s:.40} are {of_kind} "
            f"data with the classes {some(module.classes)}: evaluate it on data of the same kind and classes"
        )
    module.load_state_dict(about["data"])
    return Judged({"checkpoint": str(path)}, config["name"], kind, task, module, trainer, {})


def own_section(about: Mapping[str, Any], data: Any) -> dict[str, Any]:
    """The section of a config for a program's own data, all of which are the split "test"."""
    if isinstance(data, Mapping):
        if "test" not in data:
            raise UserError(f"data to evaluate on are those of 'test', and there are {some(data)}: give these alone")
        data = data["test"]
    parts = splits_in(data)
    part = parts.get("test") if isinstance(data, lightning.LightningDataModule) else parts["train"]
    if part is None:
        raise UserError(f"the {type(data).__name__} has no test_dataloader: give one of its loaders")
    if not number_of(part):
        raise UserError(f"the {type(part).__name__} is empty")
    name, described_as = hold({"test": part}), about["data"]
    of_images = described_as["kind"] == "image"
    number = len(described_as.get("classes", []))
    section: dict[str, Any] = {"held": name, "num_classes": max(1, number), "classes": list(described_as["classes"])}
    if of_images:
        size = {key: described_as[key] for key in ("in_channels", "image_size")}
        return {"_target_": "torchatlas.data.images.own_images.OwnImages", **section, **size, "batch_size": 64}
    if described_as["kind"] != "samples":
        raise UserError(
            f"the network was trained on {described_as['kind']} data, of which no Dataset can be given: name a data "
            "set of the zoo, or a folder"
        )
    trained = about["config"]["data"]
    section |= {key: trained[key] for key in ("shape", "target", "num_classes", "in_channels", "image_size")}
    batch_size = getattr(part, "batch_size", None) or 64
    return {"_target_": "torchatlas.data.samples.own_samples.OwnSamples", **section, "batch_size": batch_size}


def of_checkpoint(ckpt: str, data_root: str = "") -> Judged:
    """A trained network, with the data of its training; nothing is read yet."""
    path, task, about = restore(ckpt)
    return on_training_data(task, about, path, data_root)


def on_training_data(
    task: Task, about: dict[str, Any], path: Path, data_root: str, accelerator: str = "auto"
) -> Judged:
    """The same of what `restore` gives; on whatever it was trained, `accelerator` evaluates it."""
    config = about["config"]
    trainer = config["trainer"] | {"accelerator": accelerator}
    trained_on = config["data"].get("root")
    data = restored_data(about, data_root)
    moved = config["data"].get("root") != trained_on
    return Judged({"checkpoint": str(path)}, config["name"], about["data"]["kind"], task, data, trainer, about, moved)

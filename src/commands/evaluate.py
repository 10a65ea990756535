"""The command `torchatlas evaluate`: figures of a checkpoint, or of weights from elsewhere, on a split of its data."""

import logging
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import lightning
import torch

from ..data.base import DataModule
from ..errors import UserError
from ..metrics.figures import format_figure, reported
from ..predict.passes import average_passes
from ..predict.rows import file_for
from ..run.assemble import Parts, assemble
from ..run.check import fits
from ..run.compose import composed, require_config_words
from ..run.console import logged_by, quiet_libraries
from ..run.devices import device_of
from ..run.quoting import quoted
from ..run.restore import restore, restored_data, tell_changes
from ..storage.files import write_json
from ..tasks.base import Task
from ..training.precision import precision_to_evaluate
from ..training.threads import cores, divide
from ..weights.report import shorten


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


def evaluate(
    ckpt: str = "", split: Literal["test", "val", "train", "all"] | None = None,
    data_root: Annotated[str, "data.root"] = "", output: str = "", *words: Annotated[str, "training"],
    tta: Literal["none", "flip", "ten"] = "none", mc_samples: int = 0, seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """Figures of a checkpoint, or of weights from elsewhere, on a split of its data.

    Weights are named by words of training: their network is evaluated as it is, without a step that would move the
    statistics of its batch normalisation.

    Args:
        ckpt: a run folder, of which the best checkpoint is taken, or a checkpoint.
        split: of the data; train is without augmentation, and all is a whole folder of images, masks or sounds. Else
            all of a folder that has nothing of the training and is not divided into splits, and test of other data.
        data_root: folder of the data; else the one of training if it is there, else the one in TORCHATLAS_DATA.
        output: a JSON file for the figures, in a folder that is made.
        words: without ckpt those of training, as in model=resnet20 weights=FILE data=cifar10.
        tta: test-time augmentation of an image classifier: the mean over an image and its mirror, or over ten crops.
        mc_samples: passes with dropout whose mean a classifier answers with; 0 is one pass without.
        seed: of that dropout.

    Returns:
        The figures by name, as in "test/accuracy".

    Raises:
        UserError: neither a checkpoint nor weights are given, or both; weights that leave a part of the network as
            initialised.

    Examples:
        torchatlas evaluate ckpt=runs/mlp-digits split=val
        torchatlas evaluate model=resnet18 weights=torchvision:IMAGENET1K_V1 data=imagenet data.root=FOLDER
    """
    file = file_for(output) if output else None
    judged = of_checkpoint(ckpt, data_root, words) if ckpt else of_weights(words, data_root)
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
    data.splits["test"] = data.splits["test" if split == "all" else split]
    if split in (sizes := getattr(data, "bytes_per_token", {})):
        sizes["test"] = sizes[split]
    trainer.test(task, datamodule=data, verbose=False)
    figures = {key.replace("test/", f"{split}/", 1): v for key, v in task.figures.items() if key.startswith("test/")}
    print(f"{judged.name}: {', '.join(judged.where.values())} on {len(data.splits['test'])} samples of {split}")
    known = reported(type(task), type(data))
    for key, value in figures.items():
        print(f"  {key:<28} {format_figure(key, value, known)}")
    if file is not None:
        write_json(file, {**judged.where, "name": judged.name, **figures})
    return figures


def of_checkpoint(ckpt: str, data_root: str, words: Sequence[str]) -> Judged:
    """A trained network, with the data of its training.

    Raises:
        UserError: words of training are given too, which the checkpoint has itself.
    """
    if words:
        raise UserError(f"{words[0]} has no place beside ckpt=, which has its own: leave it out, or else ckpt=")
    path, task, about = restore(ckpt)
    config = about["config"]
    trainer = config["trainer"] | {"accelerator": "auto"}  # whatever it was trained on
    trained_on = config["data"].get("root")
    data = restored_data(about, data_root)
    moved = config["data"].get("root") != trained_on
    return Judged({"checkpoint": str(path)}, config["name"], about["data"]["kind"], task, data, trainer, about, moved)


def of_weights(words: Sequence[str], data_root: str) -> Judged:
    """A network with weights from elsewhere, composed, checked and assembled as for a training.

    Raises:
        UserError: a mistake in the words; weights that are not those of the whole network.
    """
    if not words:
        raise UserError(
            "ckpt=... is missing, as in torchatlas evaluate ckpt=runs/mlp-digits; weights from elsewhere need "
            "model=... weights=... data=..."
        )
    require_config_words(words, "here, where no network is trained")
    asked = composed([*words, *([f"data.root={quoted(data_root)}"] if data_root else [])])
    if asked.config.weights is None:
        raise UserError("weights=... is missing: a new network has learned nothing, and its figures say nothing")
    data = fits(asked)
    plain = asked.plain() | {"compile": False}
    torch.manual_seed(plain["seed"])
    parts = assemble(plain, data=data)
    for line in parts.said:
        print(line)
    if new := answering_as_initialised(parts):
        raise UserError(
            f"weights={plain['weights']} leave {shorten(new)} as initialised, and the answers would be chance: give "
            "weights of this very network with as many classes"
        )
    kind = "image" if parts.data.of_images else parts.data.kind
    where = {"weights": str(plain["weights"])}
    return Judged(where, plain["name"], kind, parts.task.eval(), parts.data, plain["trainer"], {})


def answering_as_initialised(parts: Parts) -> list[str]:
    """Names of what the weights lack and the answers depend on, which those of auxiliary classifiers do not."""
    assert parts.weights is not None
    named = dict(parts.network.named_parameters(remove_duplicate=False))
    lacking = [name.partition(" ")[0] for name in parts.weights.as_initialised]
    parameters = [name for name in lacking if name in named and named[name].requires_grad]
    others = [name for name in lacking if name not in named]  # statistics of batch normalisation, tables
    if not parameters:
        return others
    loss = parts.task.eval().step(parts.data.example_batch(2))["loss"]
    gradients = torch.autograd.grad(loss, [named[name] for name in parameters], allow_unused=True)
    used = [name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None]
    modules = {name.rpartition(".")[0] for name in used}
    alone = {name.rpartition(".")[0] for name in parameters} - modules  # whose buffers have no effect either
    return used + [name for name in others if name.rpartition(".")[0] not in alone]

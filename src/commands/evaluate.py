"""The command `torchatlas evaluate`: figures of a checkpoint, or of weights from elsewhere, on a split of its data."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch

from ..api.evaluation import Judged, figures_on, of_checkpoint
from ..errors import UserError
from ..metrics.figures import format_figure, reported
from ..predict.rows import file_for
from ..run.assemble import Parts, assemble
from ..run.check import fits
from ..run.compose import composed, require_config_words
from ..run.quoting import quoted
from ..storage.files import write_json
from ..weights.report import shorten


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
    if ckpt and words:
        raise UserError(f"{words[0]} has no place beside ckpt=, which has its own: leave it out, or else ckpt=")
    judged = of_checkpoint(ckpt, data_root) if ckpt else of_weights(words, data_root)
    found = figures_on(judged, split, tta=tta, mc_samples=mc_samples, seed=seed)
    figures = found.figures
    print(f"{judged.name}: {', '.join(judged.where.values())} on {found.samples} samples of {found.split}")
    known = reported(type(judged.task), type(judged.data))
    for key, value in figures.items():
        print(f"  {key:<28} {format_figure(key, value, known)}")
    if file is not None:
        write_json(file, {**judged.where, "name": judged.name, **figures})
    return figures


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

"""The likeliest classes of a user's images, sounds and texts, and of whatever else its data can read."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from ..data.base import DataModule
from ..errors import UserError
from ..tasks.classification import Classification, inputs_of
from .passes import average_passes
from .registry import answers

Row = dict[str, Any]


@answers(tasks=("classification",), reads=True, ends=" input=FILE")
@torch.no_grad()
def classify(
    task: Classification, data: DataModule, given: str, *, top: int = 1, tta: Literal["none", "flip", "ten"] = "none",
    mc_samples: int = 0, seed: int = 0,
) -> Iterator[Row]:  # fmt: skip
    """The likeliest classes of a user's files, which are read as in training.

    Args:
        task: in eval mode, with the trained network.
        data: of the training, see `reader`.
        given: see `read` of the data.
        top: classes for each image, sound or text.
        tta: test-time augmentation of images: the mean over an image and its mirror, or over ten crops.
        mc_samples: passes with dropout whose mean a classifier answers with, and the spread; 0 is one pass without.
        seed: of dropout.

    Yields:
        For each sample what tells it from the others, see `Given.about`, and its classes, see `row_of_classes`; or the
        reason for which it cannot be read, as "error".

    Raises:
        UserError: no file can be read, or there are not so many classes.
    """
    average_passes(task, tta, mc_samples, data.describe()["kind"])
    samples, names = data.read(given), [str(name) for name in data.classes]
    if not 1 <= top <= len(names):
        raise UserError(f"top={top} must be from 1 to the {len(names)} classes")
    torch.manual_seed(seed)
    for about, batch in data.told(samples, task.device):
        if not batch:
            yield from about
            continue
        x, *rest, _ = batch
        inputs = inputs_of(task.claims, x, rest)
        each = task.predict(*inputs)[None] if task.averaged is None else task.averaged(task.network, *inputs)
        spreads = each.std(0, correction=0).cpu() if task.averaged is not None else [None] * each.shape[1]
        for row, probabilities, spread in zip(about, each.mean(0).cpu(), spreads, strict=True):
            yield {**row, **row_of_classes(probabilities, spread, names, top)}


def row_of_classes(probabilities: Tensor, spread: Tensor | None, names: list[str], top: int) -> Row:
    """The likeliest classes of one sample, as a row of a table.

    Args:
        probabilities: of the classes, `k`; of several passes the means.
        spread: of several passes the standard deviation over them, `k`.
        names: of the classes.
        top: how many are said.

    >>> row_of_classes(torch.tensor([0.2, 0.7, 0.1]), None, ["cat", "dog", "owl"], 1)
    {'class': 'dog', 'probability': 0.7}
    >>> list(row_of_classes(torch.tensor([0.2, 0.7, 0.1]), torch.zeros(3), ["cat", "dog", "owl"], 2))
    ['class_1', 'probability_1', 'spread_1', 'class_2', 'probability_2', 'spread_2']
    """
    row: Row = {}
    values, places = probabilities.topk(top)
    for i, (value, place) in enumerate(zip(values.tolist(), places.tolist(), strict=True), start=1):
        end = "" if top == 1 else f"_{i}"
        row |= {f"class{end}": names[place], f"probability{end}": round(value, 6)}
        if spread is not None:
            row[f"spread{end}"] = round(float(spread[place]), 6)
    return row

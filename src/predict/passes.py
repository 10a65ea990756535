"""Several forward passes of one input, averaged: test-time augmentation and Monte Carlo dropout."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import UserError, nearest
from ..models.contract import DroppingAttention
from ..tasks.base import Task
from ..tasks.classification import Classification

VIEWS = ("none", "flip", "ten")  # of test-time augmentation


def average_passes(task: Task, tta: str, mc_samples: int, kind: str) -> None:
    """Let a classifier average the probabilities of several forward passes; see `passes`.

    Raises:
        UserError: another kind of task, an unknown kind of augmentation, or a network without dropout.
    """
    if tta not in VIEWS:
        raise UserError(f"tta={tta} is unknown{nearest(tta, list(VIEWS))}")
    if mc_samples < 0:
        raise UserError(f"mc_samples={mc_samples} must not be negative")
    if isinstance(task, Classification):
        task.averaged = None  # whatever was asked of it before
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


def views(kind: str) -> list[Callable[[Tensor], Tensor]]:
    """Versions of images `b c h w` for test-time augmentation: the images, mirrored ones, shifted ones.

    Args:
        kind: "none"; "flip", the images and their mirror images; "ten", both in the middle and shifted by an eighth of
            the side towards each corner, with zeros from outside (the ten crops of Krizhevsky et al. 2012, section 4.1,
            for images that have no margin).
    """

    def shifted(x: Tensor, down: int, right: int) -> Tensor:
        h, w = x.shape[-2:]
        dy, dx = down * (h // 8), right * (w // 8)
        y = torch.zeros_like(x)
        y[..., max(dy, 0) : h + min(dy, 0), max(dx, 0) : w + min(dx, 0)] = x[
            ..., max(-dy, 0) : h + min(-dy, 0), max(-dx, 0) : w + min(-dx, 0)
        ]
        return y

    def view(down: int, right: int, mirror: bool) -> Callable[[Tensor], Tensor]:
        return lambda x: shifted(x.flip(-1) if mirror else x, down, right)

    places = [(0, 0)] if kind != "ten" else [(0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]
    return [
        view(down, right, mirror)
        for down, right in places
        for mirror in ((False,) if kind == "none" else (False, True))
    ]


def drops(module: nn.Module) -> bool:
    """Whether a module drops something in training: a dropout layer, or attention that drops weights."""
    if isinstance(module, DroppingAttention):
        return bool(module.dropout)
    return isinstance(module, nn.modules.dropout._DropoutNd)


def passes(kind: str, samples: int) -> Callable[..., Tensor]:
    """Several forward passes of one input: test-time augmentation, Monte Carlo dropout, or both.

    Args:
        kind: see `views`.
        samples: forward passes of each view with the network's dropout layers as in training (Gal and Ghahramani 2015,
            arXiv:1506.02142, section 4); 0 leaves dropout out.

    Returns:
        A function of a network in eval mode and its inputs, `b ...` and perhaps lengths, that gives probabilities
        `passes b k`.
    """

    def run(network: nn.Module, x: Tensor, *lengths: Tensor) -> Tensor:
        dropouts = [m for m in network.modules() if drops(m)] if samples else []
        for module in dropouts:
            module.training = True  # of it alone, and not of the layers in it
        try:
            found = [
                network(view(x), *lengths).float().softmax(1) for view in views(kind) for _ in range(max(1, samples))
            ]
        finally:
            for module in dropouts:
                module.training = False
        return torch.stack(found)

    return run

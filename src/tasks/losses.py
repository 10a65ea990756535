"""Losses that a user chooses: one of torch's or of a package of one's own, by its dotted name.

    task.loss=torch.nn.functional.l1_loss
    task.loss={_target_: torch.nn.CrossEntropyLoss, label_smoothing: 0.1}
    task.loss=mine.losses.focal

Torch's losses mean what they say only of what they were made for: some take logits, others probabilities or distances.
Those that fit a kind of task are listed here, with what they are given; any other one of torch's is refused. A function
or a class of one's own gets the network's output and the target as they are, and returns one number, to be minimised.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import loss as torch_losses

from ..errors import UserError

Kind = Literal["classes", "numbers"]
LossFunction = Callable[[Tensor, Tensor], Tensor]

# Of logits `n k`: with labels `n`, or with 1 for the true class and 0 for all others, `n k`.
OF_LABELS = ("CrossEntropyLoss", "MultiMarginLoss")
OF_ONES = ("BCEWithLogitsLoss", "MultiLabelSoftMarginLoss", "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
FITTING: Mapping[Kind, tuple[str, ...]] = {
    "classes": (*OF_LABELS, *OF_ONES),
    "numbers": ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"),
}
FUNCTIONS = {
    "cross_entropy": "CrossEntropyLoss", "multi_margin_loss": "MultiMarginLoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
    "multilabel_soft_margin_loss": "MultiLabelSoftMarginLoss",
    "mse_loss": "MSELoss", "l1_loss": "L1Loss", "smooth_l1_loss": "SmoothL1Loss", "huber_loss": "HuberLoss",
}  # fmt: skip


def name_in_torch(found: Any) -> str | None:
    """The name of the class in `torch.nn` that a loss is, or does what the function does; None: it is not of torch."""
    if isinstance(found, type):
        return found.__name__ if found.__module__ == torch_losses.__name__ else None
    if isinstance(found, nn.Module):
        return name_in_torch(type(found))
    name = getattr(found, "__name__", "")
    if name and getattr(F, name, None) is found:
        return FUNCTIONS.get(name, name)
    return None


def is_known(found: Any) -> bool:
    """Whether it is one of torch's losses that fit some task."""
    return name_in_torch(found) in {name for names in FITTING.values() for name in names}


class ChosenLoss(nn.Module):
    """A loss in place of a task's own.

    Args:
        function: of output and target; a module, a function or another object that can be called.
        kind: of the task: "classes", whose outputs are logits, or "numbers".
        said: how a user knows it, for messages.

    Raises:
        UserError: one of torch's that does not fit the kind, or a module with weights of its own, which no optimiser
            trains.
    """

    def __init__(self, function: LossFunction, kind: Kind, said: str = "") -> None:
        super().__init__()
        self.kind, self.torch_name = kind, name_in_torch(function)
        self.said = said or f"task.loss={getattr(function, '__name__', type(function).__name__)}"
        if self.torch_name is not None and self.torch_name not in FITTING[kind]:
            what = "logits and labels" if kind == "classes" else "two numbers, output and target"
            raise UserError(
                f"{self.said} is not made for {what}: use one of {', '.join(FITTING[kind])}, or one of your own"
            )
        if getattr(function, "reduction", "mean") != "mean" and self.torch_name is not None:
            raise UserError(f"{self.said}: only with reduction=mean runs of other batches compare: leave reduction out")
        if isinstance(function, nn.Module) and any(p.requires_grad for p in function.parameters()):
            raise UserError(
                f"{self.said} has weights of its own, which no optimiser trains: put them into the network, or write a "
                "task of your own"
            )
        self.function = function

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """One number, to be minimised.

        Raises:
            UserError: the loss cannot take these, or gives something else; shapes are shown.
        """
        given = self.as_taken(output, target)
        try:
            loss = self.function(output, given)
        except UserError:
            raise
        except Exception as error:
            if output.device.type == "meta":  # of which a loss may want values; then the check takes numbers
                raise
            shapes = f"outputs {list(output.shape)} and targets {list(given.shape)}"
            raise UserError(f"{self.said} cannot be computed of {shapes}: {' '.join(str(error).split())}") from error
        if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
            what = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else f"type {type(loss).__name__}"
            raise UserError(f"{self.said} gives something of {what} where one number has to be, as by a mean")
        return loss

    def as_taken(self, output: Tensor, target: Tensor) -> Tensor:
        """The target as one of torch's losses takes it."""
        if self.kind != "classes" or self.torch_name is None:
            return target
        if self.torch_name in OF_ONES and target.ndim == 1:
            return F.one_hot(target, output.shape[1]).to(output.dtype)
        if self.torch_name == "MultiMarginLoss" and target.ndim > 1:
            raise UserError(f"{self.said} takes one class a sample, and no shares of mixed ones: leave out the mixing")
        return target


def chosen(function: "LossFunction | Named | None", kind: Kind) -> "ChosenLoss | None":
    """A task's `loss`: None, what was made of the config, or any function of output and target."""
    if function is None:
        return None
    if not callable(function):
        raise UserError(f"task.loss={function} is no loss: name a class or a function, as in task.loss=torch.nn.L1Loss")
    if isinstance(function, Named):
        return ChosenLoss(function.function, kind, function.said)
    return ChosenLoss(function, kind)


def make_loss(found: Any, arguments: Mapping[str, Any], said: str) -> "Named":
    """What `task.loss` is in a config.

    Args:
        found: what its name means: a class, which is made here, or a function, which is the loss itself.
        arguments: for the class, or further ones for the function; of torch's losses lists become tensors.
        said: how the user knows it.
    """
    if (name := name_in_torch(found)) is not None and hasattr(nn, name):
        found = getattr(nn, name)
        arguments = {k: torch.tensor(v) if isinstance(v, list) else v for k, v in arguments.items()}
    try:
        function: Any = found(**arguments) if isinstance(found, type) else Bound(found, dict(arguments))
    except (TypeError, ValueError) as error:
        raise UserError(f"{said} cannot be made: {error}") from error
    if not callable(function):
        raise UserError(f"{said} makes something of type {type(function).__name__}, which cannot be called as a loss")
    return Named(function, said)


class Named:
    """A loss, and how the user knows it; no dataclass, of which Hydra would make a mapping."""

    def __init__(self, function: LossFunction, said: str) -> None:
        self.function, self.said = function, said

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return self.function(output, target)


class Bound:
    """A function of output and target, with further arguments."""

    def __init__(self, function: Callable[..., Tensor], arguments: Mapping[str, Any]) -> None:
        self.function, self.arguments = function, arguments

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return self.function(output, target, **self.arguments)

"""Classification with the perceptron criterion."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..metrics.figures import Figure, Reports
from .base import MakeOptimizer, MakeSchedule, Task


def violation(logits: Tensor, labels: Tensor) -> Tensor:
    """By how much the largest logit of a wrong class exceeds that of the true class.

    Args:
        logits: `b k` with at least two classes.
        labels: int64 `b`.

    Returns:
        float32 of shape `b`; from 0 the answer is a mistake, since a tie is no answer.
    """
    logits = logits.float()
    true = logits.gather(1, labels[:, None])[:, 0]
    # max along an axis has the gradient of one rival, where amax would divide it among equal ones.
    rival = logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return rival - true


class PerceptronRule(Task):
    """Rosenblatt's rule of learning, as gradient descent on the perceptron criterion.

    Network: x -> logits z `b k`. Batch: (x, labels y `b`), those of a classification; of mixed images the larger share
    is the label. Loss, of each sample:

        max(0, max_{k≠y} z_k - z_y)

    and its mean over the batch (Duda, Hart and Stork 2001, "Pattern Classification", sections 5.5 and 5.12). With
    z = Wx + b, batches of one sample and plain gradient descent of rate η, a step is Rosenblatt's (1958) rule: nothing
    where the answer is right, else η x added to the true class's row and taken from the rival's. A tie is a mistake,
    so that weights of zero learn. Figures: loss, and accuracy, the share of samples whose true class alone has the
    largest logit.

    The loss is proportional to the size of the weights and says little by itself (weights of zero have none), so the
    best weights are by default those of the best accuracy, as in Gallant's pocket algorithm (1990, "Perceptron-based
    learning algorithms"). Logits are no logarithms of probabilities here.

    Args:
        network, optimizer, schedule: see `Task`.
        monitor: validation figure by which the best weights are chosen: "accuracy" or "loss".
        common: L1 penalty and so on, see `Task`.

    Raises:
        ValueError: an unknown monitor.
    """

    name = "perceptron"
    batches = "classification"
    reports: ClassVar[Reports] = {
        "accuracy": Figure("higher", "%", headline=True, chooses=True, tabled=True),
    }

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        monitor: Literal["loss", "accuracy"] = "accuracy",
        **common: Any,
    ) -> None:
        super().__init__(network, optimizer, schedule, **common)
        self.monitor, self.mode = self.compared_by({"monitor": monitor})

    def step(self, batch: Any) -> dict[str, Tensor]:
        x, *_, labels = batch
        output = self.network(x)
        logits = output[0] if isinstance(output, tuple) else output  # auxiliary heads have no part in the rule
        excess = violation(logits, labels if labels.ndim == 1 else labels.argmax(1))
        mistakes = excess >= 0
        return {
            "loss": torch.where(mistakes, excess, 0).mean(),
            "metrics/accuracy": 1 - mistakes.float().mean(),
            "logits": logits.detach(),
            "mistakes": mistakes,
        }

"""What a perceptron's training came to, and whether it could have come to more."""

import logging
from typing import Any

import lightning
import torch
from torch import Tensor

from ..callbacks.base import Callback
from ..errors import UserError
from ..tasks.perceptron import PerceptronRule

log = logging.getLogger(__name__)
BATCH = 1024


def linearly_separable(x: Tensor, labels: Tensor) -> bool | None:
    """Whether some affine map gives each sample's class the largest value, by a linear program.

    With x̃ = (x, 1) it minimises t >= 0 over rows w_k, subject to (w_y - w_k) · x̃ >= 1 - t for each sample and each
    other class k. Weights of zero reach t = 1. Where a separating map exists it can be scaled until t = 0, and where
    none exists scaling down shows that nothing is better than 1: the minimum is 0 or 1, and nothing between. The first
    class's row is held at zero, since adding one vector to all rows changes no difference.

    Args:
        x: samples `n d`.
        labels: int64 `n`.

    Returns:
        None where the solver gives up.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    classes, places = labels.unique(return_inverse=True)
    k = len(classes)
    if k < 2:
        return True
    distinct = torch.unique(torch.cat([x.double(), torch.ones(len(x), 1), places[:, None]], 1), dim=0)
    samples, own = distinct[:, :-1], distinct[:, -1].long()
    n, d = samples.shape
    rival = torch.arange(k).expand(n, k)[torch.arange(k) != own[:, None]]
    own, samples = own.repeat_interleave(k - 1), samples.repeat_interleave(k - 1, 0)
    m = len(rival)
    # Columns: k rows of weights one after the other, then t.
    columns = torch.cat([own[:, None] * d + torch.arange(d), rival[:, None] * d + torch.arange(d)], 1)
    columns = torch.cat([columns, torch.full((m, 1), k * d)], 1)
    values = torch.cat([-samples, samples, -torch.ones(m, 1)], 1)
    starts = torch.arange(0, columns.numel() + 1, columns.shape[1])
    matrix = csr_array((values.flatten().numpy(), columns.flatten().numpy(), starts.numpy()), shape=(m, k * d + 1))
    free = (k - 1) * d
    found = linprog(
        [0.0] * free + [1.0], A_ub=matrix[:, d:], b_ub=[-1.0] * m, bounds=[(None, None)] * free + [(0, None)]
    )
    return bool(found.fun < 0.5) if found.status == 0 else None


class Separability(Callback):
    """Says, when the training ends, whether Rosenblatt's rule has converged, and if not, whether it can.

    The training samples, without augmentation, are judged by the weights with which the run ends. If there are
    mistakes and the samples are few, a linear program settles whether the classes are linearly separable: if they are,
    the rule stops making mistakes after finitely many corrections (Novikoff 1962, "On convergence proofs on
    perceptrons"); if not, it never does. A correction is a training sample that was mistaken when its turn came.

    Args:
        limit: numbers in the program's matrix (samples x rivals x features of two classes) up to which it is solved;
            two millions take some ten seconds.
    """

    def __init__(self, limit: int = 2_000_000) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise UserError(f"callbacks.separability.limit={limit} must be a whole number from 0")
        self.limit = limit
        self.corrections, self.last = torch.tensor(0), torch.tensor(0)  # their number, and the last one's epoch

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not isinstance(pl_module, PerceptronRule):
            raise UserError("callbacks=perceptron looks at Rosenblatt's rule: use task=perceptron with it")
        self.corrections, self.last = self.corrections.to(pl_module.device), self.last.to(pl_module.device)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        number = outputs["mistakes"].sum()
        self.corrections = self.corrections + number
        self.last = torch.where(number > 0, trainer.current_epoch + 1, self.last)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, PerceptronRule)
        corrections = int(trainer.strategy.reduce(self.corrections, reduce_op="sum"))
        last = int(trainer.strategy.reduce(self.last, reduce_op="max"))
        if trainer.is_global_zero:
            log.info(self.verdict(trainer, pl_module, corrections, last))

    def verdict(self, trainer: lightning.Trainer, task: PerceptronRule, corrections: int, last: int) -> str:
        """The sentence."""
        mistakes, x, labels = self.judge(trainer, task)
        n = len(labels)
        history = f"after {_count(corrections, 'correction')}" + (f", the last in epoch {last}" if corrections else "")
        if not mistakes:
            return f"the rule has converged: no mistake among {n:,} training samples, {history}"
        result = f"{_count(mistakes, 'mistake')} among {n:,} training samples, {history}"
        if x is None:
            return (
                f"{result}; whether the classes are linearly separable is not settled, since the linear program has "
                f"more than callbacks.separability.limit={self.limit} numbers"
            )
        separable = linearly_separable(x, labels)
        if separable is None:
            return f"{result}; whether the classes are linearly separable is not settled: the solver gave up"
        if separable:
            how = " without augmentation" if self.augmented(trainer) else ""
            return (
                f"{result}; the classes are linearly separable, as a linear program shows, so more epochs{how} are "
                f"needed: trainer.max_epochs={2 * (trainer.max_epochs or 1)}"
            )
        return f"{result}; the classes are not linearly separable, as a linear program shows: no perceptron learns them"

    def augmented(self, trainer: lightning.Trainer) -> bool:
        """Whether training samples are other ones than those that were judged."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        first = torch.arange(min(BATCH, len(data.splits["train"])))
        one, two = (data.transform(data.splits["train"][epoch, first])[0] for epoch in (-1, 0))
        return not torch.equal(one, two)

    @torch.no_grad()
    def judge(self, trainer: lightning.Trainer, task: PerceptronRule) -> tuple[int, Tensor | None, Tensor]:
        """Mistakes in the whole training split; its inputs `n d`, unless they are too many; its labels `n`."""
        split = trainer.datamodule.splits["train"]  # type: ignore[attr-defined]
        training, mistakes = task.network.training, 0
        inputs: list[Tensor] = []
        labels: list[Tensor] = []
        task.eval()
        for indices in torch.arange(len(split)).split(BATCH):
            batch = trainer.strategy.batch_to_device(split[-1, indices], task.device)
            with trainer.precision_plugin.forward_context():
                out = task.step(batch)
            mistakes += int(out["mistakes"].sum())
            rivals, features = out["logits"].shape[1] - 1, batch[0][0].numel() + 1
            if len(split) * rivals * 2 * features <= self.limit:
                inputs.append(batch[0].flatten(1).double().cpu())
            labels.append(batch[-1].cpu())
        task.train(training)
        return mistakes, torch.cat(inputs) if inputs else None, torch.cat(labels)

    def state_dict(self) -> dict[str, Any]:
        return {"corrections": int(self.corrections), "last": int(self.last)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.corrections, self.last = torch.tensor(state_dict["corrections"]), torch.tensor(state_dict["last"])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + "s" * (number != 1)

"""Token classification: one class of each word, such as the tags of named entities."""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..metrics.entities import TagTable, count_entities, entity_figures, tag_table
from ..metrics.figures import Figure, Reports
from .base import MakeOptimizer, MakeSchedule, Task
from .classification import inputs_of

IGNORED = -100  # of the labels: as in torch's cross-entropy


class TokenClassification(Task):
    """One class out of K for each token that has a label: of a word in pieces the first one (Devlin et al. 2018).

    Network: tokens `b t`, and lengths `b` where it takes them -> logits `b t k`. Batch: (tokens, lengths, labels
    `b t`), where tokens labelled -100 count nowhere. Figures, of the tokens that count: loss (cross-entropy in nats,
    averaged over tokens), accuracy, and in evaluation, where the classes are tags of entities, precision, recall and f1
    of whole entities, over the whole split, as `conlleval` counts them; see `entities`.

    Args:
        network, optimizer, schedule: see `Task`.
        monitor: validation figure by which the best weights are chosen: "loss", "accuracy" or "f1".
        common: L1 penalty and so on, see `Task`.

    Raises:
        ValueError: an unknown monitor.
        UserError: the network has another number of classes than the data have tags.
    """

    name = "token_classification"
    reports: ClassVar[Reports] = {
        "f1": Figure("higher", headline=True, chooses=True),
        "accuracy": Figure("higher", "%", headline=True, chooses=True, tabled=True),
        "precision": Figure("higher"),
        "recall": Figure("higher"),
    }

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        monitor: Literal["loss", "accuracy", "f1"] = "loss",
        **common: Any,
    ) -> None:
        super().__init__(network, optimizer, schedule, **common)
        self.monitor, self.mode = self.compared_by({"monitor": monitor})
        self.table: TagTable | None = None
        self.classes = 0  # their number, once the data are known

    def setup(self, stage: str) -> None:
        super().setup(stage)
        names = self.required_data().classes
        self.table, self.classes = tag_table(names), len(names)

    def step(self, batch: Any) -> dict[str, Tensor]:
        tokens, *lengths, labels = batch
        logits = self.network(*inputs_of(self.claims, tokens, lengths))
        if self.classes and logits.shape[-1] != self.classes:
            raise UserError(
                f"{type(self.network).__name__} gives {logits.shape[-1]} values for each token where the data have "
                f"{self.classes} tags: use a network that labels tokens, as in model=bert_tiny"
            )
        counted = labels != IGNORED
        number = counted.sum().clamp(min=1)
        total = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        said = logits.argmax(2)
        right = ((said == labels) & counted).sum()
        out = {"loss": total / number, "metrics/accuracy": right / number, "logits": logits.detach()}
        if not self.training and self.table is not None:
            rows = torch.arange(len(labels), device=labels.device)[:, None].expand_as(labels)
            counts = count_entities(labels[counted], said[counted], rows[counted], self.table)
            out["metrics/entities"] = counts / number
        return out

    def weight(self, batch: Any) -> Tensor:
        """The tokens that count."""
        counted: Tensor = (batch[-1] != IGNORED).sum()
        return counted

    def derive(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        entities = means.pop("entities", None)
        return means if entities is None else means | entity_figures(entities)

    @torch.no_grad()
    def predict(self, *inputs: Tensor) -> Tensor:
        """Class probabilities `b t k` of inputs as the network takes them; in eval mode."""
        return self.network.eval()(*inputs).float().softmax(-1)  # type: ignore[no-any-return]

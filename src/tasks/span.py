"""Spans: where in a text the answer to a question stands."""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..metrics.answers import best_spans, score
from ..metrics.figures import Figure, Reports
from .base import MakeOptimizer, MakeSchedule, Task
from .classification import inputs_of

COLUMNS = 5  # of a window: the score of its best span, its start, its end, the score of no answer, and 1: it was seen


class Span(Task):
    """The first and the last token of the answer (Devlin et al. 2018, arXiv:1810.04805, sections 4.2 and 4.3).

    Network: tokens `b t`, and lengths `b` and segments `b t` where it takes them -> logits of start and end `b t 2`.
    Batch: (tokens, lengths, segments, starts `b`, ends `b`, places `b`), where segment 1 is the text in which the
    answer is looked for and the separator behind it, a window without the answer has start and end 0, [CLS], and places
    are the windows' places in the split. Figures: loss, the mean of the cross-entropies of start and end (nats);
    accuracy (both are right); and in evaluation exact_match and f1 of the answers as text, in SQuAD's way; see
    `answers`.

    A question has one window or more. Its answer is the span with the largest sum of logits over all its windows, among
    those that end at most 30 tokens after their start. Where the data have questions without an answer, it is "" if the
    sum of [CLS] in each of the windows is at least as large.

    Args:
        network, optimizer, schedule: see `Task`.
        monitor: validation figure by which the best weights are chosen: "loss", "exact_match" or "f1".
        common: L1 penalty and so on, see `Task`.

    Raises:
        ValueError: an unknown monitor.
    """

    name = "span"
    reports: ClassVar[Reports] = {
        "exact_match": Figure("higher", "%", headline=True, chooses=True, tabled=True),
        "f1": Figure("higher", headline=True, chooses=True),
        "accuracy": Figure("higher", "%", tabled=True),
    }

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        monitor: Literal["loss", "exact_match", "f1"] = "loss",
        **common: Any,
    ) -> None:
        super().__init__(network, optimizer, schedule, **common)
        self.monitor, self.mode = self.compared_by({"monitor": monitor})
        self.tables: dict[str, Tensor] = {}  # of each stage, windows by columns

    def step(self, batch: Any) -> dict[str, Tensor]:
        tokens, lengths, segments, starts, ends, places = batch
        logits = self.network(*inputs_of(self.claims, tokens, [lengths, segments]))
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        masked = logits.float().masked_fill((steps >= lengths[:, None])[..., None], torch.finfo(torch.float32).min)
        start, end = masked.unbind(-1)
        loss = (F.cross_entropy(start, starts) + F.cross_entropy(end, ends)) / 2
        right = (start.argmax(1) == starts) & (end.argmax(1) == ends)
        if not self.training and self._trainer is not None:
            self.note(masked.detach(), lengths, segments, places)
        return {"loss": loss, "metrics/accuracy": right.float().mean(), "logits": logits.detach()}

    def note(self, logits: Tensor, lengths: Tensor, segments: Tensor, places: Tensor) -> None:
        """Keep the best span of each window until the end of the epoch."""
        stage = self.stage
        if stage not in self.tables:
            windows = len(self.required_data().splits[stage])
            self.tables[stage] = torch.zeros(windows, COLUMNS, device=logits.device)
        self.tables[stage][places] = window_scores(logits, lengths, segments)

    def close_epoch(self, stage: str) -> None:
        """Each window was seen by one process, once: the sum over processes is the table of all."""
        super().close_epoch(stage)
        table = self.tables.pop(stage, None)
        if table is None:
            return
        table = self.trainer.strategy.reduce(table, reduce_op="sum").cpu()
        data: Any = self.required_data().splits[stage]
        answers = choose(table, data)
        scores = [score(answer, data.answers[question]) for question, answer in answers.items()]
        for name, values in zip(("exact_match", "f1"), zip(*scores, strict=True), strict=True):
            self.figures[f"{stage}/{name}"] = sum(values) / len(values)

    def on_validation_epoch_start(self) -> None:
        self.tables.pop("val", None)

    def on_test_epoch_start(self) -> None:
        self.tables.pop("test", None)


def window_scores(logits: Tensor, lengths: Tensor, segments: Tensor) -> Tensor:
    """Score, start and end of the best span of each window, the score of no answer, and a one, float32 `b 5`.

    Args:
        logits: of start and end, `b t 2`.
        lengths: tokens of each window, `b`; the last one is the separator.
        segments: 1 where the answer may be, and at the last token, `b t`.
    """
    steps = torch.arange(logits.shape[1], device=logits.device)
    allowed = (segments == 1) & (steps < lengths[:, None] - 1)
    best, first, last = best_spans(logits, allowed)
    null = logits[:, 0].float().sum(1)
    return torch.stack([best, first.float(), last.float(), null, torch.ones_like(null)], 1)


def choose(table: Tensor, data: Any) -> dict[int, str]:
    """The answer, as text, to each question of which a window was seen.

    Args:
        table: of each window what `window_scores` says.
        data: its `questions` are the question's number of each window, `text(window, start, end)` is what stands
            there, and `unanswerable` says whether some questions have no answer.
    """
    best: dict[int, int] = {}
    null: dict[int, float] = {}
    scores, nulls, seen = (table[:, column].tolist() for column in (0, 3, 4))
    for window, question in enumerate(data.questions.tolist()):
        if not seen[window]:
            continue
        if question not in best or scores[window] > scores[best[question]]:
            best[question] = window
        null[question] = min(null.get(question, nulls[window]), nulls[window])
    found = {}
    for question, window in best.items():
        if scores[window] == -torch.inf or (data.unanswerable and null[question] >= scores[window]):
            found[question] = ""
        else:
            found[question] = data.text(window, int(table[window, 1]), int(table[window, 2]))
    return found

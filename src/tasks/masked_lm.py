"""Masked language modelling: hidden tokens from both sides of them, and whether two pieces of text belong together."""

import logging
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..metrics.figures import Figure, Reports
from .base import Task

log = logging.getLogger(__name__)
IGNORED = -100  # of the labels: as in torch's cross-entropy


class MaskedLM(Task):
    """The pre-training of BERT (Devlin et al. 2018, arXiv:1810.04805, section 3.1).

    Network: (tokens `b t`, lengths `b`, segments `b t`, positions `b m`) -> (logits `b m v` of the tokens at these
    positions, logits `b 2` of whether the second piece comes after the first (0) or is foreign (1)). Batch: (tokens,
    lengths, segments, positions, labels `b m` where -100 counts nowhere, is_next `b`). The loss is the mean of -ln p
    over the selected tokens, with `next_sentence` plus the mean over samples of that of the right answer (appendix
    A.2).

    Figures: loss, masked_nll (nats), perplexity (its exponential), masked_accuracy; with `next_sentence`,
    next_sentence_nll and next_sentence_accuracy. In an epoch, and over processes, each selected token counts alike in
    the former and each sample in the latter.

    Args:
        arguments: see `Task`.
        next_sentence: whether the network learns it.
    """

    name = "masked_lm"
    reports: ClassVar[Reports] = {
        "masked_nll": Figure("lower", "nats", headline=True, tabled=True),
        "masked_accuracy": Figure("higher", "%", headline=True, tabled=True),
        "perplexity": Figure("lower"),
        "next_sentence_nll": Figure("lower", "nats"),
        "next_sentence_accuracy": Figure("higher", "%"),
    }

    def __init__(self, *arguments: Any, next_sentence: bool = True, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.next_sentence = next_sentence
        self.beats_unigrams = False

    def step(self, batch: Any) -> dict[str, Tensor]:
        tokens, lengths, segments, positions, labels, is_next = batch
        logits, next_logits = self.network(tokens, lengths, segments, positions)
        selected = labels != IGNORED
        total = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        right = (logits.argmax(2) == labels) & selected
        samples, number = len(tokens), selected.sum()
        loss = total / self.of_all_processes(number).clamp(min=1)
        # Sums over tokens, for each sample: `derive` divides them by the selected tokens for each sample.
        sums = {"masked_nll": total, "masked_accuracy": right.sum(), "selected": number}
        out = {"loss": loss} | {f"metrics/{key}": value / samples for key, value in sums.items()}
        if self.next_sentence:
            nll = F.cross_entropy(next_logits.float(), is_next)
            out["loss"] = loss + nll
            out["metrics/next_sentence_nll"] = nll
            out["metrics/next_sentence_accuracy"] = (next_logits.argmax(1) == is_next).float().mean()
        return out

    def of_all_processes(self, number: Tensor) -> Tensor:
        """In training, the mean over processes, whose gradients are averaged: each token of a batch counts alike."""
        if not self.training or self._trainer is None or self.trainer.world_size == 1:
            return number
        mean: Tensor = self.trainer.strategy.reduce(number.float(), reduce_op="mean")  # type: ignore[assignment]
        return mean

    def derive(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        selected = means.pop("selected").clamp(min=torch.finfo(torch.float32).tiny)
        for key in ("masked_nll", "masked_accuracy"):
            means[key] = means[key] / selected
        means["loss"] = means["masked_nll"] + means.get("next_sentence_nll", 0)
        return means | {"perplexity": means["masked_nll"].exp()}

    def close_epoch(self, stage: str) -> None:
        super().close_epoch(stage)
        nll, unigrams = (self.figures.get(f"{stage}/{key}") for key in ("masked_nll", "unigram_nll"))
        if stage == "val" and nll is not None and unigrams is not None and not self.beats_unigrams and nll < unigrams:
            self.beats_unigrams = True
            if self.trainer.is_global_zero:
                log.info(
                    "epoch %d: %.3f nats a hidden token, less than the %.3f of unigram frequencies: the network uses "
                    "what stands around",
                    self.current_epoch + 1, nll, unigrams,
                )  # fmt: skip

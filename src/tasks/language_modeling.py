"""Language modelling: the next token from those before it."""

import logging
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Task
from .ngram import WittenBellTrigram

log = logging.getLogger(__name__)


class LanguageModeling(Task):
    """Next-token prediction.

    Network: tokens `b t` -> logits `b t v`, causal. Batch: (tokens `b t+1`,), shifted here. Figures: loss
    (nats a token), perplexity, bits per character (per token, where a token is no character), and the bits
    of a trigram baseline, which is counted on the training split and judged on the same tokens as the network.
    """

    name = "language_modeling"
    headline = ("bits_per_character",)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.trigram_bits: dict[str, float] = {}

    def step(self, batch: Any) -> dict[str, Tensor]:
        (tokens,) = batch
        logits = self.network(tokens[:, :-1])
        return {"loss": F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())}

    def weight(self, batch: Any) -> int:
        return batch[0].shape[0] * (batch[0].shape[1] - 1)  # type: ignore[no-any-return]

    def derive(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        bits = means["loss"] / math.log(2)
        return means | {"perplexity": means["loss"].exp(), "bits_per_character": bits}

    def on_fit_start(self) -> None:
        """Say the baseline before training, where the vocabulary is small enough for a table of trigrams."""
        if (bits := self.baseline("val")) is not None and self.trainer.is_global_zero:
            log.info("trigram baseline: %.3f bits per character on validation", bits)

    def close_epoch(self, stage: str) -> None:
        super().close_epoch(stage)
        if stage != "train" and (bits := self.baseline(stage)) is not None:
            self.figures[f"{stage}/trigram_bits_per_character"] = bits

    def baseline(self, split: str) -> float | None:
        """Bits per token of the trigrams of the training split on another; computed once."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if data.vocab_size > WittenBellTrigram.MAX_VOCABULARY:
            return None
        if split not in self.trigram_bits:
            self.trigram_bits[split] = trigram_bits(data.splits["train"], data.splits[split], data.vocab_size)
        return self.trigram_bits[split]

    @torch.no_grad()
    def generate(self, prompt: Tensor, length: int, *, context: int, temperature: float = 1.0, seed: int = 0) -> Tensor:
        """Continue a prompt by sampling.

        Args:
            prompt: int64 tokens `t`, at least one.
            length: how many tokens to add.
            context: how many of the last tokens the network sees; a recurrent one starts there and then goes on.
            temperature: divides the logits; 0 takes the likeliest token.
            seed: of a generator of its own, so that training's random numbers are untouched.

        Returns:
            int64 of shape `t+length`, on the CPU.
        """
        generator = torch.Generator().manual_seed(seed)
        device = next(self.network.parameters()).device
        training = self.network.training
        self.network.eval()
        advance: Any = getattr(self.network, "advance", None)
        tokens, new, state = prompt.cpu(), prompt[-context:].to(device), None
        for _ in range(length):
            if advance is not None:  # a recurrent network carries what it has read
                logits, state = advance(new[None], state)
            else:
                logits = self.network(tokens[None, -context:].to(device))
            last = logits[0, -1].float().cpu()
            if temperature == 0:
                token = last.argmax()[None]
            else:
                token = torch.multinomial((last / temperature).softmax(0), 1, generator=generator)
            tokens, new = torch.cat([tokens, token]), token.to(device)
        self.network.train(training)
        return tokens


def trigram_bits(train: Any, judged: Any, vocab_size: int) -> float:
    """Bits per token of the trigram baseline: counted on one data set of windows, judged on another."""
    model = WittenBellTrigram(vocab_size)
    for indices in torch.arange(len(train)).split(1024):
        model.update(train[-1, indices][0])
    nll = [model.nll(judged[-1, indices][0]).double() for indices in torch.arange(len(judged)).split(1024)]
    return float(torch.cat(nll).mean() / math.log(2))

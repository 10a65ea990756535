"""Language modelling: the next token from those before it."""

import logging
import math
from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..generate.decoding import continue_
from ..metrics.figures import Figure, Reports
from ..models.contract import Stateful, claims
from .base import Task
from .ngram import WittenBellTrigram
from .sparse_ngram import SparseWittenBellTrigram

log = logging.getLogger(__name__)
COUNTED = 20_000_000  # training tokens up to which trigrams are counted; sorting more takes minutes and gigabytes
State = Tensor | tuple[Tensor, ...]  # of a recurrent network, `layers b dim` each


class LanguageModeling(Task):
    """Next-token prediction.

    Network: tokens `b t` -> logits `b t v`, causal. Batch: (tokens `b t+1`,), shifted here. Figures: loss
    (nats a token), perplexity (per character, word or subword, whatever a token is), bits per character where tokens
    are characters, and bits per byte of the text in UTF-8 where they are characters or subwords: nats a token x tokens
    / bytes / ln 2, which can be compared between tokenisers. The same of a trigram baseline, which is counted on the
    training split and judged on the same tokens as the network; it is left out where that split is very long.

    With `carry` the network goes on, in each batch, from the state in which the batch before has left it, without
    gradients through that border: truncated back-propagation through time (Williams and Peng 1990; Zaremba, Sutskever
    and Vinyals 2014, arXiv:1409.2329, section 4.1). The rows of the data are streams then (`data.streams`). Each epoch
    of training, validation or test begins with an empty state.

    Args:
        arguments: see `Task`.
        carry: whether the network's state is carried. It needs the method `advance(tokens, state) -> (logits, state)`,
            where a state is a tensor or a tuple of tensors with the batch on axis 1.

    Attributes:
        states: of each stage, train, val or test, the state after the last batch.

    Raises:
        ValueError: the state of a network is to be carried that has none.
    """

    name = "language_modeling"
    reports: ClassVar[Reports] = {
        "perplexity": Figure("lower"),
        "bits_per_character": Figure("lower", "bits", headline=True, tabled=True),
        "bits_per_byte": Figure("lower", "bits"),
    }
    fixed: ClassVar[dict[str, str]] = {"carry": "the order of the data follows from it"}

    def __init__(self, *arguments: Any, carry: bool = False, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        limit = self.claims.limit
        if carry and (limit is not None or not isinstance(self.network, Stateful)):
            why = "has no state to carry" if limit is None else f"sees at most {limit} tokens in all"
            raise ValueError(f"task.carry=true needs a recurrent network, and {type(self.network).__name__} {why}")
        self.carry = carry
        self.states: dict[str, State] = {}
        self.derived = ""  # the stage whose means become figures
        self.baselines: dict[str, float] = {}

    @classmethod
    def suits(cls, network: type[nn.Module]) -> bool:
        """Not one that reads both directions, and so cannot be asked for the next token."""
        return not claims(network).paired

    @property
    def unit(self) -> str:
        """What a token is: "character" where the data do not say otherwise."""
        data = getattr(self._trainer, "datamodule", None)
        return getattr(data, "unit", "character")

    @property
    def bytes_per_token(self) -> dict[str, float]:
        """Of each split of the data; empty where they do not say, or where text has been lost."""
        data = getattr(self._trainer, "datamodule", None)
        return {} if self.unit == "word" else getattr(data, "bytes_per_token", {})

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.require_causal()
        if self.unit == "word":
            self.headline = ("perplexity",)
        elif self.unit == "token":
            self.headline = ("perplexity", "bits_per_byte")
        if self.carry and not getattr(self.datamodule, "streams", False):
            raise UserError("task.carry=true needs batches that go on where the last ones ended: add data.streams=true")

    def require_causal(self) -> None:
        """Refuse a network that may see the token that it has to predict.

        Raises:
            UserError: the network does not claim to be causal.
        """
        if not self.claims.causal:
            raise UserError(
                f"{type(self.network).__name__} is not causal: it sees the tokens that it would have to predict; use "
                "a network in one direction, as in model=lstm_lm"
            )

    def step(self, batch: Any) -> dict[str, Tensor]:
        (tokens,) = batch
        logits = self.read_on(tokens[:, :-1]) if self.carry else self.network(tokens[:, :-1])
        return {"loss": F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())}

    def read_on(self, tokens: Tensor) -> Tensor:
        """Logits `b t v` from the carried state; fewer rows than before are the first ones, see `StreamOrder`."""
        stage = "train" if self._trainer is None else self.stage
        state = self.states.get(stage)
        if state is not None:
            state = _each(state, lambda s: s[:, : len(tokens)].contiguous())
        logits, state = cast(Stateful, self.network).advance(tokens, state)
        self.states = {**self.states, stage: _each(state, Tensor.detach)}
        return logits

    def weight(self, batch: Any) -> int:
        return batch[0].shape[0] * (batch[0].shape[1] - 1)  # type: ignore[no-any-return]

    def derive(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        figures = means | {"perplexity": means["loss"].exp()}
        if self.unit == "character":
            figures["bits_per_character"] = means["loss"] / math.log(2)
        if self._trainer is not None and (size := self.bytes_per_token.get(self.derived)):
            figures["bits_per_byte"] = means["loss"] / (size * math.log(2))
        return figures

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.states.pop("train", None)

    def on_validation_epoch_start(self) -> None:
        self.states.pop("val", None)

    def on_test_epoch_start(self) -> None:
        self.states.pop("test", None)

    def on_fit_start(self) -> None:
        """Say the baseline before training."""
        found = self.baseline("val")
        if not self.trainer.is_global_zero:
            return
        if "bits_per_character" in found:
            log.info("trigram baseline: %.3f bits per character on validation", found["bits_per_character"])
        elif found:
            per_byte = f", {found['bits_per_byte']:.3f} bits per byte" if "bits_per_byte" in found else ""
            log.info("trigram baseline: perplexity %.4g%s on validation", found["perplexity"], per_byte)

    def close_epoch(self, stage: str) -> None:
        self.derived = stage
        super().close_epoch(stage)
        if stage != "train":
            self.figures |= {f"{stage}/trigram_{name}": value for name, value in self.baseline(stage).items()}

    def baseline(self, split: str) -> dict[str, float]:
        """The headline figures of the trigrams of the training split on another; counted once.

        None of them where the data are no text with windows to count, or a very long one.
        """
        data: Any = self.required_data()
        train = data.splits["train"]
        if not hasattr(train, "windows") or len(train.tokens) > COUNTED:
            return {}
        if split not in self.baselines:
            self.baselines[split] = trigram_nll(data.splits["train"], data.splits[split], data.vocab_size)
        nll = self.baselines[split]
        if self.unit == "character":
            return {"bits_per_character": nll / math.log(2)}
        figures = {"perplexity": math.exp(nll)}
        if size := self.bytes_per_token.get(split):
            figures["bits_per_byte"] = nll / (size * math.log(2))
        return figures

    def generate(
        self, prompt: Tensor, length: int, *, context: int, temperature: float = 1.0, top_k: int = 0,
        top_p: float = 1.0, seed: int = 0,
    ) -> Tensor:  # fmt: skip
        """Continue a prompt by sampling; for more than one prompt see `decoding.continue_`.

        Args:
            prompt: int64 tokens `t`, at least one.
            length: how many tokens to add.
            context: how many of the last tokens the network sees; a recurrent one starts there and then goes on, one
                that was trained to carry its state starts at the beginning of the prompt.
            temperature: divides the logits; 0 takes the likeliest token.
            top_k, top_p: see `decoding.sample`.
            seed: of a generator of its own, so that training's random numbers are untouched.

        Returns:
            int64 of shape `t+length`, on the CPU.

        Raises:
            UserError: the network is not causal, or a number that cannot be.
        """
        self.require_causal()
        (tokens,) = continue_(
            self.network, [prompt], length, context=None if self.carry else context, temperature=temperature,
            top_k=top_k, top_p=top_p, seed=seed,
        )  # fmt: skip
        return tokens

    @torch.no_grad()
    def nll(self, tokens: Tensor, context: int) -> float:
        """-ln p of each token of a text but the first, as in evaluation, their sum.

        Args:
            tokens: int64 `t`, at least two.
            context: tokens that the network sees at once; beyond them it knows what its state has kept.
        """
        device = next(self.network.parameters()).device
        total, state = 0.0, None
        for start in range(0, len(tokens) - 1, context):
            window = tokens[None, start : start + context + 1].to(device)
            if self.carry:
                logits, state = cast(Stateful, self.network).advance(window[:, :-1], state)
            else:
                logits = self.network(window[:, :-1])
            total += float(F.cross_entropy(logits[0], window[0, 1:], reduction="sum"))
        return total


def _each(state: State, function: Callable[[Tensor], Tensor]) -> State:
    return function(state) if isinstance(state, Tensor) else tuple(map(function, state))


def trigram_nll(train: Any, judged: Any, vocab_size: int) -> float:
    """Nats per token of the trigram baseline: counted on one text, judged on another.

    Args:
        train, judged: their `windows` are int64 `b t`, in which each token but the first is predicted.
        vocab_size: decides whether there is room for a table of all trigrams.
    """
    model: WittenBellTrigram | SparseWittenBellTrigram
    if vocab_size > WittenBellTrigram.MAX_VOCABULARY:
        model = SparseWittenBellTrigram(vocab_size, train.windows())
    else:
        model = WittenBellTrigram(vocab_size)
        for windows in train.windows():
            model.update(windows)
    return float(torch.cat([model.nll(windows).double().flatten() for windows in judged.windows()]).mean())

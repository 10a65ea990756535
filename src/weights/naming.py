"""How a table of names turns the keys of somebody else's state dict into ours."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .report import Preprocessing

State = dict[str, Tensor]
Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Naming:
    """The names that one source gives to the tensors of one architecture.

    Attributes:
        source: where such files come from, for the report.
        marks: regular expressions by which the source is known: each is found in at least one key.
        rules: (regular expression, replacement) for each key, applied one after the other.
        without: regular expressions that are found in no key of such a file.
        note: what the keys cannot tell and the user should know; it goes into the report.
        arrange: what has to be done to the renamed tensors, where their channels are in another order.
        refused: why weights of this source compute something else than our network of that name; then no rules.
        preprocessing: what the training of the source did with its images, or a function that tells it from the renamed
            tensors; None: that is known by other means or not at all.
    """

    source: str
    marks: tuple[str, ...]
    rules: Rules = ()
    without: tuple[str, ...] = ()
    note: str = ""
    arrange: Callable[[State], State] | None = None
    refused: str = ""
    preprocessing: Preprocessing | Callable[[State], Preprocessing | None] | None = None

    def recognises(self, keys: Iterable[str]) -> bool:
        keys = list(keys)

        def found(pattern: str) -> bool:
            return any(re.search(pattern, key) for key in keys)

        return all(map(found, self.marks)) and not any(map(found, self.without))

    def rename(self, key: str) -> str:
        for pattern, replacement in self.rules:
            key = re.sub(pattern, replacement, key)
        return key

    def preprocessing_of(self, state: State) -> Preprocessing | None:
        """Of tensors with our names."""
        return self.preprocessing(state) if callable(self.preprocessing) else self.preprocessing


def fused(state: State) -> State:
    """One matrix for queries, keys and values, in this order, where the weights have three.

    Args:
        state: with our names, but for `....query.`, `....key.` and `....value.`.
    """
    joined: State = {}
    for key, tensor in state.items():
        before, part, after = key.rpartition(".query.")
        if part:
            joined[f"{before}.qkv.{after}"] = torch.cat(
                [tensor, state[f"{before}.key.{after}"], state[f"{before}.value.{after}"]]
            )
        elif not re.search(r"\.(key|value)\.", key):
            joined[key] = tensor
    return joined

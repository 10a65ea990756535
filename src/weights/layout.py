"""A declared table of names that is read in both directions: a source's tensors as ours, and ours as the source's."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .naming import Naming, Rules, State

PART = re.compile(r"\[(\d)\]$")


@dataclass(frozen=True)
class Layout:
    """Names of one architecture in one source.

    Attributes:
        source: where such files come from, for the report.
        pairs: (theirs, ours) of modules or parameters; `{}` stands for a layer's number. Ours ends with `[0]`, `[1]` or
            `[2]` where theirs is the first, second or third part of the rows of one of our matrices (queries, keys,
            values).
        marks: see `Naming`.
        prefix: before their names, where the file is of a network with a head.
        bare: their names that never have the prefix, as those of heads.
        transposed: our modules whose matrices are `in out` there (the Conv1D of GPT-2).
        before: rules that come first, for older names.
    """

    source: str
    pairs: tuple[tuple[str, str], ...]
    marks: tuple[str, ...]
    prefix: str = ""
    bare: tuple[str, ...] = ()
    transposed: tuple[str, ...] = ()
    before: Rules = ()

    def naming(self) -> Naming:
        """The table for reading."""
        rules: list[tuple[str, str]] = list(self.before)
        for theirs, ours in self.pairs:
            pattern = re.escape(theirs).replace(r"\{\}", r"(\d+)")
            name = PART.sub("", ours)
            part = PART.search(ours)
            suffix = r"\g<rest>" + (f"[{part[1]}]" if part else "")
            new = name.replace("{}", r"\g<1>") + suffix
            rules.append((rf"^(?:{re.escape(self.prefix)})?{pattern}(?P<rest>(?:\.weight|\.bias)?)$", new))
        return Naming(self.source, self.marks, tuple(rules), arrange=self.arrange)

    def arrange(self, state: State) -> State:
        """Join the parts of our matrices, and turn those that are transposed there."""
        parts: dict[str, dict[int, Tensor]] = {}
        found: State = {}
        for key, tensor in state.items():
            name = PART.sub("", key)
            if self._transposed(name) and tensor.ndim == 2:
                tensor = tensor.T
            if part := PART.search(key):
                parts.setdefault(name, {})[int(part[1])] = tensor
            else:
                found[key] = tensor
        for key, rows in parts.items():
            found[key] = torch.cat([rows[i] for i in range(len(rows))])
        return found

    def write(self, state: Mapping[str, Tensor]) -> State:
        """Our tensors with their names.

        Raises:
            KeyError: the table lacks a name of ours.
        """
        return {theirs: tensor for key, tensor in state.items() for theirs, tensor in self._theirs(key, tensor)}

    def _theirs(self, key: str, tensor: Tensor) -> Iterable[tuple[str, Tensor]]:
        if self._transposed(key) and tensor.ndim == 2:
            tensor = tensor.T.contiguous()
        known = False
        for theirs, ours in self.pairs:
            name, part = PART.sub("", ours), PART.search(ours)
            match = re.fullmatch(re.escape(name).replace(r"\{\}", r"(\d+)") + r"(?P<rest>(?:\.weight|\.bias)?)", key)
            if match is None:
                continue
            known = True
            filled = theirs.replace("{}", match[1]) if "{}" in theirs else theirs
            prefix = "" if filled.startswith(self.bare or ("\n",)) else self.prefix
            rows = tensor.chunk(3)[int(part[1])].contiguous() if part else tensor
            yield prefix + filled + match["rest"], rows
            if not part:
                return
        if not known:
            raise KeyError(key)

    def _transposed(self, key: str) -> bool:
        return any(
            re.fullmatch(name.replace(".", r"\.").replace("{}", r"\d+") + r"\.weight", key) for name in self.transposed
        )

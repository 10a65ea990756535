"""What each file of `explain/` gives: what it looks at, how, and of which networks.

A file that explains has three things. A function under `answers` (see `predict.registry`) says for which tasks and
kinds of data it is, and makes what is looked at; `METHODS` are the ways to look at that, by name; `applies` says of a
network whether it can be looked at so. `torchatlas explain` takes the first file that fits and applies.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from matplotlib.figure import Figure
from torch import nn

Drawn = Iterator[tuple[str, Figure | dict[str, Any]]]  # a picture, or a table for a JSON file, and its name


class Explainer(Protocol):
    """A file that explains.

    Attributes:
        METHODS: functions of what is looked at, which draw, or raise a UserError that says what they lack.
    """

    METHODS: dict[str, Callable[[Any], Drawn]]

    def applies(self, network: nn.Module) -> bool:
        """Whether a network can be looked at in these ways."""

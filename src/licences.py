"""Under which terms data and weights are: what is said of each beside its config or its table of names."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """Under which licence a data set is, who says so, and what its users cite; "" where it is the user's to know."""

    licence: str
    source: str
    cite: str

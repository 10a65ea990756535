"""The options of a request: those of the function that answers, as far as strangers may choose them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException

from ..errors import UserError, nearest
from .limits import Limits

# How images are cut decides how long an answer takes, and files are written nowhere but in the answer.
OWN = ("output", "probabilities", "tile", "overlap")


@dataclass(frozen=True)
class Option:
    """An option of a request.

    Attributes:
        name: as in `torchatlas predict`.
        kind: "str", "int", "float" or "bool".
        choices: its values, if they are few.
        default: where it is left out.
        help: a line about it.
        read: a text to its value; raises UserError.
    """

    name: str
    kind: str
    choices: tuple[str, ...]
    default: Any
    help: str
    read: Callable[[str], Any]

    def described(self, limits: Limits) -> dict[str, Any]:
        """What `/describe` says of it."""
        most = limits.most(self.name)
        return {
            "name": self.name, "kind": self.kind, "choices": list(self.choices), "default": self.default,
            **({"most": most} if most is not None else {}), "help": self.help,
        }  # fmt: skip


def chosen(given: Iterable[tuple[str, Any]], known: Mapping[str, Option], limits: Limits) -> dict[str, Any]:
    """The options that a request has, with their values.

    Args:
        given: names, and texts or plain values of JSON; of one that is given twice the last value counts.
        known: those that there are.
        limits: see `Limits`.

    Raises:
        HTTPException: there is no such option, or it cannot have that value.
    """
    found: dict[str, Any] = {}
    for name, value in given:
        if name not in known:
            hint = nearest(name, list(known)) if known else ": there are none"
            raise HTTPException(422, f"there is no option {name[:40]!r}{hint}")
        if value is None:
            continue
        if not isinstance(value, str | int | float):
            raise HTTPException(422, f"{name} must be a number, a text or a truth value")
        try:
            found[name] = known[name].read(str(value).lower() if isinstance(value, bool) else str(value))
        except UserError as error:
            raise HTTPException(422, str(error)) from error
        most = limits.most(name)
        if most is not None and found[name] > most:
            raise HTTPException(413, f"{name}={found[name]} is over the {most:,} that this service takes")
    return found

"""The words of a command: keys, values, numbers, switches."""

from collections.abc import Callable, Mapping

from ..errors import UserError, nearest


def parse(arguments: list[str], known: Mapping[str, str | None]) -> dict[str, str]:
    """KEY=VALUE words as a dictionary over defaults; None marks a key that must be given.

    Raises:
        UserError: a word without "=", an unknown key or a missing one.
    """
    values = {key: value for key, value in known.items() if value is not None}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise UserError(f"{argument!r} is not of the form KEY=VALUE, with a KEY out of {', '.join(known)}")
        if key not in known:
            raise UserError(f"there is no key {key!r}{nearest(key, list(known))}")
        values[key] = value
    for key in known:
        if key not in values:
            raise UserError(f"{key}=... is missing; type torchatlas --help")
    return values


def number(values: dict[str, str], key: str, convert: Callable[[str], float]) -> float:
    """The number of a key.

    Raises:
        UserError: it is none.
    """
    try:
        return convert(values[key])
    except ValueError:
        raise UserError(f"{key}={values[key]} is not a {'whole ' if convert is int else ''}number") from None


def switch(values: dict[str, str], key: str) -> bool:
    """The truth of a key.

    Raises:
        UserError: it is neither true nor false.
    """
    if values[key] not in ("true", "false"):
        raise UserError(f"{key}={values[key]} must be true or false")
    return values[key] == "true"

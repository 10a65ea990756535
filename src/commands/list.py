"""`torchatlas list`: the zoo, from the config files alone, without torch."""

from ..errors import UserError, nearest
from ..zoo import ModelCard, list_models, model_card, options


def list(
    filter: str = "",
    /,
    *,
    task: str | None = None,
    data: str | None = None,
    pretrained: bool = False,
    long: bool = False,
) -> None:
    """The networks: name, parameters, task, and the file with the mathematics.

    Args:
        filter: what the name is like, as resnet* or, without asterisk, a part of it; small and capital letters are the
            same.
        task: of networks with this default task alone.
        data: of networks with this default data set alone.
        pretrained: of networks alone of which weights are known, which long=true names.
        long: whether the lines are long: exact parameters, default data, known weights and the paper too.

    Raises:
        UserError: there is no such network, task or data.

    Examples:
        torchatlas list
        torchatlas list "resnet*"
        torchatlas list task=segmentation long=true
    """
    cards = [*map(model_card, list_models(filter, task=task, data=data, pretrained=pretrained))]
    if not cards:
        said = [f"{key}={value}" for key, value in (("task", task), ("data", data)) if value]
        said += ["pretrained=true"] if pretrained else []
        if filter and not list_models(filter):
            raise UserError(
                f"no network is called like {filter!r}{nearest(filter.strip('*').lower(), options('model'))}"
            )
        raise UserError(
            f"there is no network with {' and '.join([*([filter] if filter else []), *said])}: use fewer words"
        )
    rows = [("name", "parameters", "task", "data", "weights", "file", "paper"), *map(row, cards)]
    if not long:
        rows = [("name", "size", "task", "file"), *((c.name, short(c.parameters), c.task, c.file) for c in cards)]
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for first, number, *rest in rows:
        cells = [f"{first:<{widths[0]}}", f"{number:>{widths[1]}}", *map(str.ljust, rest, widths[2:])]
        print("  ".join(cells).rstrip())


def row(card: ModelCard) -> tuple[str, ...]:
    """A long line."""
    number, weights = "" if card.parameters is None else f"{card.parameters:,}", card.weights or "-"
    return card.name, number, card.task, card.data, weights, card.file, card.paper


def short(number: int | None) -> str:
    """A number of parameters in three digits; nothing where it is not known.

    >>> short(6), short(61_706), short(999_950), short(11_689_512), short(1_557_611_200)
    ('6', '61.7k', '1M', '11.7M', '1.56B')
    """
    if number is None:
        return ""
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= 0.9995 * unit:
            return f"{number / unit:.3g}{letter}"
    return str(number)

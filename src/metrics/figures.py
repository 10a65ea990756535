"""What is known of a figure beside its value, and how numbers are printed."""

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Figure(NamedTuple):
    """What a task, or data, say of a figure that they report.

    Attributes:
        better: which of two values is.
        unit: "%" for shares from 0 to 1, which are shown in per cent; others, as "nats", tell what the number is.
        headline: runs are compared by it: it is in the line of each epoch and beside the hyperparameters.
        chooses: it can be the one by which the best weights are chosen, as `task.monitor`.
        tabled: it is in the tables of results.
    """

    better: Literal["lower", "higher"]
    unit: str = ""
    headline: bool = False
    chooses: bool = False
    tabled: bool = False

    @property
    def mode(self) -> Literal["min", "max"]:
        """The same in the word of optimisers, schedules and sweeps."""
        return "min" if self.better == "lower" else "max"


Reports = Mapping[str, Figure]  # by name, without the stage


def reported(*classes: type) -> dict[str, Figure]:
    """The figures that classes, and what they are made from, say of themselves in `reports`; later ones count.

    >>> class Counting:
    ...     reports = {"loss": Figure("lower"), "accuracy": Figure("higher", "%")}
    >>> class Weighing(Counting):
    ...     reports = {"loss": Figure("lower", "nats")}
    >>> {name: figure.unit for name, figure in reported(Weighing).items()}
    {'loss': 'nats', 'accuracy': '%'}
    """
    found: dict[str, Figure] = {}
    for cls in classes:
        for base in reversed(cls.__mro__):
            found |= vars(base).get("reports", {})
    return found


def figure_of(name: str, figures: Reports) -> Figure | None:
    """What is known of a figure by its name, with or without its stage.

    Words before the name of another figure make a baseline of it: `test/majority_accuracy` is an accuracy.
    """
    name = name.rpartition("/")[2]
    kinds = [known for known in figures if f"_{name}".endswith(f"_{known}")]
    return figures[max(kinds, key=len)] if kinds else None


def format_figure(name: str, value: float, figures: Reports) -> str:
    """Shares in per cent, other figures to four digits.

    >>> format_figure("val/bag_of_words_accuracy", 0.5, {"accuracy": Figure("higher", "%")})
    '50.00 %'
    """
    figure = figure_of(name, figures)
    return f"{100 * value:.2f} %" if figure is not None and figure.unit == "%" else f"{value:.4g}"


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 02:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"


def amount(number: float, unit: str) -> str:
    """Three digits and a prefix, in powers of 1000.

    >>> amount(1_234_567, "B"), amount(999.6e3, "FLOP"), amount(12, "B")
    ('1.23 MB', '1.00 MFLOP', '12 B')
    """
    for prefix in ("", "k", "M", "G", "T", "P", "E", "Z"):
        if number < 999.5 or prefix == "Z":
            break
        number /= 1000
    digits = 0 if not prefix or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{digits}f} {prefix}{unit}"


def duration(seconds: float) -> str:
    """Three digits of a short time, hours, minutes and seconds of a long one.

    >>> duration(0.01234), duration(5.678), duration(3723)
    ('12.3 ms', '5.68 s', '1:02:03')
    """
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 60 else clock(seconds)

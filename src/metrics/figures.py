"""How a figure is printed."""


def format_figure(name: str, value: float) -> str:
    """Accuracies and exact matches in per cent, other figures to four digits."""
    return f"{100 * value:.2f} %" if name.endswith(("accuracy", "exact_match", "exact_match_long")) else f"{value:.4g}"


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

"""How a figure is printed."""


def format_figure(name: str, value: float) -> str:
    """Accuracies and exact matches in per cent, other figures to four digits."""
    return f"{100 * value:.2f} %" if name.endswith(("accuracy", "exact_match", "exact_match_long")) else f"{value:.4g}"

"""`torchatlas list`: the zoo, from the config files alone, without torch."""

from ..zoo import ModelCard, list_models, model_card


def list() -> None:
    """The networks: name, parameters, task, default data, paper.

    Examples:
        torchatlas list
    """
    cards = [model_card(name) for name in list_models()]

    def row(card: ModelCard) -> tuple[str, str, str, str, str]:
        return card.name, f"{card.parameters:,}", card.task, card.data, card.paper

    rows = [("name", "parameters", "task", "data", "paper"), *map(row, cards)]
    widths = [max(len(r[i]) for r in rows) for i in range(4)]
    for name, parameters, task, data, paper in rows:
        print(f"{name:<{widths[0]}}  {parameters:>{widths[1]}}  {task:<{widths[2]}}  {data:<{widths[3]}}  {paper}")

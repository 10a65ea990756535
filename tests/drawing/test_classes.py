"""What is drawn of the classes, and which of them."""

import torch

from torchatlas.drawing.classes import draw_per_class
from torchatlas.drawing.text import MAX_CLASSES_WITH_NAMES


def names_in(counts: torch.Tensor) -> list[str]:
    names = [f"class {k}" for k in range(len(counts))]
    return [label.get_text() for label in draw_per_class(counts, names).axes[0].get_yticklabels()]


def test_classes_that_nobody_has_are_not_drawn() -> None:
    counts = torch.diag(torch.tensor([5, 0, 3, 0]))
    assert names_in(counts) == ["class 0", "class 2"]
    counts[2, 3] = 1  # said, and not there
    assert names_in(counts) == ["class 0", "class 2", "class 3"]


def test_of_many_classes_the_worst_are_drawn() -> None:
    counts = torch.zeros(100, 100, dtype=torch.int64)
    counts[:30, :30] = torch.diag(torch.full((30,), 4))
    counts[7, 8] = 2
    drawn = names_in(counts)
    assert len(drawn) == MAX_CLASSES_WITH_NAMES
    assert drawn[:2] == ["class 7", "class 8"]
    assert not {f"class {k}" for k in range(30, 100)} & set(drawn)

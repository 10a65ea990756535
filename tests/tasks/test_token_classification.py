"""Figures of tags over batches."""

import pytest
import torch
from torch import Tensor

from torchatlas.errors import UserError
from torchatlas.metrics import entities
from torchatlas.tasks.token_classification import TokenClassification


class Fixed(torch.nn.Module):
    """Gives what it is told; logits are a parameter."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits[tokens]


def test_token_classification_over_batches() -> None:
    """Figures of batches of unequal size, averaged as the base task does, are those of the whole split."""
    classes = ["O", "B-A", "I-A"]
    tokens = torch.randint(40, (30, 7))
    logits = torch.randn(40, 3)
    labels = torch.where(torch.rand(30, 7) < 0.3, -100, logits[tokens].argmax(2))
    labels = torch.where(torch.rand(30, 7) < 0.2, torch.randint(3, (30, 7)), labels)
    task = TokenClassification(Fixed(logits)).eval()
    task.table = entities.tag_table(classes)

    def figures(sizes: list[int]) -> dict[str, float]:
        parts = [(x, torch.zeros(len(x)), y) for x, y in zip(tokens.split(sizes), labels.split(sizes), strict=True)]
        outs = [(task.step(batch), task.weight(batch)) for batch in parts]
        keys = [key for key in outs[0][0] if key == "loss" or key.startswith("metrics/")]
        means = {
            k.removeprefix("metrics/"): sum(o[k].detach() * w for o, w in outs) / sum(w for _, w in outs) for k in keys
        }
        return {key: float(value) for key, value in task.derive(means).items()}

    whole, parts = figures([30]), figures([1, 20, 9])
    assert whole == pytest.approx(parts, rel=1e-5)
    assert 0 < whole["f1"] < 1
    real = labels != -100
    expected = torch.nn.functional.cross_entropy(logits[tokens][real], labels[real])
    assert whole["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert whole["accuracy"] == pytest.approx(float((logits[tokens].argmax(2) == labels)[real].float().mean()))
    perfect = TokenClassification(Fixed(100 * torch.eye(3))).eval()
    perfect.table = task.table
    with torch.no_grad():
        out = perfect.step((labels.clamp(min=0), torch.zeros(30), labels))
    assert float(out["loss"]) < 1e-6
    assert float(perfect.derive({"entities": out["metrics/entities"]})["f1"]) == 1


def test_a_network_of_other_tags_is_refused() -> None:
    task = TokenClassification(Fixed(torch.randn(40, 3)))
    batch = (torch.randint(40, (2, 4)), torch.tensor([4, 4]), torch.randint(3, (2, 4)))
    task.classes = 3
    task.step(batch)
    task.classes = 4
    with pytest.raises(UserError, match="gives 3 values for each token where the data have 4 tags"):
        task.step(batch)

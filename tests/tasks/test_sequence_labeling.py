"""Labels of steps: figures count what is real."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.tasks import Answer
from torch import Tensor

from torchatlas.tasks.sequence_labeling import SequenceLabeling


def test_perfect_labels_have_no_loss_and_ignored_steps_count_nowhere() -> None:
    labels = torch.tensor([[0, 2, 1, -100], [1, 0, -100, -100]])
    logits = torch.full((2, 4, 3), -50.0).scatter(2, labels.clamp(min=0)[..., None], 50.0)
    task = SequenceLabeling(Answer(logits), blank=0)
    out = task.step((torch.zeros(2, 4, 1), labels))
    assert out["loss"].item() == pytest.approx(0, abs=1e-6)
    assert float(out["metrics/accuracy"]) == 1
    assert task.weight((torch.zeros(2, 4, 1), labels)) == 5
    wrong = logits.clone()
    wrong[labels == -100] = torch.randn(3, 3) * 100
    other = SequenceLabeling(Answer(wrong), blank=0).step((torch.zeros(2, 4, 1), labels))
    for key in set(out) - {"logits"}:
        assert torch.equal(out[key], other[key])


def test_labelling_worked_example() -> None:
    """Two of four steps are right; of the three that are not blank, one."""
    labels = torch.tensor([[0, 1, 2, 1, -100]])
    said = torch.tensor([[0, 1, 1, 2, 2]])
    logits = 2 * F.one_hot(said, 3).float()
    task = SequenceLabeling(Answer(logits), blank=0)
    out = task.step((torch.zeros(1, 5, 1), labels))
    right = -math.log(math.exp(2) / (math.exp(2) + 2))
    assert out["loss"].item() == pytest.approx((2 * right + 2 * (right + 2)) / 4, rel=1e-5)
    assert float(out["metrics/accuracy"]) == 0.5
    figures = task.derive({"recalled": out["metrics/recalled"], "said": out["metrics/said"]})
    assert float(figures["recall_accuracy"]) == pytest.approx(1 / 3)
    assert set(task.derive({"loss": out["loss"]})) == {"loss"}
    assert "metrics/said" not in SequenceLabeling(Answer(logits)).step((torch.zeros(1, 5, 1), labels))


def test_epochs_of_uneven_batches_are_means_over_steps() -> None:
    """Weighted by `weight`, the figures of parts are those of the whole."""
    labels = torch.randint(-1, 4, (6, 7))
    labels[labels < 0] = -100
    logits = torch.randn(6, 7, 4)
    x = torch.zeros(6, 7, 1)

    def figures(rows: slice) -> tuple[dict[str, Tensor], int]:
        task = SequenceLabeling(Answer(logits[rows]), blank=0)
        out = task.step((x[rows], labels[rows]))
        return {k: v.detach() for k, v in out.items() if k != "logits"}, task.weight((x[rows], labels[rows]))

    (all_, n), (one, n1), (two, n2) = figures(slice(0, 6)), figures(slice(0, 2)), figures(slice(2, 6))
    assert n == n1 + n2 == int((labels >= 0).sum())
    for key, value in all_.items():
        torch.testing.assert_close(value, (one[key] * n1 + two[key] * n2) / n)
    expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten())  # torch ignores -100 by default
    torch.testing.assert_close(all_["loss"], expected)

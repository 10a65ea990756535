"""Copying memory is what its paper says."""

import math

import pytest
import torch
from helpers.data import ready, whole
from helpers.tasks import Answer

from torchatlas.data.sequences.copy_memory import CopyMemory
from torchatlas.errors import UserError
from torchatlas.tasks.sequence_labeling import SequenceLabeling


def test_copy_memory_is_that_of_the_paper() -> None:
    data = ready(CopyMemory(length=50, train_size=500))
    x, labels = whole(data, "train")
    assert x.shape == (500, 70, 1)
    assert x.dtype == torch.float32
    tokens = x[..., 0].long()
    assert tokens.shape == labels.shape
    items = tokens[:, :10]
    assert set(items.unique().tolist()) == set(range(1, 9))
    assert torch.equal(tokens[:, 10:59], torch.zeros(500, 49, dtype=torch.int64))
    assert torch.equal(tokens[:, 59:], torch.full((500, 11), 9))
    assert torch.equal(labels[:, :60], torch.zeros(500, 60, dtype=torch.int64))
    assert torch.equal(labels[:, 60:], items)
    counts = torch.bincount(items.flatten(), minlength=9)[1:].double()
    assert float(((counts - 625) ** 2 / 625).sum()) < 7 + 5 * math.sqrt(14)


def test_memoryless_answer_has_the_baseline_as_loss() -> None:
    """Blank where that is right, and each of eight symbols alike where one is due: 10 ln 8 / (T + 20)."""
    data = ready(CopyMemory(length=50, train_size=64))
    batch = whole(data, "train")
    logits = torch.full((64, 70, 10), -100.0)
    logits[:, :60, 0] = 0
    logits[:, 60:, 1:9] = 0
    task = SequenceLabeling(Answer(logits), blank=data.blank)
    out = task.step(batch)
    assert out["loss"].item() == pytest.approx(data.baselines["memoryless_loss"], rel=1e-5)
    assert out["loss"].item() == pytest.approx(10 * math.log(8) / 70, rel=1e-5)
    assert CopyMemory(length=1000).baselines["memoryless_loss"] == pytest.approx(0.0204, abs=5e-5)  # Bai et al., figure


def test_copy_memory_refuses_other_declarations() -> None:
    with pytest.raises(UserError, match=r"data.num_classes=8 and data.blank=0 must be 1, 10 and 0"):
        CopyMemory(num_classes=8)
    with pytest.raises(UserError, match=r"data.length=0"):
        CopyMemory(length=0)

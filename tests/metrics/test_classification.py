"""Figures of classification against torchmetrics and scikit-learn."""

import pytest
import torch
from helpers.tasks import Constant
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef, roc_auc_score
from torchmetrics.classification import MulticlassPrecisionRecallCurve, MulticlassROC

from torchatlas.metrics.classification import (
    BINS,
    agreement,
    area_under,
    average_precision,
    calibration_gaps,
    confusion,
)
from torchatlas.tasks.classification import Classification, log_mean

# --- classification of texts


def test_agreement_is_that_of_scikit_learn() -> None:
    for k in (2, 3, 5):
        labels, logits = torch.randint(k, (101,)), torch.randn(101, k)
        logits[torch.arange(101), labels] += 0.7
        parts = list(zip(logits.split(17), labels.split(17), strict=True))
        mean = torch.stack([confusion(x, y) * len(y) for x, y in parts]).sum(0) / 101
        found = agreement(mean)
        said = logits.argmax(1)
        assert float(found["macro_f1"]) == pytest.approx(f1_score(labels, said, average="macro"), abs=1e-6)
        assert float(found["matthews_correlation"]) == pytest.approx(matthews_corrcoef(labels, said), abs=1e-6)
        assert ("f1" in found) == (k == 2)
        if k == 2:
            assert float(found["f1"]) == pytest.approx(f1_score(labels, said), abs=1e-6)
    one = confusion(torch.tensor([[1.0, 0.0]] * 4), torch.tensor([0, 0, 1, 0]))
    assert float(agreement(one)["matthews_correlation"]) == 0  # not defined where one class is always said


def test_calibration_error_is_torchmetrics() -> None:
    """Of an epoch in uneven batches, as the mean of the batches' gaps."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, labels = 3 * torch.randn(200, 4), torch.randint(4, (200,))
    gaps = torch.zeros(BINS)
    for part in torch.arange(200).split(37):
        gaps += calibration_gaps(logits[part], labels[part]) * len(part) / 200
    expected = multiclass_calibration_error(logits.softmax(1), labels, 4, n_bins=BINS, norm="l1")
    torch.testing.assert_close(gaps.abs().sum(), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(log_mean(torch.tensor([[[0.0, 1.0]]])).exp(), torch.tensor([[0.0, 1.0]]))
    assert log_mean(torch.tensor([[[0.0, 1.0]]])).isfinite().all()
    derived = Classification(Constant(logits)).derive({"loss": torch.tensor(1.0), "calibration_gaps": gaps})
    assert set(derived) == {"loss", "calibration_error"}


# --- curves over thresholds


def test_areas_are_scikit_learns() -> None:
    labels = torch.randint(3, (200,))
    probabilities = (torch.randn(200, 3) + torch.nn.functional.one_hot(labels, 3)).softmax(1)
    fpr, tpr, _ = MulticlassROC(3)(probabilities, labels)
    precision, recall, _ = MulticlassPrecisionRecallCurve(3)(probabilities, labels)
    for k in range(3):
        truth, score = (labels == k).numpy(), probabilities[:, k].numpy()
        assert area_under(fpr[k], tpr[k]) == pytest.approx(roc_auc_score(truth, score), abs=1e-6)
        assert average_precision(recall[k], precision[k]) == pytest.approx(
            average_precision_score(truth, score), abs=1e-6
        )

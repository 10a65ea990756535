"""Figures of classification against torchmetrics and scikit-learn."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.tasks import Constant
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    matthews_corrcoef,
    roc_auc_score,
)
from sklearn.utils.class_weight import compute_class_weight
from torchmetrics.classification import MulticlassPrecisionRecallCurve, MulticlassROC

from torchatlas.metrics.classification import (
    BINS,
    agreement,
    area_under,
    average_precision,
    calibration_gaps,
    inverse_frequency,
    tallies,
)
from torchatlas.tasks.classification import Classification, log_mean

# --- figures in which a rare class does not vanish


def together(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Of an epoch in uneven batches."""
    parts = list(zip(logits.split(17), labels.split(17), strict=True))
    mean = torch.stack([tallies(x, y) * len(y) for x, y in parts]).sum(0) / len(labels)
    return {name: float(value) for name, value in agreement(mean).items()}


@pytest.mark.parametrize("k", [2, 3, 5, 40, 1000])
def test_agreement_is_that_of_scikit_learn(k: int) -> None:
    """Of many classes most are neither there nor said, and some are one of both."""
    labels, logits = torch.randint(k, (101,)), torch.randn(101, k)
    logits[torch.arange(101), labels] += 0.7 if k < 40 else 3
    said = logits.argmax(1)
    found = together(logits, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that were said and are not there
        assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, said), abs=1e-6)
    assert found["macro_f1"] == pytest.approx(f1_score(labels, said, average="macro"), abs=1e-6)
    assert found["matthews_correlation"] == pytest.approx(matthews_corrcoef(labels, said), abs=1e-6)
    assert ("f1" in found) == (k == 2)
    if k == 2:
        assert found["f1"] == pytest.approx(f1_score(labels, said), abs=1e-6)


def test_a_class_that_nobody_has_is_in_no_mean() -> None:
    """Two of three classes, all right: 1, and not 2/3; where the third is said, F1 counts it and recall does not."""
    labels = torch.tensor([0, 1, 1, 0])
    perfect = together(F.one_hot(labels, 3).float(), labels)
    assert perfect["macro_f1"] == perfect["balanced_accuracy"] == 1
    said = torch.tensor([0, 1, 2, 0])
    other = together(F.one_hot(said, 3).float(), labels)
    assert other["macro_f1"] == pytest.approx(f1_score(labels, said, average="macro"))
    assert other["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert other["balanced_accuracy"] == pytest.approx((1 + 1 / 2) / 2)


def test_where_nothing_is_defined() -> None:
    one = agreement(tallies(torch.tensor([[1.0, 0.0]] * 4), torch.tensor([0, 0, 1, 0])))
    assert float(one["matthews_correlation"]) == 0  # one class is always said
    none = agreement(torch.zeros(3, 2))
    assert {float(value) for value in none.values()} == {0.0}


@pytest.mark.parametrize("counts", [[10, 3, 1], [1, 1], [5, 0, 2]])
def test_weights_of_classes_are_scikit_learns(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    expected = np.zeros(len(counts))
    expected[np.unique(labels)] = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    weights = inverse_frequency(torch.tensor(counts))
    torch.testing.assert_close(weights, torch.from_numpy(expected).float())
    assert float(weights[labels].mean()) == pytest.approx(1)


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

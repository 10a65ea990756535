"""Areas under curves are scikit-learn's."""

import pytest
import torch


def test_areas_are_scikit_learns() -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score
    from torchmetrics.classification import MulticlassPrecisionRecallCurve, MulticlassROC

    from torchatlas.pictures.classification import area_under, average_precision

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

"""Figures of classifiers: accuracy, calibration, confusion, agreement."""

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 15  # of the calibration error, as in Guo et al. 2017


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of samples whose largest logit is that of the label, or of the largest share in a mixture."""
    classes = labels if labels.ndim == 1 else labels.argmax(1)
    return (logits.argmax(1) == classes).float().mean()


def calibration_gaps(logits: Tensor, labels: Tensor) -> Tensor:
    """For each of 15 bins of confidence, the batch's mean of confidence minus hit, over the samples in the bin.

    Averaged over batches, the sum of its absolute values is the expected calibration error (Guo et al. 2017, eq. 5).
    """
    confidence, predicted = logits.detach().float().softmax(1).max(1)
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gaps = torch.zeros(BINS, dtype=torch.float32, device=logits.device)
    return gaps.index_add(0, bins, confidence - (predicted == labels).to(torch.float32)) / len(labels)


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """For each class, and each class that was said, the share of the batch, `k k`."""
    k = logits.shape[1]
    pairs = F.one_hot(labels * k + logits.argmax(1), k * k)
    return pairs.float().mean(0).view(k, k)


def agreement(confused: Tensor) -> dict[str, Tensor]:
    """Figures that a rare class does not vanish in.

    Args:
        confused: shares of all samples by class and by what was said, `k k`.

    Returns:
        "macro_f1", the mean over classes of F1, the harmonic mean of precision and recall (0 for a class that neither
        is there nor was said); of two classes "f1", that of the second one, as GLUE reports it of MRPC and QQP; and
        "matthews_correlation" (Matthews 1975; for any number of classes Gorodkin 2004, "Comparing two K-category
        assignments by a K-category correlation coefficient", eq. 8), from -1 to 1, 0 where it is not defined.
    """
    tiny = torch.finfo(confused.dtype).tiny
    right, there, said = confused.diagonal(), confused.sum(1), confused.sum(0)
    f1 = 2 * right / (there + said).clamp(min=tiny)
    covariance = right.sum() - there @ said
    spread = ((1 - there @ there) * (1 - said @ said)).clamp(min=0).sqrt()
    defined = spread > 1e-6
    figures = {"macro_f1": f1.mean()} | ({"f1": f1[1]} if len(f1) == 2 else {})
    return figures | {"matthews_correlation": torch.where(defined, covariance / spread.clamp(min=1e-6), 0.0)}


def area_under(x: Tensor, y: Tensor) -> float:
    """By trapezoids."""
    return float(torch.trapezoid(y, x).abs())


def average_precision(recall: Tensor, precision: Tensor) -> float:
    """The sum over thresholds of precision times the rise in recall, which falls along torchmetrics' curves."""
    return float(((recall[:-1] - recall[1:]) * precision[:-1]).sum())

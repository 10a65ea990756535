"""Figures of classifiers: accuracy, calibration, agreement."""

import torch
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


def tallies(logits: Tensor, labels: Tensor) -> Tensor:
    """For each class the shares of the batch that are it and were taken for it, that are it, that were taken for it.

    Returns:
        float32 `3 k`: as much for a thousand classes as is needed for `agreement`, where a table of confusions would
        have a million entries.
    """
    said = logits.argmax(1)
    right = said == labels
    places = torch.cat([labels, labels + logits.shape[1], said + 2 * logits.shape[1]])
    ones = torch.ones_like(right, dtype=torch.float32)
    counts = torch.zeros(3 * logits.shape[1], dtype=torch.float32, device=logits.device)
    return counts.index_add(0, places, torch.cat([right.float(), ones, ones])).view(3, -1) / len(labels)


def agreement(counts: Tensor) -> dict[str, Tensor]:
    """Figures that a rare class does not vanish in, as scikit-learn has them.

    Args:
        counts: see `tallies`, of all samples.

    Returns:
        "balanced_accuracy", the mean over the classes that are there of the share of each that is right; "macro_f1",
        the mean over the classes that are there or were said of F1, the harmonic mean of precision and recall; of two
        classes "f1", that of the second one, as GLUE reports it of MRPC and QQP; and "matthews_correlation" (Matthews
        1975; for any number of classes Gorodkin 2004, "Comparing two K-category assignments by a K-category
        correlation coefficient", eq. 8), from -1 to 1, 0 where it is not defined.
    """
    right, there, said = counts
    recall = mean_where(right / there, there > 0)
    f1 = 2 * right / torch.where(there + said > 0, there + said, 1)
    covariance = right.sum() - there @ said
    spread = ((1 - there @ there) * (1 - said @ said)).clamp(min=0).sqrt()
    defined = spread > 1e-6
    figures = {"balanced_accuracy": recall, "macro_f1": mean_where(f1, there + said > 0)}
    figures |= {"f1": f1[1]} if len(f1) == 2 else {}
    return figures | {"matthews_correlation": torch.where(defined, covariance / spread.clamp(min=1e-6), 0.0)}


def mean_where(values: Tensor, counted: Tensor) -> Tensor:
    """The mean of those that count, without waiting for the device; 0 where none does."""
    return torch.where(counted, values, 0).sum() / counted.sum().clamp(min=1)


def inverse_frequency(counts: Tensor) -> Tensor:
    """Weights n / (k n_c), so that all classes that are there weigh as much as one another; scikit-learn's "balanced".

    Args:
        counts: n_c, how many samples, or pixels, of each class there are, `k`.

    Returns:
        float32 `k`, with the mean 1 over the samples; 0 for a class that none has, which k does not count.
    """
    counts = counts.cpu().double()
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0).float()


def area_under(x: Tensor, y: Tensor) -> float:
    """By trapezoids."""
    return float(torch.trapezoid(y, x).abs())


def average_precision(recall: Tensor, precision: Tensor) -> float:
    """The sum over thresholds of precision times the rise in recall, which falls along torchmetrics' curves."""
    return float(((recall[:-1] - recall[1:]) * precision[:-1]).sum())

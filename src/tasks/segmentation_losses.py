"""Losses of segmentation, of pixels in a row, and figures of a confusion matrix.

With p_k the softmax of a pixel's logits, y its class, w its weight and sums over the pixels that are not ignored:

    cross-entropy    Σ w (-log p_y) / Σ w
    focal            Σ w (1 - p_y)^γ (-log p_y) / Σ w        (Lin et al. 2017, arXiv:1708.02002, eq. 4)
    Dice of class k  2 Σ p_k [y = k] / (Σ p_k + Σ [y = k])   (Milletari et al. 2016, arXiv:1606.04797, section 3,
                                                              with p in place of p² in the denominator)
    Dice loss        1 - the mean of Dice over the classes that the masks have

A class of which the masks have no pixel is left out of the Dice loss, so that empty masks have the loss 0 whatever is
predicted, and no smoothing constant is needed: each denominator is at least one pixel. What is predicted of an absent
class still costs, since it is taken from the classes that are there.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = 255  # of the masks: pixels without a class


def pixels(logits: Tensor) -> Tensor:
    """Logits `b k h w` as those of single pixels, float32 `n k`."""
    return logits.float().movedim(1, -1).flatten(0, -2)


def focal(logits: Tensor, labels: Tensor, gamma: float, weights: Tensor | None = None) -> Tensor:
    """The weighted mean of the focal loss over pixels; with gamma 0 of the cross-entropy, in nats.

    Args:
        logits: `n k`.
        labels: int64 `n`; pixels of 255 count nowhere, and where no pixel counts the loss is 0.
        gamma: how much less a pixel counts that is right already.
        weights: `n`, summed in float32, since half precision ends at 65504; None: 1 for each pixel.
    """
    nll = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    if gamma:  # 1 - p without cancellation; its power has no finite slope at 0 where gamma is under 1
        nll = (-torch.expm1(-nll)).clamp(min=1e-12) ** gamma * nll
    counted = labels != IGNORED
    if weights is None:
        return nll.sum() / counted.sum().clamp(min=1)
    weights = weights.float() * counted
    total = weights.sum()
    mean: Tensor = (weights * nll).sum() / torch.where(total > 0, total, 1)
    return mean


def overlap(logits: Tensor, labels: Tensor) -> Tensor:
    """What soft Dice is made of: for each class the sums of p over its own pixels, of p over all, and of its pixels.

    Args:
        logits: `n k`.
        labels: int64 `n`; pixels of 255 count nowhere.

    Returns:
        `3 k`.
    """
    p = logits.softmax(1) * (labels != IGNORED)[:, None]
    there = labels[:, None] == torch.arange(logits.shape[1], device=labels.device)  # never of an ignored pixel
    return torch.stack([torch.where(there, p, 0).sum(0), p.sum(0), there.sum(0).to(p.dtype)])


def dice_loss(sums: Tensor) -> Tensor:
    """1 - the mean of Dice over the classes that are there, of `overlap`'s sums; 0 where no class is."""
    both, predicted, labelled = sums
    present = labelled > 0
    dice = 2 * both / torch.where(present, predicted + labelled, 1)
    loss: Tensor = (present * (1 - dice)).sum() / present.sum().clamp(min=1)
    return loss


def confusion(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Pixels by class (rows) and by what was said (columns), int64 `k k`, without those of 255.

    Args:
        predicted: classes, of the shape of `labels`.
        labels: int64.
    """
    counted = labels != IGNORED
    pairs = torch.where(counted, labels, 0) * num_classes + predicted
    counts = torch.zeros(num_classes**2, dtype=torch.int64, device=labels.device)
    return counts.scatter_add(0, pairs.flatten(), counted.flatten().long()).view(num_classes, num_classes)


def region_figures(counts: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Pixel accuracy, intersection over union and Dice of the pixels that `confusion` counted.

    IoU of a class is TP / (TP + FP + FN), Dice is 2 TP / (2 TP + FP + FN), over all pixels together (not averaged over
    images). A class that neither is there nor was said has none, and is left out of the means.

    Args:
        counts: int64 `k k`.
        names: of the classes.

    Returns:
        "pixel_accuracy", "mean_iou", "dice" (the mean over classes; of two classes that of the second one) and
        "iou_<class>" for each class. Empty where no pixel was counted; of two classes "dice" is missing where the
        second one has none.
    """
    counts = counts.cpu().double()
    if not counts.any():
        return {}
    hits, there, said = counts.diagonal(), counts.sum(1), counts.sum(0)
    defined = there + said > 0
    iou, dice = hits / (there + said - hits), 2 * hits / (there + said)
    figures = {"pixel_accuracy": float(hits.sum() / counts.sum()), "mean_iou": float(iou[defined].mean())}
    if len(names) > 2:
        figures["dice"] = float(dice[defined].mean())
    elif defined[-1]:
        figures["dice"] = float(dice[-1])
    each = zip(names, iou.tolist(), defined.tolist(), strict=True)
    return figures | {f"iou_{name.replace(' ', '_').replace('/', '_')}": value for name, value, known in each if known}


def pixels_by_image(masks: Tensor, num_classes: int) -> Tensor:
    """Pixels of each class in each of the masks `b h w`, int64 `b k`, without those of 255."""
    return torch.stack([(masks == k).flatten(1).sum(1) for k in range(num_classes)], 1)


def median_frequency(counts: Tensor, around: Tensor) -> Tensor:
    """Median frequency balancing (Eigen and Fergus 2014, arXiv:1411.4734, section 6.3.2).

    The weight of a class is median(f) / f_c, where f_c is its share of the pixels of the images that have it.

    Args:
        counts: pixels of each class in all images, `k`.
        around: pixels of all classes in the images that have the class, `k`.

    Returns:
        float32 `k`, 0 for a class that is in no image.
    """
    counts, around = counts.cpu().double(), around.cpu().double()
    present = counts > 0
    shares = counts / around.clamp(min=1)
    return torch.where(present, shares[present].quantile(0.5) / torch.where(present, shares, 1), 0).float()

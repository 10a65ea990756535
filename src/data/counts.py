"""How many samples each class has in each split, for the log."""

import torch
from torch import Tensor

from .base import DataModule
from .loading import BatchDataset

FEW = 12  # classes that are named one by one


def describe_counts(data: DataModule) -> str | None:
    """The samples of each class in each split, as one line; of many classes the least and the most.

    Args:
        data: set up.

    Returns:
        The line; None where not every sample has one class.
    """
    samples = {split: len(dataset) for split, dataset in data.splits.items()}
    counts = {split: _count(data.splits[split], samples[split], len(data.classes)) for split in samples}
    known = {split: found for split, found in counts.items() if found is not None}
    if len(data.classes) < 2 or not known:
        return None
    names = [str(name) for name in data.classes]
    if len(names) <= FEW:
        each = (f"{name} {', '.join(str(n[k]) for n in known.values())}" for k, name in enumerate(names))
        return f"samples of {', '.join(known)}: {'; '.join(each)}"
    parts = []
    for split, found in known.items():
        least, most = min(found), max(found)
        parts.append(
            f"{split} {sum(found):,}, from {least} ({names[found.index(least)]}) to {most} ({names[found.index(most)]})"
        )
    return f"samples of {len(names)} classes: {'; '.join(parts)}"


def _count(dataset: BatchDataset, samples: int, classes: int) -> list[int] | None:
    labels = getattr(dataset, "labels", None)
    if not isinstance(labels, Tensor) or labels.shape != (samples,) or labels.is_floating_point():
        return None
    return torch.bincount(labels[labels >= 0].cpu(), minlength=classes).tolist()

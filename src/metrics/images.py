"""Figures of generated images beside real ones: Fréchet and kernel distance, inception score, nearest neighbours."""

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

SUBSETS, SUBSET = 100, 1000  # of the kernel distance, as in the authors' code
BESIDE = 3  # training images beside each sample
SPLITS = 10  # of the inception score, as in the authors' code


class Given(nn.Identity):
    """Features that are there already, in the place where torchmetrics has a network."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


# --- figures from features


def frechet_distance(samples: Tensor, references: Tensor) -> float:
    """The Fréchet distance of two sets of features, `n d` and `m d`, of at least two each."""
    metric = FrechetInceptionDistance(Given(samples.shape[1]))
    metric.update(references.double(), real=True)
    metric.update(samples.double(), real=False)
    return float(metric.compute())


def kernel_distance(
    samples: Tensor, references: Tensor, *, seed: int = 0, subsets: int = SUBSETS, subset: int = SUBSET
) -> tuple[float, float]:
    """The kernel distance of two sets of features, `n d` and `m d`, and its standard deviation over subsets.

    Args:
        seed: of the subsets.
        subset: images in each, at most n and m.
    """
    subset = min(subset, len(samples), len(references))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save")
        torch.manual_seed(seed)
        metric = KernelInceptionDistance(Given(samples.shape[1]), subsets=subsets, subset_size=subset)
        metric.update(references.double(), real=True)
        metric.update(samples.double(), real=False)
        mean, spread = metric.compute()
    return float(mean), float(spread)


def inception_score(logits: Tensor, *, seed: int = 0, splits: int = SPLITS) -> tuple[float, float]:
    """The inception score of logits `n k`, and its standard deviation over parts; 0 for one part.

    Args:
        seed: of the order in which they are cut into parts.
        splits: parts, at most n.
    """
    splits = min(splits, len(logits))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", "Metric `InceptionScore` will save")
        warnings.filterwarnings("ignore", r"std\(\): degrees of freedom")
        torch.manual_seed(seed)
        metric = InceptionScore(Given(logits.shape[1]), splits=splits)
        metric.update(logits.double())
        mean, spread = metric.compute()
    return float(mean), float(spread) if splits > 1 else 0.0


def neighbours(queries: Tensor, batches: Iterator[Tensor], k: int = BESIDE) -> tuple[Tensor, Tensor]:
    """The k nearest of all references to each query, by exact search.

    Args:
        queries: `q ...`, uint8 or float.
        batches: the references, `b ...` each.
        k: how many, at most as many as there are.

    Returns:
        L2 distances, float32 `q k`, the smallest first (of uint8 images on the scale 0..1), and the numbers of the
        references, int64 `q k`.
    """

    def rows(x: Tensor) -> Tensor:
        return x.flatten(1).float() / (255 if x.dtype == torch.uint8 else 1)

    flat = rows(queries)
    distances, places = flat.new_empty(len(flat), 0), torch.empty(len(flat), 0, dtype=torch.int64, device=flat.device)
    start = 0
    for batch in batches:
        # By differences: through products, a copy would have a distance of about 1e-2.
        found = torch.cdist(flat, rows(batch).to(flat.device), compute_mode="donot_use_mm_for_euclid_dist")
        numbers = torch.arange(start, start + len(batch), device=flat.device).expand(len(flat), -1)
        start += len(batch)
        distances, places = torch.cat([distances, found], 1), torch.cat([places, numbers], 1)
        distances, order = distances.topk(min(k, distances.shape[1]), largest=False)
        places = places.gather(1, order)
    return distances, places


def compare_distances(samples: Tensor, held_out: Tensor, suffix: str = "") -> dict[str, float]:
    """What the distances to the nearest training image say, of samples `n` and of held-out images `m`, perhaps none."""
    figures = {f"nearest_training{suffix}": float(samples.median())}
    if len(held_out):
        usual = float(held_out.median())
        figures[f"nearest_training_of_held_out{suffix}"] = usual
        if usual:
            figures[f"nearest_training_ratio{suffix}"] = float(samples.median()) / usual
        nearer = (samples[:, None] < held_out).double() + 0.5 * (samples[:, None] == held_out).double()
        figures[f"nearer_than_held_out{suffix}"] = float(nearer.mean())
    return figures


def spread(size: int, m: int) -> Tensor:
    """Evenly spaced numbers, m out of 0 to `size` - 1."""
    return torch.arange(m) * size // m

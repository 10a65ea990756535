"""Pairs of images and their labels: Mixup and CutMix."""

import functools

import torch
from scipy.special import betaincinv
from torch import Tensor

from ...counter import among
from .boxes import boxes


@functools.lru_cache(maxsize=8)
def _beta_quantiles(alpha: float, device: torch.device) -> Tensor:
    """The inverse distribution function of Beta(alpha, alpha) at 4097 even steps from 0 to 1."""
    quantiles = betaincinv(alpha, alpha, torch.linspace(0, 1, 4097, dtype=torch.float64, device="cpu").numpy())
    return torch.from_numpy(quantiles).float().to(device)


def beta(random: Tensor, alpha: float) -> Tensor:
    """Uniform numbers `b` to numbers of the distribution Beta(alpha, alpha), by its inverse distribution function.

    A sampler by rejection would need a number of draws that is not known; this needs one for each sample. The function
    is linear between its 4097 values, and has at most 1/4096 of probability out of place.
    """
    quantiles = _beta_quantiles(alpha, random.device)
    place = random * (len(quantiles) - 1)
    low = place.long()
    return torch.lerp(quantiles[low], quantiles[low + 1], place - low)


def cutmixboxes(images: Tensor, random: Tensor, share: Tensor) -> Tensor:
    """CutMix's boxes (Yun et al. 2019, arXiv:1905.04899, equation 2): true inside, `b 1 h w`.

    Args:
        images: `b c h w`.
        random: `b 2`: the box's centre from above and from the left.
        share: of the image that is kept, λ, `b`; sides are sqrt(1 - λ) of the image's, and are cut off at its border.
    """
    h, w = images.shape[-2:]
    half = 0.5 * torch.sqrt(1 - share)
    half_height, half_width = (half * h).long(), (half * w).long()
    top, left = among(random[:, 0], h) - half_height, among(random[:, 1], w) - half_width
    return boxes(images, top, left, 2 * half_height, 2 * half_width)


def mix(
    images: Tensor, labels: Tensor, random: Tensor, *, mixup: float, cutmix: float, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2017, arXiv:1710.09412) or CutMix (Yun et al. 2019, arXiv:1905.04899).

    Each image is mixed with the next one of the batch (the last with the first), and its label likewise: the share λ
    is the sample's own. In CutMix the label's share is the area that is left after the box is cut off at the border.

    Args:
        images: float `b c h w`.
        labels: int64 `b`.
        random: `b 4`: Mixup or CutMix, which the first sample's decides for the batch; λ; the box's centre.
        mixup, cutmix: α of λ ~ Beta(α, α); 0: not this one. One at least is positive.
        num_classes: k.

    Returns:
        Images `b c h w` and soft labels, float32 `b k`.
    """
    weight = share = None
    if mixup:
        share = beta(random[:, 1], mixup)
        weight = share[:, None, None, None]
    if cutmix:
        box = cutmixboxes(images, random[:, 2:], beta(random[:, 1], cutmix))
        kept = 1 - box.float().mean((1, 2, 3))
        if share is None or weight is None:
            weight, share = (~box).float(), kept
        else:
            is_cutmix = random[0, 0] < 0.5
            weight, share = torch.where(is_cutmix, (~box).float(), weight), torch.where(is_cutmix, kept, share)
    assert weight is not None
    assert share is not None
    one_hot = (labels[:, None] == torch.arange(num_classes, device=labels.device)).float()
    share = share[:, None]
    return (
        weight * images + (1 - weight) * images.roll(-1, 0),
        share * one_hot + (1 - share) * one_hot.roll(-1, 0),
    )

"""Weights of pixels that make a network learn the narrow borders between objects that touch.

Ronneberger, Fischer, Brox 2015, "U-Net", arXiv:1505.04597, equation 2:

    w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))² / 2 σ²),

with the distances d1 and d2 of a pixel to the nearest and to the second nearest object, in pixels, and w_c, which
balances the classes. The paper takes w0 = 10 and σ ≈ 5.

Not said in the paper, and decided here: objects are connected by the sides of their pixels; a distance is that to the
nearest pixel of the object; the second term is of pixels outside of all objects; where there is only one object,
there is no border and no second term.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

REACH = 6.0  # spreads: farther away the second term is under w0 exp(-18), 1.5e-8 of w0


def border_term(mask: NDArray[np.uint8], objects: Collection[int], *, w0: float, sigma: float) -> NDArray[np.float32]:
    """The second term of equation 2, `h w`.

    Distances are computed in a window around each object, beyond which the term is nothing, so that the time does not
    grow with the number of objects times the size of the image.

    Args:
        mask: classes `h w`.
        objects: classes whose connected parts are the objects.
        w0: the largest weight of a border.
        sigma: σ in pixels.
    """
    reach = math.ceil(REACH * sigma)
    nearest = np.full(mask.shape, np.inf, dtype=np.float32)
    second = nearest.copy()
    for value in sorted(objects):
        labels, _ = ndimage.label(mask == value)
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
            window = (
                slice(max(0, rows.start - reach), rows.stop + reach),
                slice(max(0, columns.start - reach), columns.stop + reach),
            )
            distance = ndimage.distance_transform_edt(labels[window] != number).astype(np.float32)
            second[window] = np.minimum(second[window], np.maximum(nearest[window], distance))
            nearest[window] = np.minimum(nearest[window], distance)
    term = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    found: NDArray[np.float32] = np.where(np.isin(mask, sorted(objects)), 0, term).astype(np.float32)
    return found


def balancing_weights(counts: Sequence[int]) -> list[float]:
    """w_c of each class from its number of pixels: the inverse of its share, divided by the number of classes.

    The mean over all pixels is 1. A class without a pixel is rarer than all others, and has the largest weight of them:
    where the counts are of a part of the masks, another part may have it.
    """
    present = [n for n in counts if n]
    rarest = min(present, default=1)
    return [sum(counts) / (len(present) * (n or rarest)) if present else 1.0 for n in counts]


def border_weights(
    mask: NDArray[np.uint8], class_weights: Sequence[float], objects: Collection[int], **options: Any
) -> NDArray[np.float32]:
    """w(x) of equation 2, `h w`; ignored pixels (beyond the classes) have w_c = 1, which the loss does not see.

    Args:
        mask: classes `h w`.
        class_weights: w_c of each class.
        objects, options: see `border_term`.
    """
    table = np.ones(256, dtype=np.float32)
    table[: len(class_weights)] = class_weights
    found: NDArray[np.float32] = table[mask] + border_term(mask, objects, **options)
    return found

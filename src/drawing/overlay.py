"""A mask over an image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

OPACITY = 0.6  # of the mask over the image


def overlay(
    image: NDArray[np.floating[Any]], mask: NDArray[np.integer[Any]], colours: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """Classes in their colours over an image, all from 0 to 1; a class whose colour is black is left as it is.

    Args:
        image: `h w 3`.
        mask: `h w`; values that are no class, as 255, are left as they are.
        colours: `k 3`.
    """
    known = mask < len(colours)
    classes = np.where(known, mask, 0)
    seen = colours.max(axis=1) > 0
    painted = np.expand_dims(known & seen[classes], 2)
    return np.where(painted, (1 - OPACITY) * image + OPACITY * colours[classes], image)

"""Colours that smoothing has left in masks: along edges, between those of the classes."""

import itertools
from collections.abc import Mapping

import numpy as np

RARE = 0.005  # of all pixels
NEAR = 4.0  # levels by which rounding moves a colour off the line between two others
Colour = tuple[int, int, int]


def between(pixels: Mapping[Colour, int]) -> list[Colour]:
    """Colours that few pixels have and that lie on the line between two which are more frequent.

    A class that is rare may have such a colour, too; where most of the colours are so, edges were smoothed.

    Args:
        pixels: how many have each colour.

    >>> between({(0, 0, 0): 500, (200, 0, 0): 490, (90, 1, 0): 1, (0, 90, 0): 1})
    [(90, 1, 0)]
    """
    least = RARE * sum(pixels.values())
    pairs = list(itertools.combinations([colour for colour, number in pixels.items() if number >= least], 2))
    rare = [colour for colour, number in pixels.items() if number < least]
    if not pairs or not rare:
        return []
    one, other = np.array(pairs, dtype=np.float64).transpose(1, 0, 2)
    along = other - one
    found = []
    for colour in rare:
        share = ((colour - one) * along).sum(1) / np.square(along).sum(1)
        nearest = one + share.clip(0, 1)[:, None] * along
        if np.sqrt(np.square(colour - nearest).sum(1)).min() <= NEAR:
            found.append(colour)
    return found

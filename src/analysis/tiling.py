"""Dense prediction of images of any size: mirrored borders, and tiles that overlap.

A network with valid padding answers for the inner pixels of its input alone; what it needs around the image is the
image mirrored at its borders (Ronneberger, Fischer and Brox 2015, arXiv:1505.04597, figure 2). An image that is too
large for the memory is predicted tile by tile. A tile's answer is that for the whole image wherever all of its
receptive field lies in the tile, if the tile begins at a multiple of the network's stride, by which a shift of the
input is a shift of the answer.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..models.contract import Fitting, claims
from .layers import Calls

PROBE = 256  # pixels of the image on which receptive fields are followed
UNKNOWN_STRIDE = 64  # of a network whose operations cannot be followed: a multiple of the usual ones
SHARE = 4  # tiles overlap by one part in so many where their overlap cannot be derived


def mirror_places(size: int, before: int, after: int, device: torch.device | None = None) -> Tensor:
    """Which of `size` positions stand at -before ... size + after - 1, where the ends are mirrors (2 1 | 0 1 2 | 1 0).

    Other than `torch.nn.functional.pad` this reflects as often as is needed, also in an image of one pixel.
    """
    period = max(1, 2 * (size - 1))
    places = torch.arange(-before, size + after, device=device).remainder(period)
    return torch.minimum(places, period - places) if size > 1 else torch.zeros_like(places)


def mirror_to_fit(network: nn.Module, x: Tensor, stride: int = 1) -> Tensor:
    """Images `b c h w`, mirrored at their borders to the smallest size of which the answer covers the image.

    Above and to the left there is the network's `margin`, so that pixel (0, 0) of the answer is that of the image; what
    is more than the image at the other ends is for `crop`.

    Args:
        network: with `margin` and `fits`, where not each size will do.
        x: images of any size.
        stride: of which the size is a multiple, too, if the network has no margin.
    """
    margin = claims(network).margin
    for axis in (-2, -1):
        size = x.shape[axis]
        total = fitting(network, size + 2 * margin if margin else -(-size // stride) * stride)
        if total > size:
            x = x.index_select(axis, mirror_places(size, margin, total - size - margin, x.device))
    return x


def fitting(network: nn.Module, side: int) -> int:
    """The smallest side from `side` pixels up that a network takes."""
    return network.fits(side) if isinstance(network, Fitting) else side


def crop(logits: Tensor, height: int, width: int) -> Tensor:
    """The answer for the image alone."""
    return logits[..., :height, :width]


def predict_whole(network: nn.Module, x: Tensor) -> Tensor:
    """Logits `b k h w` of images `b c h w` of any size, computed at once."""
    logits: Tensor = network(mirror_to_fit(network, x))
    return crop(logits, *x.shape[-2:])


@dataclass(frozen=True)
class Reach:
    """How far a pixel of the answer sees.

    Attributes:
        radius: the most pixels from a pixel to one on which its answer depends, along an axis.
        stride: pixels by which the image can be shifted so that the answer is shifted likewise.
    """

    radius: int
    stride: int


@torch.no_grad()
def reach_of(network: nn.Module, in_channels: int) -> Reach | None:
    """What a network in eval mode reaches, followed through its operations on the meta device; see `receptive_field`.

    Returns:
        None where an operation is not known or a pixel depends on all of the image, as behind global pooling.

    Raises:
        ValueError: the network has not one answer for each pixel.
    """
    margin = claims(network).margin
    state = {
        name: value.to("meta") for name, value in itertools.chain(network.named_parameters(), network.named_buffers())
    }
    dtype = next((value.dtype for value in state.values() if value.is_floating_point()), torch.float32)
    side = fitting(network, PROBE + 2 * margin)
    x = torch.empty(1, in_channels, side, side, device="meta", dtype=dtype)
    calls = Calls(network)
    calls.begin((x,))
    with calls:
        y = torch.func.functional_call(network, state, (x,))
    if y.shape[2:] != (side - 2 * margin,) * 2:
        raise ValueError(f"{type(network).__name__} gives {tuple(y.shape[2:])} values for {side}x{side} pixels")
    if y not in calls.tracks:
        return None
    found = []
    for span in calls.tracks[y].spans:
        if not span.shift or span.shift != len(span.first):
            return None
        ends = enumerate(zip(span.first, span.last, strict=True), start=margin)
        found.append(Reach(max(max(i - first, last - i) for i, (first, last) in ends), span.shift))
    return Reach(max(r.radius for r in found), max(r.stride for r in found))


@torch.no_grad()
def predict_tiled(network: nn.Module, x: Tensor, tile: int, overlap: int | None = None) -> Tensor:
    """Logits `b k h w` of images `b c h w` of any size, from tiles of the network's input.

    With valid padding they are those of `predict_whole`. So they are with same padding where `overlap` is None and
    twice the network's radius is less than the tile, for the image mirrored to a multiple of the network's stride; else
    neighbours are blended: along the overlap, one fades out as the other fades in.

    Args:
        network: in eval mode.
        x: images, normalised.
        tile: height and width of a tile in pixels; rounded up to a size that the network takes, and without margin to a
            multiple of its stride.
        overlap: pixels that neighbours share, of a network without margin; None: so many that the answer is that for
            the whole image, or a quarter of the tile where that is not possible.

    Raises:
        UserError: tiles so small that nothing is left of them.
    """
    h, w = x.shape[-2:]
    margin = claims(network).margin
    side = fitting(network, tile)
    if max(mirror_to_fit(network, x).shape[-2:]) <= side:
        return predict_whole(network, x)
    reach = reach_of(network, x.shape[1])
    stride = UNKNOWN_STRIDE if reach is None else reach.stride
    if not margin:  # of another side, a network that takes any would stretch its answer differently in each tile
        side = fitting(network, -(-side // stride) * stride)
    padded = mirror_to_fit(network, x, stride)
    exact = margin > 0
    if margin:
        overlap = 2 * margin
    elif overlap is None:
        exact = reach is not None and 2 * reach.radius + stride <= side
        overlap = 2 * reach.radius if exact and reach is not None else side // SHARE
    step = (side - overlap) // stride * stride
    if overlap < 0 or step < 1:
        raise UserError(
            f"tile={tile} with an overlap of {overlap} pixels leaves less than the {stride} pixels by which tiles are "
            f"moved: use tile={overlap + stride} or more"
        )
    rows, columns = (list(_pieces(n, side, step, stride)) for n in padded.shape[-2:])
    down, across = (_windows(pieces, margin, cut=exact, like=padded) for pieces in (rows, columns))
    total: Tensor | None = None
    for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
        y: Tensor = network(padded[..., row, column])
        if total is None:
            total = y.new_zeros(*y.shape[:2], *(n - 2 * margin for n in padded.shape[-2:]))
            weights = y.new_zeros(total.shape[-2:])
        place = tuple(slice(part.start, part.stop - 2 * margin) for part in (row, column))
        window = (down[i][:, None] * across[j]).to(y.dtype)
        total[..., place[0], place[1]] += window * y
        weights[place] += window
    assert total is not None
    return crop(total / weights, h, w)


def _pieces(size: int, side: int, step: int, stride: int) -> Iterator[slice]:
    """Parts of `side` positions that begin `step` apart, but for the last, which ends at `size`, and may be shorter."""
    last = max(0, -(-(size - side) // stride) * stride)
    for start in itertools.chain(range(0, last, step), (last,)):
        yield slice(start, min(start + side, size))


def _windows(pieces: Sequence[slice], margin: int, *, cut: bool, like: Tensor) -> list[Tensor]:
    """What the positions of each piece's answer count along an axis, less towards a neighbour.

    Args:
        pieces: of the input, in order.
        margin: by which answers are smaller than the input; answers with a margin are right everywhere, and count 1.
        cut: whether half of what neighbours share is one's and half is the other's; else one fades into the other.
        like: gives type and device.
    """
    found = [like.new_ones(piece.stop - piece.start - 2 * margin) for piece in pieces]
    for k in range(len(pieces) - 1) if not margin else ():
        shared = pieces[k].stop - pieces[k + 1].start
        ramp = (torch.arange(shared, dtype=like.dtype, device=like.device) + 0.5) / shared
        if cut:
            ramp = (ramp > 0.5).to(like.dtype)
        found[k + 1][:shared] = torch.minimum(found[k + 1][:shared], ramp)
        found[k][-shared:] = torch.minimum(found[k][-shared:], 1 - ramp)
    return found

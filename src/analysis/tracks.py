"""What of an image each position of a tensor depends on, axis by axis: spans, factors of axes, tracks."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple


@dataclass(frozen=True)
class Span:
    """First and last pixel, along one axis of the image, that position i depends on.

    They are periodic but for a shift: position i + len(first) sees what position i sees, `shift` pixels further on. One
    period is one position, but for what enlarges maps. With shift 0 all positions see the same.
    """

    first: tuple[int, ...]
    last: tuple[int, ...]
    shift: int

    def at(self, position: int) -> tuple[int, int]:
        turn, phase = divmod(position, len(self.first))
        return self.first[phase] + turn * self.shift, self.last[phase] + turn * self.shift

    @property
    def size(self) -> int:
        return max(last - first + 1 for first, last in zip(self.first, self.last, strict=True))

    def draw(self, taken: Callable[[int], tuple[int, int]], period: int = 1, advance: int = 1) -> "Span":
        """The span of positions that join others.

        Args:
            taken: first and last of the positions that a new position joins; any of them may be outside the map.
            period, advance: `taken(i + period)` is `taken(i)` further on by `advance`.
        """
        turns = len(self.first) // math.gcd(len(self.first), advance)
        ends = []
        for new in range(period * turns):
            start, end = taken(new)
            ends.append([self.at(old) for old in range(start, max(start, end) + 1)])
        return Span(
            tuple(min(first for first, _ in found) for found in ends),
            tuple(max(last for _, last in found) for found in ends),
            self.shift * advance * turns // len(self.first),
        )

    def fixed(self, positions: int) -> "Span":
        """What all of the map's positions see together."""
        ends = [self.at(i) for i in range(positions)]
        return Span((min(first for first, _ in ends),), (max(last for _, last in ends),), 0)

    def joined(self, other: "Span") -> "Span | None":
        """What both see; None where they move over the image at different rates."""
        if self.shift * len(other.first) != other.shift * len(self.first):
            return None
        period = math.lcm(len(self.first), len(other.first))
        ends = [(*self.at(i), *other.at(i)) for i in range(period)]
        shift = self.shift * (period // len(self.first))
        return Span(tuple(min(e[0], e[2]) for e in ends), tuple(max(e[1], e[3]) for e in ends), shift)


class Factor(NamedTuple):
    """Part of an axis of a tensor: its length, and by how many positions on which axis of the image it moves."""

    size: int
    axis: int | None = None
    step: int = 0


Dim = tuple[Factor, ...]  # outermost first; more than one where axes were flattened


def length(dim: Dim) -> int:
    return math.prod(factor.size for factor in dim)


def axes(dim: Dim) -> set[int]:
    """Axes of the image along which a tensor's axis moves."""
    return {factor.axis for factor in dim if factor.axis is not None}


def plain(size: int) -> Dim:
    return (Factor(size),)


def joint(dim: Dim) -> Dim:
    """The same with as few factors as can be: the rows of a window and the windows below one another are rows again."""
    found = [dim[0]]
    for factor in dim[1:]:
        size, axis, step = found[-1]
        if axis == factor.axis and step == factor.size * factor.step:
            found[-1] = Factor(size * factor.size, axis, factor.step)
        else:
            found.append(factor)
    return tuple(found)


def inner_block(factors: Sequence[Factor]) -> int | None:
    """How many neighbouring positions the factors run over, where they are the innermost ones; else None."""
    positions = 1
    for factor in sorted((f for f in factors if f.size > 1), key=lambda f: f.step):
        if factor.step != positions:
            return None
        positions *= factor.size
    return positions


@dataclass(frozen=True)
class Track:
    """What a tensor depends on: a span for each axis of the image, and how the tensor's axes move over their positions.

    The position along an axis of the image is the sum of step times index over the factors of that axis, wherever in
    the tensor they are. Where positions can no longer be told apart, an axis has no factors and its span is fixed.
    """

    spans: tuple[Span, ...]
    dims: tuple[Dim, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(length, self.dims))

    def factors(self, axis: int) -> dict[tuple[int, int], Factor]:
        """The factors of an axis of the image, by place."""
        return {(d, j): f for d, dim in enumerate(self.dims) for j, f in enumerate(dim) if f.axis == axis}

    def positions(self, axis: int) -> int:
        return 1 + sum(f.step * (f.size - 1) for f in self.factors(axis).values())

    def collapse(self, gone: Iterable[int]) -> "Track":
        """Each position sees, along these axes of the image, what all see together."""
        gone = set(gone)
        spans = [s.fixed(self.positions(a)) if a in gone else s for a, s in enumerate(self.spans)]
        dims = [tuple(Factor(f.size) if f.axis in gone else f for f in dim) for dim in self.dims]
        return Track(tuple(spans), tuple(dims))

    def contract(self, dims: Iterable[int]) -> "Track":
        """Each position joins all others along these axes of the tensor, as in a sum, a product or attention."""
        track, dims = self, {d % len(self.dims) for d in dims}
        for axis in {a for d in dims for a in axes(self.dims[d])}:
            inside = {place: f for place, f in track.factors(axis).items() if place[0] in dims}
            outside = [f for place, f in track.factors(axis).items() if place not in inside and f.size > 1]
            block = inner_block(list(inside.values()))
            if not outside or block is None or any(f.step % block for f in outside):
                track = track.collapse([axis])
                continue
            span = track.spans[axis].draw(lambda i, n=block: (i * n, i * n + n - 1), 1, block)  # type: ignore[misc]
            track = Track(
                tuple(span if a == axis else s for a, s in enumerate(track.spans)),
                tuple(
                    tuple(
                        f if f.axis != axis else Factor(f.size) if d in dims else f._replace(step=f.step // block)
                        for f in dim
                    )
                    for d, dim in enumerate(track.dims)
                ),
            )
        return track

    def draw(
        self, dim: int, size: int, taken: Callable[[int], tuple[int, int]], period: int = 1, advance: int = 1
    ) -> "Track":
        """An axis of the tensor gets another size, and its positions join others; see `Span.draw`."""
        dim %= len(self.dims)
        track, found = self, axes(self.dims[dim])
        if found:
            (axis, *more) = found
            if more or len(self.dims[dim]) > 1 or len(self.factors(axis)) > 1 or self.dims[dim][0].step != 1:
                track, found = self.collapse(found), set()
            else:
                span = self.spans[axis].draw(taken, period, advance)
                track = replace(self, spans=tuple(span if a == axis else s for a, s in enumerate(self.spans)))
        new = (Factor(size, axis, 1),) if found else plain(size)
        return replace(track, dims=tuple(new if d == dim else old for d, old in enumerate(track.dims)))

    def keep(self, order: Iterable[int | None]) -> "Track":
        """The axes in another order; None is a new axis of length 1. An axis that is left out is joined."""
        order = [None if d is None else d % len(self.dims) for d in order]
        track = self.contract(set(range(len(self.dims))) - set(order))
        return replace(track, dims=tuple(plain(1) if d is None else track.dims[d] for d in order))

    def viewed(self, shape: Sequence[int]) -> "Track":
        """The same numbers in the same order under another shape."""
        rest = [f for dim in self.dims for f in dim]
        dims: list[Dim] = []
        for size in shape:
            taken: list[Factor] = []
            if size == 1 and rest and rest[0].size == 1:
                taken.append(rest.pop(0))
            while (missing := size // math.prod(f.size for f in taken)) > 1:
                factor = rest.pop(0)
                if factor.size > missing:
                    if factor.size % missing:
                        return self.lost(shape)
                    part = factor.size // missing
                    rest.insert(0, Factor(part, factor.axis, factor.step))
                    factor = Factor(missing, factor.axis, factor.step * part)
                elif missing % factor.size:
                    return self.lost(shape)
                taken.append(factor)
            dims.append(tuple(taken) or plain(1))
        if dims:
            dims[-1] = (*dims[-1], *rest)  # axes of length 1
        return Track(self.spans, tuple(map(joint, dims)))

    def lost(self, shape: Sequence[int]) -> "Track":
        """Positions can no longer be told apart."""
        track = self.collapse(range(len(self.spans)))
        return Track(track.spans, tuple(map(plain, shape)))

    def broadcast(self, shape: Sequence[int]) -> "Track":
        """The same, repeated along new axes and along those of length 1."""
        new = len(shape) - len(self.dims)
        grown = [d for d, (old, size) in enumerate(zip(self.shape, shape[new:], strict=True)) if old != size]
        track = self.contract(grown)
        kept = [plain(shape[new + d]) if d in grown else dim for d, dim in enumerate(track.dims)]
        return Track(track.spans, (*map(plain, shape[:new]), *kept))


def merge(tracks: Sequence[Track], shape: Sequence[int]) -> Track:
    """What an elementwise function of several tensors depends on."""
    tracks = [track.broadcast(shape) for track in tracks]
    layout: list[list[Factor]] = []
    for d, size in enumerate(shape):
        cuts = [tuple(f.size for f in track.dims[d]) for track in tracks if axes(track.dims[d])]
        if cuts:
            tracks = [
                t.contract([d]) if axes(t.dims[d]) and tuple(f.size for f in t.dims[d]) != cuts[0] else t
                for t in tracks
            ]
        layout.append([Factor(n) for n in cuts[0]] if cuts else [Factor(size)])
    spans = []
    for axis in range(len(tracks[0].spans)):
        places = [track.factors(axis) for track in tracks]
        most = max(places, key=len)
        span: Span | None = None
        for i, (track, own) in enumerate(zip(tracks, places, strict=True)):
            finer = _refined(track.spans[axis], own, most)
            span = finer if i == 0 else span and finer and span.joined(finer)
            if span is None:
                break
        if span is None:
            ends = [track.collapse([axis]).spans[axis] for track in tracks]
            span = Span((min(e.first[0] for e in ends),), (max(e.last[0] for e in ends),), 0)
            most = {}
        for (d, j), factor in most.items():
            layout[d][j] = factor
        spans.append(span)
    return Track(tuple(spans), tuple(map(tuple, layout)))


def _refined(span: Span, own: dict[tuple[int, int], Factor], most: dict[tuple[int, int], Factor]) -> Span | None:
    """The span for positions of which `own` ones are blocks, as windows of attention are; None if they are not."""
    block = inner_block([factor for place, factor in most.items() if place not in own])
    if block is None or any(place not in most for place in own) or (most and not own):
        return None
    if any((f.size, f.step * block) != most[place][::2] for place, f in own.items()):
        return None
    return span if block == 1 else span.draw(lambda i: (i // block, i // block), block, 1)

"""What part of an image each position of a tensor depends on, followed through torch's operations.

The receptive field of a position is the part of the input image on which it depends (Araujo, Norris and Sim 2019,
"Computing Receptive Fields of Convolutional Neural Networks", Distill, doi:10.23915/distill.00021). Each position
carries the first and the last pixel that it depends on, and what joins several positions takes the smallest first and
the largest last pixel, so that branches, skip connections and transposed axes count as they are. Pixels are counted as
if the image went on beyond its edges, as is usual: the last convolution of ResNet-18 sees 435 pixels of an image that
has 224. Statistics of normalisation count as constants.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from .tracks import Track, axes, merge, plain

# What an operation joins. Each takes the tracks by argument name, the arguments by name, and the output.
Known = dict[str, Track]
Arguments = dict[str, Any]


def _taps(kernel: int, stride: int, padding: int, dilation: int = 1) -> Callable[[int], tuple[int, int]]:
    return lambda i: (i * stride - padding, i * stride - padding + dilation * (kernel - 1))


def _each(value: Any, count: int) -> list[int]:
    """One number for each axis; an empty list is no number."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return values * count if len(values) == 1 else values


def convolution_joins(known: Known, a: Arguments, out: Tensor) -> Track:
    track, kernel = known["input"].contract([1]), a["weight"].shape[2:]
    n = len(kernel)
    numbers = [_each(a[key], n) for key in ("stride", "padding", "dilation")]
    for d, (k, s, p, dilation) in enumerate(zip(kernel, *numbers, strict=True), start=-n):
        if a["transposed"]:  # output i has tap t of input (i + p - dilation t) / s, where that is whole

            def taken(i: int, k: int = k, s: int = s, p: int = p, dilation: int = dilation) -> tuple[int, int]:
                return -((dilation * (k - 1) - i - p) // s), (i + p) // s

            track = track.draw(d, out.shape[d], taken, s, 1)
        else:
            track = track.draw(d, out.shape[d], _taps(k, s, p, dilation), 1, s)
    return replace(track, dims=(track.dims[0], plain(out.shape[1]), *track.dims[2:]))


def _pool(known: Known, a: Arguments, out: Tensor) -> Track:
    track, n = known["self"], len(a["kernel_size"])
    strides, paddings = _each(a["stride"] or a["kernel_size"], n), _each(a["padding"], n)
    dilations = _each(a.get("dilation", 1), n)
    for d, (k, s, p, dilation) in enumerate(
        zip(_each(a["kernel_size"], n), strides, paddings, dilations, strict=True), start=-n
    ):
        track = track.draw(d, out.shape[d], _taps(k, s, p, dilation), 1, s)
    return track


def _adaptive_pool(known: Known, a: Arguments, out: Tensor) -> Track:
    track = known["self"]
    for d in range(-len(a["output_size"]), 0):
        n, m = track.shape[d], out.shape[d]
        g = math.gcd(n, m)

        def taken(i: int, n: int = n, m: int = m) -> tuple[int, int]:
            return i * n // m, -(-(i + 1) * n // m) - 1

        track = track.draw(d, m, taken, m // g, n // g)
    return track


def _upsample(below: int, above: int) -> Callable[[Known, Arguments, Tensor], Track]:
    """Interpolation from the position under a point and so many before and after it."""

    def joins(known: Known, a: Arguments, out: Tensor) -> Track:
        track = known["self" if "self" in known else "input"]
        for d in range(2 - out.ndim, 0):
            n, m = track.shape[d], out.shape[d]
            top, bottom = (n - 1, m - 1) if a.get("align_corners") and m > 1 else (n, m)
            g = math.gcd(top, bottom)

            def taken(i: int, n: int = n, m: int = m, top: int = top, bottom: int = bottom) -> tuple[int, int]:
                if not above:
                    return i * n // m, i * n // m
                twice = 2 * i * top if top != n else (2 * i + 1) * n - m  # the point, times 2 bottom
                whole, rest = divmod(twice, 2 * bottom)
                return (whole - below, whole + above) if rest else (whole, whole)

            track = track.draw(d, m, taken, bottom // g, top // g) if n != m else track
        return track

    return joins


def _pad(known: Known, a: Arguments, out: Tensor) -> Track:
    track, pad = known["self"], list(a.get("pad") or a["padding"])
    for i in range(len(pad) // 2):
        if pad[2 * i] or pad[2 * i + 1]:
            track = track.draw(-1 - i, out.shape[-1 - i], lambda o, left=pad[2 * i]: (o - left, o - left))  # type: ignore[misc]
    return track


def _roll(known: Known, a: Arguments, out: Tensor) -> Track:
    track = known["self"]
    if not a["dims"]:
        return track.lost(out.shape)
    for shift, d in zip(a["shifts"], a["dims"], strict=True):
        track = track.draw(d, out.shape[d], lambda o, shift=shift: (o - shift, o - shift))  # type: ignore[misc]
    return track


def _slice(known: Known, a: Arguments, out: Tensor) -> Track:
    track, d = known["self"], a["dim"]
    size = track.shape[d]
    if out.shape[d] == size:
        return track
    start, step = slice(a["start"], a["end"]).indices(size)[0], a["step"]
    return track.draw(d, out.shape[d], lambda o: (start + o * step, start + o * step), 1, step)


def split_joins(known: Known, a: Arguments, out: Sequence[Tensor]) -> list[Track]:
    tracks, start, d = [], 0, a["dim"]
    for part in out:
        tracks.append(_slice(known, {"dim": d, "start": start, "end": None, "step": 1}, part))
        start += part.shape[d]
    return tracks


def _concatenate(known: Known, a: Arguments, out: Tensor) -> Track:
    d, parts = a["dim"] % out.ndim, [track.contract([a["dim"]]) for track in known.values()]
    shape = list(out.shape)
    return merge([replace(t, dims=(*t.dims[:d], plain(shape[d]), *t.dims[d + 1 :])) for t in parts], shape)


def _stack(known: Known, a: Arguments, out: Tensor) -> Track:
    d = a["dim"] % out.ndim
    return merge([t.keep([*range(d), None, *range(d, len(t.dims))]) for t in known.values()], out.shape)


def _reduce(known: Known, a: Arguments, out: Tensor) -> Track:
    (track,) = known.values()
    given = a.get("dim")
    dims = range(len(track.dims)) if given in (None, []) else [given] if isinstance(given, int) else given
    dims = {d % len(track.dims) for d in dims}
    return track.keep(
        [d if d not in dims else None for d in range(len(track.dims)) if d not in dims or a.get("keepdim")]
    )


def _softmax(known: Known, a: Arguments, out: Tensor) -> Track:
    return known["self"].contract([a["dim"]])


def _product(known: Known, a: Arguments, out: Tensor) -> Track:
    """... m k times ... k n, and what is added."""
    names = [name for name in ("self", "mat1", "batch1") if name in a]
    left, right = (names[-1], {"self": "mat2", "mat1": "mat2", "batch1": "batch2"}[names[-1]])
    parts = []
    rows: set[int] = set()
    if left in known:
        track = known[left].contract([-1])
        rows = axes(track.dims[-2])
        parts.append(replace(track, dims=(*track.dims[:-1], plain(out.shape[-1]))))
    if right in known:
        track = known[right].contract([-2])
        track = track.contract([-1]) if rows & axes(track.dims[-1]) else track
        parts.append(replace(track, dims=(*track.dims[:-2], plain(out.shape[-2]), track.dims[-1])))
    if left != "self" and "self" in known:
        parts.append(known["self"])
    return merge(parts, out.shape)


def attention_joins(known: Known, a: Arguments, out: Tensor) -> Track:
    """Queries see all keys and values."""
    parts = []
    for name, track in known.items():
        seen = track.contract([-1] if name == "query" else [-2, -1])
        parts.append(replace(seen, dims=(*seen.dims[:-2], seen.dims[-2] if name == "query" else plain(1), plain(1))))
    return merge(parts, out.shape)


def _permute(known: Known, a: Arguments, out: Tensor) -> Track:
    return known["self"].keep(a["dims"])


def _transpose(known: Known, a: Arguments, out: Tensor) -> Track:
    order = list(range(out.ndim))
    i, j = a.get("dim0", 0), a.get("dim1", -1)
    if out.ndim:
        order[i], order[j] = order[j], order[i]
    return known["self"].keep(order)


def _squeeze(known: Known, a: Arguments, out: Tensor) -> Track:
    track, given = known["self"], a.get("dim")
    dims = range(len(track.dims)) if given is None else [given] if isinstance(given, int) else given
    gone = {d % len(track.dims) for d in dims if track.shape[d] == 1}
    return track.keep([d for d in range(len(track.dims)) if d not in gone])


def _unsqueeze(known: Known, a: Arguments, out: Tensor) -> Track:
    track, d = known["self"], a["dim"] % out.ndim
    return track.keep([*range(d), None, *range(d, len(track.dims))])


def select_joins(known: Known, a: Arguments, out: Any) -> Any:
    track = known["self"]
    d = a["dim"] % len(track.dims)
    rest = track.keep([i for i in range(len(track.dims)) if i != d])
    return [rest] * len(out) if isinstance(out, list | tuple) else rest


def _shuffle(known: Known, a: Arguments, out: Tensor) -> Track:
    """Pixel shuffle: channels become positions."""
    track, r = known["self"].contract([-3]), a["upscale_factor"]
    for d in (-2, -1):
        track = track.draw(d, out.shape[d], lambda o: (o // r, o // r), r, 1)
    return replace(track, dims=(*track.dims[:-3], plain(out.shape[-3]), *track.dims[-2:]))


def _unshuffle(known: Known, a: Arguments, out: Tensor) -> Track:
    track, r = known["self"].contract([-3]), a["downscale_factor"]
    for d in (-2, -1):
        track = track.draw(d, out.shape[d], lambda o: (o * r, o * r + r - 1), 1, r)
    return replace(track, dims=(*track.dims[:-3], plain(out.shape[-3]), *track.dims[-2:]))


def elementwise_joins(known: Known, a: Arguments, out: Tensor) -> Track:
    return merge(list(known.values()), out.shape)


def _channels(known: Known, a: Arguments, out: Tensor) -> Track:
    return known["self"].contract([1])


def first_joins(known: Known, a: Arguments, out: Any) -> Track:
    """What is normalised; its weights and statistics are not followed."""
    return known["input"]


def _view(known: Known, a: Arguments, out: Tensor) -> Track:
    return known["self"].viewed(out.shape)


JOINS: dict[str, Callable[[Known, Arguments, Any], Any]] = {
    "convolution": convolution_joins,
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool2d", "max_pool3d"), _pool),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices"), _pool),
    **dict.fromkeys(("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d"), _adaptive_pool),
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"), _upsample(0, 0)),
    **dict.fromkeys(("upsample_linear1d", "upsample_bilinear2d"), _upsample(0, 1)),
    "upsample_bicubic2d": _upsample(1, 2),
    **dict.fromkeys(("constant_pad_nd", "reflection_pad2d", "replication_pad2d"), _pad),
    "roll": _roll,
    "slice": _slice,
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split"), split_joins),
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), _channels),
    "cat": _concatenate,
    "stack": _stack,
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "min", "var", "linalg_vector_norm"), _reduce),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), _softmax),
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), _product),
    "permute": _permute,
    **dict.fromkeys(("transpose", "t"), _transpose),
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    **dict.fromkeys(("select", "unbind"), select_joins),
    "pixel_shuffle": _shuffle,
    "pixel_unshuffle": _unshuffle,
    **dict.fromkeys(("view", "_unsafe_view", "reshape"), _view),
    **dict.fromkeys(("native_batch_norm", "native_group_norm", "native_layer_norm"), first_joins),
    **dict.fromkeys(("_native_batch_norm_legit", "_native_batch_norm_legit_no_training"), first_joins),
    **dict.fromkeys(("cudnn_batch_norm", "miopen_batch_norm", "_fused_rms_norm"), first_joins),
    **dict.fromkeys(("expand", "hardswish", "_prelu_kernel", "detach", "alias", "_to_copy", "copy"), elementwise_joins),
}  # fmt: skip

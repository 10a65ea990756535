"""Where the time of a training step goes: operations that torch's profiler has seen, named in words.

A convolution's backward pass has the shape of its weight among its inputs, by which its layer is found; layers of one
shape are told together.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

WORDS = (  # the first that is found in an operation's name
    (r"conv\w*_backward|convolution_backward", "convolution backward"),
    (r"conv", "convolution"),
    (r"batch_norm\w*_backward", "batch norm backward"),
    (r"batch_norm", "batch norm"),
    (r"(layer|group|rms)_norm\w*_backward", "normalisation backward"),
    (r"(layer|group|rms)_norm", "normalisation"),
    (r"(scaled_dot_product|flash|efficient)\w*_backward", "attention backward"),
    (r"scaled_dot_product|flash_attention|efficient_attention", "attention"),
    (r"lstm|gru|rnn", "recurrent layers"),
    (r"^aten::(mm|addmm|bmm|baddbmm|mv|addmv|linear|matmul)\b|gemm", "matrix products"),
    (r"_fused_(adam|sgd|adagrad)|_foreach|Optimizer\.", "optimiser"),
    (r"softmax|nll_loss|cross_entropy", "softmax and loss"),
    (r"embedding", "embedding"),
    (r"pool", "pooling"),
    (r"relu|threshold|clamp|gelu|silu|sigmoid|tanh|hardtanh|hardswish", "activations"),
    (r"dropout|bernoulli|random|uniform|normal_", "random numbers"),
    (r"copy_|clone|contiguous|::cat\b|index|gather|scatter|fill_|zero_|pad", "copies"),
    (r"^aten::(add|mul|div|sub|sum|mean|norm|linalg|pow|sqrt|rsub|exp|log|neg|lerp|where|maximum|minimum)", "sums"),
)
SHOWN = 6  # kinds of operations that the sentence names
LAYERS = 3  # layers of each that it names


@dataclass
class HotSpot:
    """One kind of operation.

    Attributes:
        words: what it is.
        share: of the time of all operations, from 0 to 1.
        layers: those whose operations take most of it, each with its share of all time.
    """

    words: str
    share: float
    layers: list[tuple[str, float]] = field(default_factory=list)


def words_for(operation: str) -> str:
    """A kind of operation.

    >>> words_for("aten::convolution_backward"), words_for("aten::mkldnn_convolution"), words_for("aten::addmm")
    ('convolution backward', 'convolution', 'matrix products')
    """
    return next((words for pattern, words in WORDS if re.search(pattern, operation)), "others")


def hot_spots(events: Iterable[Any], weights: Mapping[str, tuple[int, ...]]) -> list[HotSpot]:
    """The kinds of operations, that which takes most first.

    Args:
        events: of `profile(record_shapes=True).key_averages(group_by_input_shape=True)`.
        weights: shapes of a network's parameters by name.
    """
    found, total = list(events), 0.0
    on_device = any(event.self_device_time_total for event in found)
    spots: dict[str, HotSpot] = {}
    layers: dict[tuple[str, str], float] = {}
    for event in found:
        time = event.self_device_time_total if on_device else event.self_cpu_time_total
        total += time
        words = words_for(event.key)
        spots.setdefault(words, HotSpot(words, 0.0)).share += time
        if layer := layer_of(event.input_shapes, weights):
            layers[words, layer] = layers.get((words, layer), 0.0) + time
    for (words, layer), time in sorted(layers.items(), key=lambda item: -item[1]):
        if len(spots[words].layers) < LAYERS:
            spots[words].layers.append((layer, time / max(total, 1e-9)))
    for spot in spots.values():
        spot.share /= max(total, 1e-9)
    return sorted(spots.values(), key=lambda spot: -spot.share)


def layer_of(shapes: Iterable[Any], weights: Mapping[str, tuple[int, ...]]) -> str:
    """The layer whose weight, or its transpose, is among the inputs of an operation; "" where none is.

    >>> layer_of([[8, 4], [4, 3]], {"a.weight": (3, 4), "b.weight": (3, 4)})
    'a and 1 like it'
    """
    for shape in shapes:
        size = tuple(shape) if isinstance(shape, list | tuple) and all(isinstance(n, int) for n in shape) else ()
        if len(size) < 2:
            continue
        same = [name.rpartition(".")[0] for name, own in weights.items() if size in (own, own[::-1])]
        if same:
            return same[0] + (f" and {len(same) - 1} like it" if len(same) > 1 else "")
    return ""


def sentence(spots: Iterable[HotSpot]) -> str:
    """As in `convolution backward 41 %, batch norm 12 %`."""
    return ", ".join(f"{spot.words} {100 * spot.share:.0f} %" for spot in list(spots)[:SHOWN] if spot.share >= 0.005)

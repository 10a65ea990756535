"""A network layer by layer: shapes, parameters, multiply-accumulates, and what of the image each layer sees."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from .operations import flops_of, recurrent_flops
from .receptive_field import (
    JOINS,
    Arguments,
    Known,
    attention_joins,
    convolution_joins,
    elementwise_joins,
    first_joins,
    select_joins,
    split_joins,
)
from .tracks import Factor, Span, Track, merge, plain


@dataclass(frozen=True)
class Row:
    """One call of a layer; calls that differ in nothing but their number are one row.

    Attributes:
        name: dotted, as in the state dict; empty for the network itself.
        kind: the class.
        output: shape of the output without the batch axis; None where the layer was not called or gave no tensor.
        parameters: the layer's own, each counted where it is first met.
        macs: multiply-accumulates of the matrix products and convolutions of the forward pass, for the given batch.
        field: height and width of the receptive field in pixels; None where there is no image.
        stride: pixels from one position to the next, down and across; None where there are no positions.
        whole: whether each position depends on the whole image, pooled or attended to; so count positions that can no
            longer be told apart, as behind an operation that is not known here.
    """

    name: str
    kind: str
    output: tuple[int, ...] | None
    parameters: int
    macs: int
    field: tuple[int, int] | None = None
    stride: tuple[Fraction, Fraction] | None = None
    whole: bool = False


class Calls(TorchDispatchMode):
    """Watches a forward pass: which operation belongs to which layer, and what it joins."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = {module: name for name, module in network.named_modules()}
        self.tracks: Any = WeakTensorKeyDictionary()
        self.sizes: tuple[int, ...] = ()
        self.active: list[tuple[nn.Module, int]] = []  # layers that are computing, and what they have multiplied so far
        self.rows: list[Row] = []
        self.counted: set[int] = set()

    def begin(self, inputs: Sequence[Any]) -> None:
        """Follow images `b c h w`; tokens and vectors have no pixels."""
        for x in inputs:
            if isinstance(x, Tensor) and x.ndim == 4 and x.is_floating_point():
                self.sizes = tuple(x.shape[2:])
                dims = (*map(plain, x.shape[:2]), (Factor(x.shape[2], 0, 1),), (Factor(x.shape[3], 1, 1),))
                self.tracks[x] = Track((Span((0,), (0,), 1),) * 2, dims)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        names = [argument.name for argument in func._schema.arguments]
        a = {argument.name: argument.default_value for argument in func._schema.arguments}
        a |= dict(zip(names, args, strict=False)) | (kwargs or {})
        operation = func._schema.name.removeprefix("aten::")
        if not operation.startswith("__"):
            operation = operation.rstrip("_") or operation
        if self.active and not isinstance(self.active[-1][0], nn.RNNBase):  # which has kernels of its own
            module, macs = self.active[-1]
            self.active[-1] = module, macs + flops_of(func, args, kwargs or {}, out) // 2
        known: Known = {}
        for name, value in a.items():
            for i, x in enumerate(value if isinstance(value, list | tuple) else [value]):
                if isinstance(x, Tensor) and x in self.tracks:
                    known[f"{name} {i}" if isinstance(value, list | tuple) else name] = self.tracks[x]
        if known:
            self.follow(func, operation, known, a, out)
        return out

    def follow(self, func: Any, operation: str, known: Known, a: Arguments, out: Any) -> None:
        outputs = [x for x in (out if isinstance(out, list | tuple) else [out]) if isinstance(x, Tensor)]
        join = JOINS.get(operation, elementwise_joins if torch.Tag.pointwise in func.tags else None)
        if operation.startswith("_scaled_dot_product"):
            join = attention_joins
        found: list[Track] = []
        try:
            if join is not None and outputs:
                joined = join(known, a, out if join in (split_joins, select_joins) else outputs[0])
                found = joined if isinstance(joined, list) else [joined] * len(outputs)
                if join in (convolution_joins, first_joins) and len(known) > 1:  # weights that depend on the image, too
                    others = [track.lost((1,) * outputs[0].ndim) for name, track in known.items() if name != "input"]
                    found = [merge([found[0], *others], outputs[0].shape)] * len(outputs)
        except Exception:  # a form of the operation that is not known here
            found = []
        for i, x in enumerate(outputs):
            if i < len(found) and found[i].shape == tuple(x.shape):
                self.tracks[x] = found[i]
            else:  # nothing is assumed: each number may depend on all
                self.tracks[x] = merge([track.lost(x.shape) for track in known.values()], x.shape)

    def enter(self, module: nn.Module, *_: Any) -> None:
        self.active.append((module, 0))

    def leave(self, module: nn.Module, given: Any, out: Any) -> None:
        _, macs = self.active.pop()
        if isinstance(module, nn.RNNBase):
            macs = recurrent_flops(module, given[0]) // 2
        own = [p for p in module.parameters(recurse=False) if id(p) not in self.counted]
        if isinstance(module, nn.Identity) or not (own or macs or is_leaf(module)):
            return
        self.counted |= set(map(id, own))
        found = first_tensor(out)
        row = Row(
            name=self.names[module],
            kind=type(module).__name__,
            output=None if found is None else tuple(found.shape[1:]),
            parameters=sum(p.numel() for p in own),
            macs=macs,
        )
        if found is not None and found in self.tracks:
            row = self.seen(row, self.tracks[found])
        for i, old in enumerate(self.rows):
            if replace(old, parameters=0, macs=0) == replace(row, parameters=0, macs=0):
                self.rows[i] = replace(old, macs=old.macs + row.macs)
                return
        self.rows.append(row)

    def seen(self, row: Row, track: Track) -> Row:
        """The row with what its output depends on."""
        spans = track.spans
        whole = all(
            not s.shift and s.first[0] <= 0 and s.last[0] >= n - 1 for s, n in zip(spans, self.sizes, strict=True)
        )
        strides = [Fraction(s.shift, len(s.first)) for s in spans]
        return replace(
            row, field=(spans[0].size, spans[1].size), whole=whole,
            stride=(strides[0], strides[1]) if any(strides) else None,
        )  # fmt: skip


def is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def first_tensor(out: Any) -> Tensor | None:
    """The output itself, or the first one of several."""
    if isinstance(out, Tensor):
        return out
    inside = out.values() if isinstance(out, dict) else out if isinstance(out, list | tuple) else ()
    return next((found for found in map(first_tensor, inside) if found is not None), None)


@contextmanager
def _watched(network: nn.Module, enter: Callable[..., None], leave: Callable[..., None]) -> Iterator[None]:
    handles = []
    for module in network.modules():
        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def layer_table(network: nn.Module, inputs: tuple[Any, ...]) -> list[Row]:
    """The layers in the order in which they come to their output, in eval mode; then those that were not called.

    A layer is a module without children, or one that multiplies or has parameters itself. On the meta device nothing is
    computed. Receptive fields are of images, inputs of shape `b c h w`.

    Args:
        network: on any device; its modes are as before afterwards.
        inputs: of the network's `forward`, on the same device.
    """
    modes = {module: module.training for module in network.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    calls = Calls(network)
    try:
        network.eval()
        torch.backends.mha.set_fastpath_enabled(False)  # one operation for a whole layer, which could not be counted
        with torch.no_grad(), _watched(network, calls.enter, calls.leave):
            calls.begin(inputs)
            with calls:
                network(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, mode in modes.items():
            module.training = mode
    for name, module in network.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in calls.counted]
        if own:
            calls.counted |= set(map(id, own))
            calls.rows.append(Row(name, type(module).__name__, None, sum(p.numel() for p in own), 0))
    return calls.rows


def failing_layer(network: nn.Module, inputs: tuple[Any, ...]) -> str | None:
    """The innermost module whose forward raises, as in "features.16 (MaxPool2d) gets 512x1x1".

    Args:
        network: best on the meta device, where nothing is computed; in its present mode. Elsewhere a network in train
            mode would update its running statistics.
        inputs: of the network's `forward`, on the same device.

    Returns:
        None where nothing fails.
    """
    names = {module: name for name, module in network.named_modules()}
    active: list[tuple[nn.Module, Any]] = []

    def enter(module: nn.Module, given: Any) -> None:
        active.append((module, given))

    def leave(*_: Any) -> None:
        active.pop()

    try:
        with torch.no_grad(), _watched(network, enter, leave):
            network(*inputs)
    except Exception:
        module, given = active[-1] if active else (network, inputs)
        shapes = [shape_text(tuple(x.shape[1:])) for x in given if isinstance(x, Tensor)]
        name = names[module]
        kind = type(module).__name__
        return f"{f'{name} ({kind})' if name else kind} gets {' and '.join(shapes) or 'no tensor'}"
    return None


def shape_text(shape: tuple[int, ...]) -> str:
    """64x112x112; a sample that is one number is 1."""
    return "x".join(map(str, shape)) or "1"

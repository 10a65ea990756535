"""A network layer by layer: shapes, parameters, multiply-accumulates, and what of the image each layer sees."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import rich
import torch
from omegaconf import ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary
from yaml import YAMLError

from .errors import UserError
from .receptive_field import (
    JOINS,
    Arguments,
    Factor,
    Known,
    Span,
    Track,
    attention_joins,
    convolution_joins,
    elementwise_joins,
    first_joins,
    merge,
    plain,
    select_joins,
    split_joins,
)
from .zoo import config_text, create_model, list_models, model_card, nearest

SIZES = ("image_size", "in_channels", "num_classes", "vocab_size", "width", "dim")  # of which none can be 0
COLUMNS = ("layer", "kind", "output", "parameters", "multiply-accumulates", "receptive field", "stride")


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


def multiply_accumulates(operation: str, a: Arguments, out: Any) -> int:
    """Of one operation, by its formula; elementwise work and pooling count as nothing, as is usual."""
    if operation == "convolution":
        maps = a["input"] if a["transposed"] else out
        return maps.numel() * a["weight"][0].numel()  # type: ignore[no-any-return]
    if operation == "mm":
        return out.numel() * a["self"].shape[-1]  # type: ignore[no-any-return]
    if operation == "bmm":
        return out.numel() * a["self"].shape[-1]  # type: ignore[no-any-return]
    if operation == "addmm":
        return out.numel() * a["mat1"].shape[-1]  # type: ignore[no-any-return]
    if operation == "baddbmm":
        return out.numel() * a["batch1"].shape[-1]  # type: ignore[no-any-return]
    if operation.startswith("_scaled_dot_product"):  # a product with the keys, one with the values
        query, key, value = a["query"], a["key"], a["value"]
        return query.numel() // query.shape[-1] * key.shape[-2] * (key.shape[-1] + value.shape[-1])  # type: ignore[no-any-return]
    return 0


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
            self.active[-1] = module, macs + multiply_accumulates(operation, a, out)
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
            macs = recurrent_macs(module, given[0])
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


def recurrent_macs(network: nn.RNNBase, x: Any) -> int:
    """Each step of each sequence multiplies once by every weight matrix (gates and projections of all layers)."""
    steps = x.data.shape[0] if isinstance(x, nn.utils.rnn.PackedSequence) else x.numel() // x.shape[-1]
    return int(steps * sum(p.numel() for p in network.parameters() if p.ndim == 2))


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


def show(arguments: list[str]) -> None:
    """Print the layers of a network of the zoo, and totals.

    Args:
        arguments: the network's name; then `data=NAME`, whose declared sizes it gets, and KEY=VALUE with arguments of
            the network's class or, as `data.KEY=VALUE`, of the data.

    Raises:
        UserError: there is no such network, data or key, or the network cannot have these sizes; of a layer that fails
            it names the first.
    """
    name, values = read_arguments(arguments)
    try:
        network, inputs, rows = _computed(name, values, "meta")
    except NotImplementedError:  # an operation has no shape rule
        with torch.random.fork_rng(devices=[]):
            network, inputs, rows = _computed(name, values, "cpu")
    print_rows(rows)
    print_totals(network, inputs, rows)


def _computed(name: str, values: dict[str, Any], device: str) -> tuple[nn.Module, tuple[Tensor, ...], list[Row]]:
    """The network, an input of one sample, and the layers."""
    try:
        with torch.device(device):
            network: Any = create_model(name, **values)
            inputs = network.example_input(1)
    except NotImplementedError:
        raise
    except (ValueError, TypeError, RuntimeError, AssertionError) as error:
        raise (
            error if isinstance(error, UserError) else UserError(f"{name} cannot have these sizes: {_sentence(error)}")
        ) from error
    try:
        return network, inputs, layer_table(network, inputs)
    except NotImplementedError:
        raise
    except Exception as error:
        layer = failing_layer(network.eval(), inputs)
        if layer is None:
            raise
        raise UserError(
            f"{name} cannot take inputs of {shape_text(tuple(inputs[0].shape[1:]))}: {layer}, which fails "
            f"({_sentence(error)}); sizes that work are those of data={model_card(name).data}"
        ) from error


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def read_arguments(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The network's name, and all arguments of its class that are not those of the published size.

    Raises:
        UserError: a word is wrong; the nearest right one is said.
    """
    words = [word.removeprefix("model=") for word in arguments]
    names = [word for word in words if "=" not in word]
    if len(names) != 1:
        example = "torchatlas show resnet18 data=cifar10"
        raise UserError(f"{'there are two names' if names else 'name a network'}: type one, as in {example}")
    (name,) = names
    if name not in list_models():
        raise UserError(f"there is no model {name!r}{nearest(name, list_models())}")
    given = {
        key.removeprefix("model."): _value(key, text) for key, text in (w.split("=", 1) for w in words if "=" in w)
    }
    config: Any = OmegaConf.create(config_text("model", name))
    asked = OmegaConf.to_container(config.model)
    assert isinstance(asked, dict)
    known = [str(key) for key in asked if key != "_target_"]
    of_data = {key.removeprefix("data."): given.pop(key) for key in list(given) if key.startswith("data.")}
    data = given.pop("data", model_card(name).data if of_data else None)
    declared = _declaration(name, str(data), of_data, str(asked)) if data is not None else {}
    for key, value in given.items():
        if key not in known:
            raise UserError(f"{name} has no argument {key!r}{nearest(key, [*known, 'data'])}")
        if key in SIZES and isinstance(value, int) and value < 1:
            raise UserError(f"{key}={value} must be positive, as in {key}=32")
        _require_kind(key, value, OmegaConf.create({"model": config.model}).model[key])
    resolved: Any = OmegaConf.to_container(OmegaConf.create({"data": declared, "model": config.model}), resolve=True)
    values = {key: value for key, value in resolved["model"].items() if key != "_target_"}
    return name, values | given


def _value(key: str, text: str) -> Any:
    """A value as YAML has it."""
    try:
        value: Any = OmegaConf.create(f"value: {text}").value
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{key}={text} cannot be read: write a number, a word or a list, as in depths=[2,2]") from error
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _require_kind(key: str, value: Any, old: Any) -> None:
    """Refuse a text where a number is meant, and the like."""
    kinds: tuple[tuple[Any, Any, str], ...] = ((bool, bool, "true or false"), (int, int, "a whole number"),
        (float, int | float, "a number"), (str, str, "a word"), (ListConfig, list, "a list"))  # fmt: skip
    for kind, accepted, meant in kinds:
        if isinstance(old, kind):
            if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
                example = str(old).lower().replace(" ", "")
                raise UserError(f"{key}={value} must be {meant}, as in {key}={example}")
            return


def _declaration(name: str, data: str, overrides: dict[str, Any], asked: str) -> dict[str, Any]:
    """What a data set tells networks of its sizes."""
    text = config_text("data", data)
    if "${count_" in text:
        from .building import register_resolvers  # brings Lightning with it

        register_resolvers()
    config: Any = OmegaConf.create(text)
    for key, value in overrides.items():
        if key not in config:
            raise UserError(f"data={data} has no key {key!r}{nearest(key, [k for k in config if k != '_target_'])}")
        old = None if OmegaConf.is_interpolation(config, key) else config[key]
        _require_kind(f"data.{key}", value, old)
        config[key] = value
    wanted = [key for key in config if f"data.{key}" in asked]
    if not wanted:
        raise UserError(f"data={data} has no sizes for {name}: try data={model_card(name).data}")
    resolved: Any = OmegaConf.create({"data": config, "seed": 0})
    try:
        return {key: resolved.data[key] for key in wanted}
    except OmegaConfBaseException as error:
        raise error.__cause__ if isinstance(error.__cause__, UserError) else error from None


def cells(row: Row) -> tuple[str, ...]:
    """A row as it is printed."""

    def pair(values: tuple[Any, Any]) -> str:
        return str(values[0]) if values[0] == values[1] else f"{values[0]}x{values[1]}"

    return (
        row.name, row.kind, "not called" if row.output is None else shape_text(row.output), f"{row.parameters:,}",
        f"{row.macs:,}", "" if row.field is None else "all" if row.whole else pair(row.field),
        "" if row.stride is None else pair(row.stride),
    )  # fmt: skip


def print_rows(rows: Sequence[Row]) -> None:
    """A table in a terminal, aligned lines elsewhere."""
    console = rich.get_console()
    shown = [cells(row) for row in rows]
    if console.is_terminal:
        table = Table()
        for i, column in enumerate(COLUMNS):
            table.add_column(column, justify="left" if i < 3 else "right")
        for line in shown:
            table.add_row(*map(Text, line))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(COLUMNS, *shown, strict=True)]
    for line in (COLUMNS, *shown):
        words = (f"{w:<{n}}" if i < 3 else f"{w:>{n}}" for i, (w, n) in enumerate(zip(line, widths, strict=True)))
        print("  ".join(words).rstrip())


def print_totals(network: nn.Module, inputs: tuple[Tensor, ...], rows: Sequence[Row]) -> None:
    """Sums, for one sample."""
    tensors = [*network.parameters(), *network.buffers()]
    size = sum(t.numel() * t.element_size() for t in tensors)
    lines = [
        ("input", f"{' and '.join(shape_text(tuple(x.shape[1:])) for x in inputs)}, one sample"),
        ("parameters", f"{sum(row.parameters for row in rows):,}"),
        ("weights", f"{size / 1e6:,.1f} MB in memory, buffers included"),
        ("forward pass", f"{sum(row.macs for row in rows) / 1e9:,.4g} GMAC"),
    ]
    seen = [row for row in rows if row.kind.startswith("Conv") and row.field is not None]
    if seen:
        widest = max(reversed(seen), key=lambda row: (row.whole, not row.whole and row.field))
        lines.append(("receptive field", f"{cells(widest)[5]} pixels, the largest of a convolution ({widest.name})"))
    for label, text in lines:
        print(f"{label:<17} {text}")

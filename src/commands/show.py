"""A network layer by layer: shapes, parameters, multiply-accumulates, and what of the image each layer sees."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from omegaconf import ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn
from yaml import YAMLError

from ..analysis.layers import Row, failing_layer, layer_table, shape_text
from ..errors import UserError, nearest
from ..models.contract import Exemplified
from ..run.console import print_table
from ..zoo import config_text, create_model, model_card

SIZES = ("image_size", "in_channels", "num_classes", "vocab_size", "width", "dim")  # of which none can be 0
COLUMNS = ("layer", "kind", "output", "parameters", "multiply-accumulates", "receptive field", "stride")


def show(model: str, /, *words: str, data: str | None = None) -> None:
    """The layers of a network: shape, parameters, multiply-accumulates and receptive field of each.

    Args:
        model: the network's name.
        words: arguments of the network's class, as in image_size=32 num_classes=10, and as data.KEY=VALUE of the data.
        data: data set whose declared sizes the network gets; else those of the published network.

    Raises:
        UserError: the network has no such argument, the data no such key, or it cannot have these sizes; of a layer
            that fails it names the first.

    Examples:
        torchatlas show resnet18 data=cifar10
        torchatlas show resnet18 image_size=32 num_classes=10
    """
    values = arguments_of(model, words, data)
    of_data = partial(_example, model, data, words)
    try:
        network, inputs, rows = _computed(model, values, "meta", of_data)
    except NotImplementedError:  # an operation has no shape rule
        with torch.random.fork_rng(devices=[]):
            network, inputs, rows = _computed(model, values, "cpu", of_data)
    print_table(COLUMNS, list(map(cells, rows)), right=range(3, len(COLUMNS)))
    card = model_card(model)
    print(f"{'file':<17} {card.file}\n{'paper':<17} {card.paper}")
    print_totals(network, inputs, rows)


def _example(model: str, data: str | None, words: Sequence[str]) -> tuple[Tensor, ...]:
    """The input that the data give a network of the user's own, which says nothing of it."""
    from ..run.build import build_data  # bring Lightning with them
    from ..run.compose import composed

    chosen = [f"data={data}"] if data is not None else []
    config = composed([f"model={model}", *chosen, *(word for word in words if word.startswith("data."))]).plain()
    return (build_data(config["data"]).example_batch(1)[0],)


def _computed(
    name: str, values: dict[str, Any], device: str, of_data: Callable[[], tuple[Tensor, ...]]
) -> tuple[nn.Module, tuple[Tensor, ...], list[Row]]:
    """The network, an input of one sample, and the layers."""
    try:
        with torch.device(device):
            network = create_model(name, **values)
            inputs = network.example_input(1) if isinstance(network, Exemplified) else of_data()
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


def arguments_of(name: str, words: Sequence[str], data: str | None = None) -> dict[str, Any]:
    """All arguments of a network's class: those that are given, those that the data declare, those published.

    Raises:
        UserError: a word is wrong; the nearest right one is said.
    """
    given = {key.removeprefix("model."): _value(key, text) for key, text in (word.split("=", 1) for word in words)}
    config: Any = OmegaConf.create(config_text("model", name))
    config = config if "model" in config else OmegaConf.create({"model": config})  # see `zoo.create_model`
    asked = OmegaConf.to_container(config.model)
    assert isinstance(asked, dict)
    known = [str(key) for key in asked if key not in ("_target_", "defaults")]
    of_data = {key.removeprefix("data."): given.pop(key) for key in list(given) if key.startswith("data.")}
    data = data or (model_card(name).data if of_data else None)
    declared = _declaration(name, data, of_data, str(asked)) if data is not None else {}
    for key, value in given.items():
        if key not in known:
            raise UserError(f"{name} has no argument {key!r}{nearest(key, [*known, 'data'])}")
        if key in SIZES and isinstance(value, int) and value < 1:
            raise UserError(f"{key}={value} must be positive, as in {key}=32")
        _require_kind(key, value, OmegaConf.create({"model": config.model}).model[key])
    resolved: Any = OmegaConf.to_container(OmegaConf.create({"data": declared, "model": config.model}), resolve=True)
    values = {key: value for key, value in resolved["model"].items() if key in known}
    return values | given


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
    if "${declared:" in text:
        from ..run.compose import register_resolvers  # brings Lightning with it

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

"""What is in the zoo: read from the config files, without Hydra, Lightning or torch."""

import functools
import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from .errors import UserError, nearest

if TYPE_CHECKING:
    from torch import nn

GROUPS = (
    "model", "data", "augment", "task", "optim", "schedule", "trainer", "callbacks", "logger", "experiment", "debug",
)  # fmt: skip


@dataclass(frozen=True)
class ModelCard:
    """What a model's YAML says of the published network.

    Attributes:
        name: as in `model=<name>`.
        paper: the network's full name and where it was published.
        parameters: at the published size.
        task, data: the defaults, as in `task=<task> data=<data>`.
    """

    name: str
    paper: str
    parameters: int
    task: str
    data: str


def config_text(group: str, name: str) -> str:
    """The YAML file of one choice.

    Raises:
        UserError: there is none of that name; the nearest one is said.
    """
    if name not in options(group):
        raise UserError(f"there is no {group} {name!r}{nearest(name, options(group))}")
    return files("torchatlas.configs").joinpath(group, f"{name}.yaml").read_text(encoding="utf-8")


def options(group: str) -> list[str]:
    """Names of the choices of a group, numbers inside them in numeric order."""
    return list(_options(group))


@functools.cache
def _options(group: str) -> tuple[str, ...]:
    names = [p.name[:-5] for p in files("torchatlas.configs").joinpath(group).iterdir() if p.name.endswith(".yaml")]
    return tuple(sorted(names, key=lambda name: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", name)]))


def config_keys() -> list[str]:
    """What stands alone at the left of a word of training: the groups, and the keys that are in none.

    >>> {"model", "seed", "weights"} <= set(config_keys())
    True
    """
    keys = re.findall(r"^(\w+):", _first_text(), re.MULTILINE)
    return [*GROUPS, *(key for key in keys if key not in ("defaults", "hydra"))]


def _first_text() -> str:
    return files("torchatlas.configs").joinpath("train.yaml").read_text(encoding="utf-8")


def chosen(words: Sequence[str]) -> dict[str, str]:
    """The choice of each group by words of training: what is typed, what that brings with it, or else the default.

    >>> chosen(["model=lstm_lm", "optim=sgd"])["data"], chosen([])["data"]
    ('pydoc', 'digits')
    """
    found = dict(pair for pair in (word.split("=", 1) for word in words if "=" in word) if pair[0] in GROUPS)
    first = dict(re.findall(r"^  - (\w+): (\w+)$", _first_text(), re.MULTILINE))
    for group in ("experiment", "model", "task"):
        name = found.get(group, first[group])
        if name in options(group):
            found = dict(re.findall(r"override /(\w+): (\w+)", config_text(group, name))) | found
    return {group: name for group, name in (first | found).items() if group in GROUPS and name in options(group)}


def settings(words: Sequence[str]) -> list[str]:
    """Keys inside the groups that words of training choose, as in optim.lr.

    >>> {"optim.lr", "optim.weight_decay", "data.batch_size", "trainer.max_epochs"} <= set(settings(["optim=sgd"]))
    True
    """
    return list(dict.fromkeys(key for group, name in chosen(words).items() for key in _settings(group, name)))


def _settings(group: str, name: str) -> list[str]:
    """Those of one choice, and of the choice that it begins with."""
    text = config_text(group, name)
    found: list[str] = []
    bases = [base for base in re.findall(r"^  - (\w+)$", text, re.MULTILINE) if base in options(group)]
    package = match[1] if (match := re.search(r"@package ([a-z_.]+)$", text, re.MULTILINE)) else group
    path = [(-1, "" if package == "_global_" else f"{package}.")]  # the sections around a line, by their indent
    for indent, key, value in re.findall(r"^( *)([a-z]\w*):(.*)$", text, re.MULTILINE):
        while path[-1][0] >= len(indent):
            path.pop()
        path.append((len(indent), f"{path[-1][1]}{key}."))
        if value.strip() and not value.startswith(" ${"):  # a section, or what follows another key
            found.append(path[-1][1][:-1])
    return list(dict.fromkeys([key for base in bases for key in _settings(group, base)] + found))


def headline(group: str, name: str) -> str:
    """The first line of comment, which says in one sentence what the choice is."""
    lines = config_text(group, name).splitlines()
    comment = next(line for line in lines if line.startswith("# ") and not line.startswith("# @package"))
    return comment[2:]


def model_card(name: str) -> ModelCard:
    """What is known of a model; see `ModelCard`."""
    text = config_text("model", name)

    def find(pattern: str) -> str:
        match = re.search(pattern, text, re.MULTILINE)
        if match is None:
            raise ValueError(f"configs/model/{name}.yaml has no line like {pattern}")
        return match[1]

    return ModelCard(
        name=name,
        paper=headline("model", name),
        parameters=int(find(r"^# ([\d,]+) parameters").replace(",", "")),
        task=find(r"override /task: (\w+)"),
        data=find(r"override /data: (\w+)"),
    )


def list_models() -> list[str]:
    """Names that `create_model` and `model=` take."""
    return options("model")


def create_model(name: str, **overrides: Any) -> "nn.Module":
    """A network of the zoo with new weights.

    Args:
        name: one of `list_models()`.
        overrides: arguments of the network's class in place of the published size's, e.g. `num_classes=10`.

    Returns:
        The network, in train mode, on torch's default device.

    Raises:
        UserError: no such model or argument.
        ValueError: the network cannot have that size.
    """
    from omegaconf import OmegaConf

    config = OmegaConf.create(config_text("model", name))
    arguments: Any = OmegaConf.to_container(config.model, resolve=True)
    target = arguments.pop("_target_")
    for key in overrides:
        if key not in arguments:
            raise UserError(f"{name} has no argument {key!r}{nearest(key, list(arguments))}")
    module, _, attribute = target.rpartition(".")
    network: nn.Module = getattr(importlib.import_module(module), attribute)(**{**arguments, **overrides})
    return network

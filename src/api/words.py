"""Arguments of Python as words of the command line: `optim__lr=0.1` is `optim.lr=0.1`."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from ..errors import UserError, nearest
from ..run.quoting import quoted
from ..zoo import options


def words_of(given: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """The words of a command line.

    Args:
        given: words as they are, of which one may be the name of a model or an experiment alone.
        settings: keys with two underscores for each point, and their values.

    Raises:
        UserError: a word that is none, or a value that no config can have.

    >>> words_of(["resnet18", "seed=1"], {"data": "cifar10", "optim__lr": 0.1, "data__flip": True, "augment": None})
    ['model=resnet18', 'seed=1', 'data=cifar10', 'optim.lr=0.1', 'data.flip=true', 'augment=null']
    """
    words = [
        word if isinstance(word, str) and ("=" in word or word.startswith(("-", "~"))) else choice(word)
        for word in given
    ]
    return words + [word_of(key.replace("__", "."), value) for key, value in settings.items()]


def choice(name: Any) -> str:
    """The word that chooses a model or an experiment by its name.

    Raises:
        UserError: there is none of that name.
    """
    if isinstance(name, torch.nn.Module):
        raise UserError(
            "a network is no word: give the name of one, or write a config for its class (docs/own_package.md)"
        )
    if not isinstance(name, str):
        raise UserError(f"a {type(name).__name__} is no word: give names of the zoo, as in train('resnet18', 'seed=1')")
    for group in ("model", "experiment"):
        if name in options(group):
            return f"{group}={name}"
    raise UserError(f"there is no model {name!r}{nearest(name, [*options('model'), *options('experiment')])}")


def word_of(key: str, value: Any) -> str:
    """A key and its value as one word; texts are quoted where that is needed.

    Raises:
        UserError: no config can have such a value.
    """
    return f"{key}={_written(value, key)}"


def _written(value: Any, key: str) -> str:
    if isinstance(value, np.generic | np.ndarray | torch.Tensor):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, os.PathLike):
        return _text(os.fspath(value))
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_written(entry, key)}" for name, entry in value.items()) + "}"
    if isinstance(value, list | tuple | set | range):
        return "[" + ",".join(_written(entry, key) for entry in value) + "]"
    raise UserError(f"{key}= is a {type(value).__name__}, and values are numbers, texts, lists, true, false or null")


def _text(value: str) -> str:
    """As on the command line, where 5 is a number and [a,b] a list; quoted where Hydra would not take it so."""
    try:
        if not OverridesParser.create().parse_override(f"x={value}").is_sweep_override():
            return value
    except HydraException:
        pass
    return quoted(value)

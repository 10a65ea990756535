"""What many test files use: small networks and data of each config."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from torchatlas.data.base import DataModule
from torchatlas.zoo import config_text, options

pytest.register_assert_rewrite(*(f"helpers.{m.name}" for m in pkgutil.iter_modules(__path__)))

REPOSITORY = Path(__file__).parents[2]
Train = Callable[..., Path]


def data_class(data_name: str) -> type[DataModule]:
    """The class of a data set; a config that changes another one has it from there."""
    config = OmegaConf.create(config_text("data", data_name))
    return class_of(config._target_) if "_target_" in config else data_class(config.defaults[0])


def without_files(data_name: str) -> list[str]:
    """Overrides with which a data set runs without files, and small."""
    return [f"data.{key}={value}".lower() for key, value in data_class(data_name).small().items()]


def small_data(data_name: str) -> list[str]:
    """The same, with short texts and sequences."""
    length = data_class(data_name).length_option
    return [*without_files(data_name), *([f"data.{length}=16"] if length else [])]


def model_for(data_name: str) -> str:
    """A model that takes any sizes of such data."""
    return data_class(data_name).network


def one_of_each() -> list[str]:
    """Models that differ when they are tiny: one name where configs differ in sizes only."""
    found: dict[Any, str] = {}
    for name in options("model"):
        config = OmegaConf.create(config_text("model", name)).model
        choices = {key: config[key] for key in config if not OmegaConf.is_interpolation(config, key)}
        kind = tuple(sorted((k, str(v)) for k, v in choices.items() if isinstance(v, str | bool)))
        found.setdefault(kind, name)
    return list(found.values())


def one_of_each_class() -> list[str]:
    """One model of each class of networks."""
    found: dict[str, str] = {}
    for name in options("model"):
        found.setdefault(OmegaConf.create(config_text("model", name)).model._target_, name)
    return list(found.values())


def class_of(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def network_class(model_name: str) -> type[torch.nn.Module]:
    return class_of(OmegaConf.create(config_text("model", model_name)).model._target_)


def tiny_arguments(model_name: str) -> dict[str, Any]:
    """The class's small defaults in place of the published sizes; words (kinds of block, ...) and switches stay."""
    config = OmegaConf.create(config_text("model", model_name)).model
    signature = inspect.signature(network_class(model_name)).parameters
    found = {}
    for key in config:
        if key == "_target_" or OmegaConf.is_interpolation(config, key):
            continue
        found[key] = config[key] if isinstance(config[key], str | bool) else signature[key].default
    return found


def tiny_network(model_name: str, **arguments: Any) -> torch.nn.Module:
    return network_class(model_name)(**{**tiny_arguments(model_name), **arguments})


def all_outputs(output: Any) -> tuple[torch.Tensor, ...]:
    """The logits, and in training those of auxiliary heads."""
    return output if isinstance(output, tuple) else (output,)


def tiny_overrides(model_name: str) -> list[str]:
    """The same for the command line."""
    return [
        f"model.{key}={list(value) if isinstance(value, tuple) else value}"
        for key, value in tiny_arguments(model_name).items()
        if not isinstance(value, str | bool)
    ]

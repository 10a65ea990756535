"""What many test files use: small networks and data of each config."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from torchatlas.zoo import config_text, options

pytest.register_assert_rewrite(*(f"helpers.{m.name}" for m in pkgutil.iter_modules(__path__)))

REPOSITORY = Path(__file__).parents[2]
Train = Callable[..., Path]


def without_files(data_name: str) -> list[str]:
    """Overrides with which a data set runs without files, and small: made data, where it reads or makes many."""
    text = config_text("data", data_name)
    made = re.search(r"^(root|(\w+_)?path|train_size|swaps):", text, re.MULTILINE)
    sides = re.findall(r"^(image_size|full_size): \d", text, re.MULTILINE)
    # Masks of 512 pixels take seconds. (And with channels last the backward pass of torch 2.14 ends in a segmentation
    # fault in 1x1 convolutions of stride 2 of at most eight channels and 56 pixels or more, as tiny networks have.)
    smaller = [f"data.{key}=64" for key in sides] if "full_size:" in text else []
    return [*(["data.fake=true"] if made else []), *smaller]


def small_data(data_name: str) -> list[str]:
    """The same, with short texts and sequences."""
    text = config_text("data", data_name)
    shorter = [
        f"data.{key}=16" for key in ("context", "length", "max_length") if re.search(rf"^{key}: \d", text, re.MULTILINE)
    ]
    return [*without_files(data_name), *shorter]


def model_for(data_name: str) -> str:
    """A model that takes any sizes of such data: the one whose YAML asks for what the data declare."""
    text = config_text("data", data_name)
    if "source_vocab_size:" in text:
        return "seq2seq"
    if "targets: masked" in text:
        return "bert_tiny"
    if "vocab_size:" in text and re.search("^targets: (step|span)$", text, re.MULTILINE) and "num_classes:" in text:
        return "bert_tiny"
    if "vocab_size:" in text and "targets: sequence" in text:
        return "lstm"
    if "vocab_size:" in text:
        return "lstm_lm"
    return "mlp" if "image_size:" in text else "lstm"


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


# --- side by side: each worker of pytest-xdist has a core of its own, and so has what it starts


def network_class(model_name: str) -> type[torch.nn.Module]:
    target = OmegaConf.create(config_text("model", model_name)).model._target_
    module, _, attribute = target.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


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

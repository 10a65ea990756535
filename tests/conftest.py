"""Parametrise over the config files, so that a new one is tested by existing."""

import importlib
import inspect
import logging
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from torchatlas.run.compose import register_resolvers
from torchatlas.zoo import config_text, options

REPOSITORY = Path(__file__).parent.parent
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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for group in ("model", "data", "experiment"):
        if f"{group}_name" in metafunc.fixturenames:
            metafunc.parametrize(f"{group}_name", options(group))
    if "tiny_name" in metafunc.fixturenames:
        metafunc.parametrize("tiny_name", one_of_each())
    if "class_name" in metafunc.fixturenames:
        metafunc.parametrize("class_name", one_of_each_class())


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

if "PYTEST_XDIST_WORKER" in os.environ:
    if hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {available[int(os.environ["PYTEST_XDIST_WORKER"][2:]) % len(available)]})
    torch.set_num_threads(1)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many as there are cores for the whole suite; none, which starts faster, for a part of it or on a GPU."""
    part = config.option.keyword or config.args != ["tests"] or "not slow" not in config.option.markexpr
    return 0 if part else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_left_out: Counter[str] = Counter()


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        _left_out["slow" if "slow" in item.keywords else "gpu" if "gpu" in item.keywords else "not chosen"] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(_left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    """Each worker has left out the same."""
    _left_out.update(Counter(getattr(node, "workeroutput", {}).get("left_out", {})) - _left_out)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was left out and why; skipped tests are listed with their reasons by -ra."""
    reasons = {"slow": "take minutes: pytest -m slow", "gpu": "need a CUDA device: pytest -m gpu"}
    for kind, number in _left_out.items():
        terminalreporter.write_line(
            f"left out: {number} {kind} ({reasons.get(kind, 'by the choice on the command line')})"
        )


@pytest.fixture(autouse=True)
def _own_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _resolvers() -> None:
    register_resolvers()


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


@pytest.fixture
def compose() -> Callable[..., DictConfig]:
    from hydra import compose, initialize_config_module

    def composed(*overrides: str) -> DictConfig:
        with initialize_config_module("torchatlas.configs", version_base="1.3"):
            return compose("train", overrides=list(overrides), return_hydra_config=False)

    return composed


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Train]:
    """Run the training program in this process, in an empty folder; returns the run folder it wrote last."""
    from torchatlas.train import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TORCHATLAS_DATA", raising=False)

    def run(*arguments: str) -> Path:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        with warnings.catch_warnings():
            main()
        folders = [p.parent for p in tmp_path.glob("runs/**/config.yaml")]
        return max(folders, key=lambda p: (p / "record.json").stat().st_mtime_ns)

    yield run
    for handler in [h for h in logging.root.handlers if isinstance(h, logging.FileHandler)]:
        handler.close()  # the folder of a refused run is gone, and the next test's warnings would look for it
        logging.root.removeHandler(handler)

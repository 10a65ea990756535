"""Parametrise over the config files, so that a new one is tested by existing; fixtures of many rooms."""

import logging
import os
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Train, one_of_each, one_of_each_class
from omegaconf import DictConfig

from torchatlas import cli, packages
from torchatlas.run.compose import register_resolvers
from torchatlas.train import main
from torchatlas.zoo import options


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for group in ("model", "data", "experiment"):
        if f"{group}_name" in metafunc.fixturenames:
            metafunc.parametrize(f"{group}_name", options(group))
    if "tiny_name" in metafunc.fixturenames:
        metafunc.parametrize("tiny_name", one_of_each())
    if "class_name" in metafunc.fixturenames:
        metafunc.parametrize("class_name", one_of_each_class())


os.environ.pop("UV_RUN_RECURSION_DEPTH", None)  # what a run says to type is the same however the tests were started


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


@pytest.fixture(autouse=True)
def _no_folders_of_the_last_test() -> Iterator[None]:
    """What `--config-dir` names, and modules of a user's own, hold for a process."""
    places = list(sys.path)
    yield
    packages.named.clear()
    packages.installed.cache_clear()
    sys.path[:] = places
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


@pytest.fixture(autouse=True, scope="session")
def _resolvers() -> None:
    register_resolvers()


@pytest.fixture
def compose() -> Callable[..., DictConfig]:
    from hydra import compose, initialize_config_module

    def composed(*overrides: str) -> DictConfig:
        with initialize_config_module("torchatlas.configs", version_base="1.3"):
            return compose("train", overrides=list(overrides), return_hydra_config=False)

    return composed


def close_logs() -> None:
    """The folder of a refused run is gone, and the next test's warnings would look for it."""
    for handler in [h for h in logging.root.handlers if isinstance(h, logging.FileHandler)]:
        handler.close()
        logging.root.removeHandler(handler)


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Train]:
    """Run the training program in this process, in an empty folder; returns the run folder it wrote last."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TORCHATLAS_DATA", raising=False)

    def run(*arguments: str) -> Path:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        with warnings.catch_warnings():
            main()
        folders = [p.parent for p in tmp_path.glob("runs/**/config.yaml")]
        return max(folders, key=lambda p: (p / "record.json").stat().st_mtime_ns)

    yield run
    close_logs()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def run(*arguments: str) -> None:
        monkeypatch.setattr("sys.argv", ["torchatlas", *arguments])
        cli.main()

    return run


@pytest.fixture(scope="session")
def _digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an MLP on digits, trained once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("digits"))
        patch.delenv("TORCHATLAS_DATA", raising=False)
        words = ["trainer.max_epochs=10", "trainer=cpu", "logger=none", "callbacks=default"]
        patch.setattr(sys, "argv", ["train.py", *words])
        with warnings.catch_warnings():
            main()
        close_logs()
        (config,) = Path.cwd().glob("runs/*/*/config.yaml")
        return config.parent


@pytest.fixture
def trained_digits(_digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, for this test alone, under the present folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(_digits_run, tmp_path / "runs" / _digits_run.parent.name / _digits_run.name))

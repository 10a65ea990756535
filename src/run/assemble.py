"""From a config to all that is trained: data, network and task, as one sequence for every command."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.parameter import UninitializedParameter

from ..analysis.modes import predicting
from ..data.base import DataModule
from ..data.contents import Contents
from ..storage.checkpoints import read
from ..tasks.base import Task
from ..training.blocks import recompute
from ..weights import Report
from .build import build_data, build_network, build_task, compile_network
from .check import limits
from .reopen import progress
from .restore import restore
from .weights import begin_with


@dataclass(frozen=True)
class Parts:
    """What a training consists of.

    Attributes:
        data: nothing is read yet.
        network: compiled, where the config says so.
        task: around the network, with its limits; of a resumed run with what lies behind it.
        said: lines for the log: which weights were loaded.
        before: what the data of a run that goes on were, by split; empty where its checkpoint does not say so.
        weights: what was taken from them; None: the network is new, or goes on.
    """

    data: DataModule
    network: nn.Module
    task: Task
    said: list[str] = field(default_factory=list)
    before: Mapping[str, Contents] = field(default_factory=dict)
    weights: Report | None = None


def give_sizes(network: nn.Module, data: DataModule) -> None:
    """Let the lazy layers of a user's network, as `torch.nn.LazyLinear`, find their sizes by an example of the data."""
    if any(isinstance(p, UninitializedParameter) for p in network.parameters()):
        with predicting(network):
            network(data.example_batch(2)[0])


def assemble(
    plain: dict[str, Any], path: Path | None = None, data: DataModule | None = None, beside: Path | None = None
) -> Parts:
    """The parts of a resolved config.

    Args:
        plain: checked, and resolved to plain values.
        path: the checkpoint from which the run goes on.
        data: of this config, where the check has built them, see `check.fits`.
        beside: where there is none, a checkpoint of another run that is to have had the same data.

    Raises:
        UserError: weights that are not there or do not fit, a checkpoint from which no run can go on.
    """
    data = build_data(plain["data"]) if data is None else data
    network = build_network(plain["model"])
    give_sizes(network, data)
    said: list[str] = []
    report = None
    if path is None and plain.get("weights") is not None:
        report, said = begin_with(plain["weights"], network, data)
    behind, before = None, {}
    if path is not None:
        checkpoint = read(path)
        behind = progress(checkpoint, path)
        data.load_state_dict(checkpoint["torchatlas"]["data"])
        before = checkpoint["torchatlas"].get("contents", {})
    elif beside is not None:
        before = read(beside)["torchatlas"].get("contents", {})
    task = build_task(
        plain["task"], network, plain["optim"], plain["schedule"], limits=limits(plain), behind=behind, restore=restore
    )
    if plain.get("recompute"):  # of runs that began before there was the key
        recompute(network)
    if plain["compile"]:
        compile_network(network, blocks=plain["compile"] == "blocks")
    return Parts(data, network, task, said, before, report)

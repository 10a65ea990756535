"""What is said before and after a run."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import rich
from hydra.utils import get_class
from rich.table import Table
from torch import nn

from ..data.base import DataModule
from ..metrics.figures import Figure, Reports, format_figure, reported
from ..storage.files import read_metrics
from ..storage.run_folder import shown


def describe_run(name: str, network: nn.Module, trainer: lightning.Trainer, data: DataModule) -> str:
    """One line: what is trained, with which choices, on what."""
    parameters = sum(p.numel() for p in network.parameters())
    choices = f", {network.extra_repr()}" if network.extra_repr() else ""
    device = f"{trainer.num_devices} x {trainer.accelerator.__class__.__name__.removesuffix('Accelerator')}"
    return (
        f"{name}: {type(network).__name__} with {parameters:,} parameters{choices}; "
        f"batch {data.batch_size}, {trainer.precision}, {device}"
    )


def describe_changes(changes: Sequence[tuple[str, Any, Any]]) -> str:
    """A table of what a resumed run has otherwise than when it was started."""
    rows = [("changed", "was", "is"), *((k, *("" if v is None else str(v) for v in values)) for k, *values in changes)]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join("  ".join(f"{word:<{width}}" for word, width in zip(row, widths, strict=True)) for row in rows)


def known_figures(config: Any) -> dict[str, Figure]:
    """What the classes of a config's task and data say of the figures that they report."""
    return reported(*(get_class(config[part]["_target_"]) for part in ("task", "data")))


def print_summary(
    folder: Path, finished: bool, use: tuple[str, str], known: Reports, before: str = "",
    dashboards: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """The run's figures, and what to type next.

    Args:
        folder: of the run.
        finished: whether it has come to its end.
        use: the command that uses its network, and what is typed behind the checkpoint.
        known: of the figures.
        before: what is typed before the commands that use the run.
        dashboards: what to type for those beside TensorBoard.
    """
    metrics = read_metrics(folder)
    if metrics:
        table = Table(
            title=f"{metrics['name']}: epochs 1 to {metrics['epochs']}, the best is {metrics['best_epoch']}",
            title_justify="left",
        )
        columns = {
            "train": ("final", "train/"),
            "validation": ("final", "val/"),
            "best validation": ("best", "val/"),
            "test of the best": ("test", "test/"),
        }
        table.add_column("", no_wrap=True)
        for column in columns:
            table.add_column(column, justify="right")
        keys = [key.split("/", 1)[1] for kind in ("test", "final") for key in metrics[kind]]
        for name in dict.fromkeys(keys):
            values = [metrics[kind].get(prefix + name) for kind, prefix in columns.values()]
            cells = ["" if value is None else format_figure(name, value, known) for value in values]
            table.add_row(name.replace("_", " "), *cells)
        rich.get_console().print(table)
    console = rich.get_console()
    quoted = shlex.quote(str(shown(folder)))
    more = " duration=NUMBERep" if finished else ""
    uv = "uv run " if "UV_RUN_RECURSION_DEPTH" in os.environ else ""  # as this run was started
    train = "torchatlas train" if not Path("train.py").exists() else "train.py" if uv else "python train.py"
    command, words = use
    lines = {"run folder": str(shown(folder))}
    if any(folder.rglob("events.out.tfevents*")):
        lines["dashboard"] = f"{uv}tensorboard --logdir {quoted}"
    lines |= {name: text if text.startswith("http") else uv + text for name, text in (dashboards or {}).items()}
    if any((folder / "checkpoints").glob("*.ckpt")):
        lines["go on"] = f"{before}{uv}{train} resume={quoted}{more}"
        lines["use it"] = f"{before}{uv}torchatlas {command} ckpt={quoted}{words}"
    for label, text in lines.items():
        console.print(f"{label:<11} {text}", markup=False, highlight=False, soft_wrap=True)

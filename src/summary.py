"""What is said before and after a run."""

import os
import shlex
from pathlib import Path

import lightning
import rich
from rich.table import Table
from torch import nn

from .data.base import DataModule
from .runs import read_metrics


def describe_network(name: str, network: nn.Module, trainer: lightning.Trainer, data: DataModule) -> str:
    """One line: what is trained, with which choices, on what."""
    parameters = sum(p.numel() for p in network.parameters())
    choices = f", {network.extra_repr()}" if network.extra_repr() else ""
    device = f"{trainer.num_devices} x {trainer.accelerator.__class__.__name__.removesuffix('Accelerator')}"
    return (
        f"{name}: {type(network).__name__} with {parameters:,} parameters{choices}; "
        f"batch {data.batch_size}, {trainer.precision}, {device}"
    )


def print_summary(folder: Path) -> None:
    """The run's figures, and what to type next."""
    metrics = read_metrics(folder)
    table = Table(title=metrics.get("name"), title_justify="left")
    table.add_column("figure")
    columns = [c for c in ("final", "best", "test") if metrics.get(c)]
    for column in columns:
        heading = {"final": "last epoch", "best": f"best epoch ({metrics.get('best_epoch')})", "test": "test"}[column]
        table.add_column(heading, justify="right")
    names: list[str] = []
    for column in columns:
        for key in metrics[column]:
            name = key if column != "test" else key.replace("test/", "val/", 1)
            if name not in names:
                names.append(name)
    for name in names:
        cells = []
        for column in columns:
            key = name if column != "test" else name.replace("val/", "test/", 1)
            value = metrics[column].get(key)
            cells.append("" if value is None else format_figure(key, value))
        table.add_row(name, *cells)
    console = rich.get_console()
    console.print(table)
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    quoted = shlex.quote(str(shown))
    uv = "uv run " if "UV_RUN_RECURSION_DEPTH" in os.environ else ""  # as this run was started
    train = "torchatlas train" if not Path("train.py").exists() else "train.py" if uv else "python train.py"
    for label, text in (
        ("run folder", str(shown)),
        ("dashboard", f"{uv}tensorboard --logdir {quoted}"),
        ("go on", f"{uv}{train} resume={quoted} trainer.max_epochs=N"),
        ("use it", f"{uv}torchatlas predict ckpt={quoted} input=FILE"),
    ):
        console.print(f"{label:<11} {text}", markup=False, highlight=False, soft_wrap=True)


def format_figure(name: str, value: float) -> str:
    """Accuracies in per cent, other figures to four digits."""
    return f"{100 * value:.2f} %" if name.endswith("accuracy") else f"{value:.4g}"

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


def print_summary(folder: Path, max_epochs: int | None, max_steps: int) -> None:
    """The run's figures, and what to type next; the limits tell whether it has come to its end."""
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
        table.add_column("")
        for column in columns:
            table.add_column(column, justify="right")
        keys = [key.split("/", 1)[1] for kind in ("test", "final") for key in metrics[kind]]
        for name in dict.fromkeys(keys):
            values = [metrics[kind].get(prefix + name) for kind, prefix in columns.values()]
            table.add_row(name.replace("_", " "), *("" if v is None else format_figure(name, v) for v in values))
        rich.get_console().print(table)
    console = rich.get_console()
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    quoted = shlex.quote(str(shown))
    more = " trainer.max_epochs=N" if metrics.get("epochs", 0) >= (max_epochs or 0) else ""
    if metrics.get("steps", 0) >= max_steps > 0:
        more = " trainer.max_steps=N"
    uv = "uv run " if "UV_RUN_RECURSION_DEPTH" in os.environ else ""  # as this run was started
    train = "torchatlas train" if not Path("train.py").exists() else "train.py" if uv else "python train.py"
    for label, text in (
        ("run folder", str(shown)),
        ("dashboard", f"{uv}tensorboard --logdir {quoted}"),
        ("go on", f"{uv}{train} resume={quoted}{more}"),
        ("use it", f"{uv}torchatlas predict ckpt={quoted} input=FILE"),
    ):
        console.print(f"{label:<11} {text}", markup=False, highlight=False, soft_wrap=True)


def format_figure(name: str, value: float) -> str:
    """Accuracies in per cent, other figures to four digits."""
    return f"{100 * value:.2f} %" if name.endswith("accuracy") else f"{value:.4g}"

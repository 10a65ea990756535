"""TensorBoard: curves, hyperparameters, the network's graph."""

import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from ..models.contract import Exemplified
from ..storage.files import read_metrics
from ..tasks.base import Task
from .base import Callback


class EventLogger(TensorBoardLogger):
    """Lightning's TensorBoard logger, writing straight into the run folder.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(save_dir=str(folder), name="", version="")

    def save(self) -> None:
        """Flush; the config is in `config.yaml`, so no second file of hyperparameters is written."""
        if self._experiment is not None:
            self._experiment.flush()


AT_THE_END = ("summary/", "test/", "predictions test/", "test text/")  # written anew when the run ends


def forget_after(files: Iterable[Path], epochs: int, steps: int) -> None:
    """Drop the events that lie after a checkpoint, so that a resumed run draws each point once.

    Args:
        files: the run's event files, none of them open.
        epochs, steps: what the checkpoint has behind it. `step/...` counts in steps, all else in epochs.
    """
    for path in files:
        part = path.with_name("part." + path.name)
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            writer = RecordWriter(file)
            for event in LegacyEventFileLoader(str(path)).Load():
                if event.HasField("session_log"):
                    continue
                tags = [value.tag for value in event.summary.value]
                limit = steps if tags and tags[0].startswith("step/") else epochs
                if not tags or (event.step <= limit and not tags[0].startswith(AT_THE_END)):
                    writer.write(event.SerializeToString())
        part.replace(path)


def writer_of(trainer: lightning.Trainer) -> SummaryWriter | None:
    """The event writer of this run, on the first process; None where there is no TensorBoard."""
    for logger in trainer.loggers:
        if isinstance(logger, EventLogger) and trainer.is_global_zero:
            return logger.experiment  # type: ignore[no-any-return]
    return None


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys; lists as text."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str):
            found[prefix + key] = value
        elif value is not None:
            found[prefix + key] = str(value)
    return found


class Curves(Callback):
    """Curves with one axis each: `step/...` against optimiser steps, `epoch/...` against epochs.

    step/loss, step/learning_rate, step/gradient_norm and step/samples_per_second come every `log_every_n_steps`;
    epoch/<figure>/train and epoch/<figure>/val at the end of each epoch, laid over each other in the tab CUSTOM
    SCALARS. HPARAMS shows the config beside final, best and test figures.

    Args:
        config: the run's, resolved.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.config = config or {}

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        self.logged, self.samples = -1, 0
        self.gradient_norm: torch.Tensor | None = None
        self.writer = writer_of(trainer)
        if self.writer is None:
            return
        shown = {
            key: value
            for group in ("model", "data", "task", "optim", "schedule")
            for key, value in flat(self.config.get(group, {}), f"{group}.").items()
            if not key.endswith(("_target_", "_partial_", ".root", ".seed", ".fake"))
        }
        shown |= {key: self.config[key] for key in ("name", "seed") if key in self.config}
        options = self.config.get("trainer", {})
        shown |= {f"trainer.{key}": options[key] for key in ("max_epochs", "precision") if key in options}
        for summary in hparams(shown, dict.fromkeys(summary_tags(pl_module), 0.0))[:2]:  # the third ends the session
            self.writer._get_file_writer().add_summary(summary)
        self.hyperparameters = shown
        if trainer.ckpt_path is None:
            self.draw_graph(pl_module)

    def draw_graph(self, task: Task) -> None:
        """The network's graph for an example input, without a trace in the random state."""
        if not isinstance(task.network, Exemplified):
            return
        assert self.writer is not None
        devices = [task.device] if task.device.type == "cuda" else []
        network, was_training = task.network, task.network.training
        with torch.random.fork_rng(devices), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer is deprecated and says so; the graph tab knows no other
            inputs = tuple(x.to(task.device) for x in network.example_input())
            try:
                self.writer.add_graph(network.eval(), inputs)
            except Exception as error:  # a network that cannot be traced still trains
                lightning.pytorch.utilities.rank_zero_warn(f"TensorBoard's graph is left out: {error}")
        network.train(was_training)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.since = time.monotonic()
        self.logged = trainer.global_step  # a resumed run has had this one

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if self.writer is not None and self.due(trainer, trainer.global_step + 1):
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            self.gradient_norm = torch.nn.utils.get_total_norm(gradients)

    def due(self, trainer: lightning.Trainer, step: int) -> bool:
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        return step > 0 and step % every == 0 and step != self.logged

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.samples += len(batch[0])
        step = trainer.global_step
        if self.writer is None or not self.due(trainer, step):
            return
        now = time.monotonic()
        values = {
            "loss": outputs["loss"] * trainer.accumulate_grad_batches,  # Lightning has divided it
            "learning_rate": max(group["lr"] for group in trainer.optimizers[0].param_groups),
            "samples_per_second": self.samples * trainer.world_size / max(now - self.since, 1e-9),
        }
        if self.gradient_norm is not None:
            values["gradient_norm"] = self.gradient_norm
        for key, value in values.items():
            self.writer.add_scalar(f"step/{key}", value, step)
        self.logged, self.samples, self.since, self.gradient_norm = step, 0, now, None

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        pl_module.close_epoch("train")
        # Validation and its pictures are not the trainer's speed.
        self.samples, self.since = 0, time.monotonic()
        if self.writer is None:
            return
        for key, value in pl_module.figures.items():
            stage, _, figure = key.partition("/")
            if stage != "test":
                self.writer.add_scalar(f"epoch/{figure}/{stage}", value, trainer.current_epoch + 1)
        if trainer.current_epoch == 0:
            figures = [key.split("/", 1)[1] for key in pl_module.figures if key.startswith("train/")]
            charts = {f: ["Multiline", [f"epoch/{f}/train", f"epoch/{f}/val"]] for f in figures}
            self.writer.add_custom_scalars({"training against validation, by epoch": charts})

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.write_summary(trainer, pl_module)

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if hasattr(self, "hyperparameters"):
            self.write_summary(trainer, pl_module)

    def write_summary(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """The figures that HPARAMS shows, and the end of its session when there are test figures."""
        assert isinstance(module, Task)
        writer = writer_of(trainer)
        if writer is None:
            return
        metrics = read_metrics(Path(trainer.default_root_dir))
        for tag, (kind, key) in summary_tags(module).items():
            value = metrics.get(kind, {}).get(key)
            if value is not None and (kind == "test") is trainer.testing:
                writer.add_scalar(tag, value, metrics["epochs"])
        if trainer.testing:
            writer._get_file_writer().add_summary(hparams(self.hyperparameters, {})[2])
        writer.flush()


def summary_tags(task: Task) -> dict[str, tuple[str, str]]:
    """Tags of the figures beside the hyperparameters, and where `metrics.json` has them."""
    figures = dict.fromkeys((task.monitor, "loss", *task.headline))
    return {
        f"summary/{kind} {figure}": (kind, f"{'test' if kind == 'test' else 'val'}/{figure}")
        for kind in ("final", "best", "test")
        for figure in figures
    }

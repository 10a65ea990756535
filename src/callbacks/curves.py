"""Curves, the network's graph and the figures by which runs are compared, for every logger of a run."""

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch

from ..loggers.base import At, RunLogger, each, loggers_of
from ..models.contract import Exemplified
from ..storage.files import read_metrics
from ..tasks.base import Task
from .base import Callback


class Curves(Callback):
    """Tells the loggers how the run goes.

    step/loss, step/learning_rate, step/gradient_norm and step/samples_per_second come every `log_every_n_steps`; the
    figures of training and validation at the end of each epoch, with the final and best ones so far, so that a run that
    is stopped has them too; those of the test at the end. TensorBoard lays training and validation over each other in
    the tab CUSTOM SCALARS, and HPARAMS shows the config beside final, best and test figures.

    Args:
        config: the run's, resolved.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.config = config or {}
        self.loggers: list[RunLogger] = []

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        self.logged, self.samples = -1, 0
        self.gradient_norm: torch.Tensor | None = None
        self.loggers = loggers_of(trainer)
        if self.loggers and trainer.ckpt_path is None:
            self.draw_graph(pl_module)

    def draw_graph(self, task: Task) -> None:
        """The network's graph for an example input, without a trace in the random state.

        A network that has no `example_input` gets the input that the data give as an example.
        """
        drawing = [logger for logger in self.loggers if type(logger).graph is not RunLogger.graph]
        if not drawing:
            return
        devices = [task.device] if task.device.type == "cuda" else []
        network, was_training = task.network, task.network.training
        with torch.random.fork_rng(devices), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer is deprecated and says so; the graph tab knows no other
            try:
                examples = network.example_input() if isinstance(network, Exemplified) else task.example_inputs()
                inputs = tuple(x.to(task.device) for x in examples)
                network.eval()
                each(drawing, lambda logger: graph(logger, network, inputs))
            except Exception as error:  # a network that has no such input still trains
                lightning.pytorch.utilities.rank_zero_warn(f"the network's graph is left out: {error}")
        network.train(was_training)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.since = time.monotonic()
        self.logged = trainer.global_step  # a resumed run has had this one

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if self.loggers and self.due(trainer, trainer.global_step + 1):
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
        if not self.loggers or not self.due(trainer, step):
            return
        now = time.monotonic()
        values: dict[str, Any] = {
            "loss": outputs["loss"] * trainer.accumulate_grad_batches,  # Lightning has divided it
            "learning_rate": max(group["lr"] for group in trainer.optimizers[0].param_groups),
            "samples_per_second": self.samples * trainer.world_size / max(now - self.since, 1e-9),
        }
        if self.gradient_norm is not None:
            values["gradient_norm"] = self.gradient_norm
        told = {f"step/{key}": float(value) for key, value in values.items()}
        each(self.loggers, lambda logger: logger.figures(told, At(step)))
        self.logged, self.samples, self.since, self.gradient_norm = step, 0, now, None

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        pl_module.close_epoch("train")
        # Validation and its pictures are not the trainer's speed.
        self.samples, self.since = 0, time.monotonic()
        if not self.loggers:
            return
        at = At(trainer.global_step, trainer.current_epoch + 1)
        told = {key: value for key, value in pl_module.figures.items() if not key.startswith("test/")}
        each(self.loggers, lambda logger: logger.figures(told, at))
        self.tell_summary(trainer, pl_module, at, ("final", "best"))

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        if not self.loggers:  # a test without a training
            return
        at = At(trainer.global_step, trainer.current_epoch)
        told = {key: value for key, value in pl_module.figures.items() if key.startswith("test/")}
        each(self.loggers, lambda logger: logger.figures(told, at))
        self.tell_summary(trainer, pl_module, at, ("test",))

    def tell_summary(self, trainer: lightning.Trainer, task: Task, at: At, kinds: Sequence[str]) -> None:
        """The few figures by which runs are compared, as `metrics.json` has them by now."""
        metrics = read_metrics(Path(trainer.default_root_dir))
        figures = dict.fromkeys((task.monitor, "loss", *task.headline))
        found = {f"{kind}/{name}": metrics.get(kind, {}).get(key_of(kind, name)) for kind in kinds for name in figures}
        told = {key: value for key, value in found.items() if value is not None}
        if "best" in kinds and "best_epoch" in metrics:
            told["best/epoch"] = metrics["best_epoch"]
        each(self.loggers, lambda logger: logger.summary(told, at))

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """A run that goes on does not tell again what lies before its checkpoint."""
        each(self.loggers, lambda logger: logger.flush())


def graph(logger: RunLogger, network: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Draw it; a network that cannot be traced still trains."""
    try:
        logger.graph(network, inputs)
    except Exception as error:
        lightning.pytorch.utilities.rank_zero_warn(f"{logger.title}'s graph is left out: {error}")


def key_of(kind: str, figure: str) -> str:
    """The name of a final, best or test figure in `metrics.json`."""
    return f"{'test' if kind == 'test' else 'val'}/{figure}"

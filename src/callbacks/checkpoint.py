"""Checkpoints: when they are taken, what is in them, and how a run goes on from one."""

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Checkpoint as CheckpointCallback

from ..data.base import DataModule
from ..errors import Stopped, UserError
from ..storage.checkpoints import damage, keep_as, read, write
from ..storage.random_state import random_state, restore_random_state
from ..tasks.base import Task
from ..training.durations import Duration
from .base import Callback
from .ema import EMA
from .requests import Requests

log = logging.getLogger(__name__)


class Checkpoint(Callback, CheckpointCallback):
    """Writes `last.ckpt`, from which a run goes on exactly; `previous.ckpt`, the one before it; and `best.ckpt`.

    `last.ckpt` holds weights, optimiser, schedule, scaler of gradients, callbacks, the place in the data, the sums of
    the epoch so far and, for each process, the random states of Python, NumPy and torch: a run that goes on computes
    what one that never stopped would have. `best.ckpt` holds the weights that validated best by the task's `monitor`
    (of equals the first; without any validation the last), and what rebuilds the network and its preprocessing.

    Ctrl-C and SIGTERM save first and then end the run; a second one ends it at once, with the last checkpoint.

    Args:
        every: how much may be lost. A time (`10min`) is kept within an epoch too; checkpoints at the end of an epoch
            are left out where they would cost more than `share` of the time. Steps (`500st`) and epochs (`1ep`) are
            exact.
        share: see there.
        grace: seconds after such a signal in which a training step has to end; one that takes longer is given up, and
            the run ends with the last checkpoint. null: as long as it takes, as with several processes, which save
            together.
        config: the run's, resolved, with which the network can be built again.
    """

    def __init__(
        self, every: str = "10min", share: float = 0.02, grace: float | None = 20,
        config: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.every = Duration.parse(every, "callbacks.checkpoint.every")
        if self.every.unit in ("st", "ep") and (self.every.number < 1 or self.every.number % 1):
            raise UserError(f"callbacks.checkpoint.every={every} must be a whole number of steps or epochs")
        if self.every.unit not in ("st", "ep") and self.every.seconds is None:
            raise UserError(f"callbacks.checkpoint.every={every} must be a time, steps or epochs: 10min, 500st or 1ep")
        self.share, self.config = share, dict(config or {})
        self.best: float | None = None
        self.new_best: dict[str, Any] | None = None  # not yet written
        self.resumed: dict[str, Any] | None = None
        self.end: dict[str, Any] | None = None  # the state at the end of a run that ends within an epoch
        self.saved_at, self.cost, self.intact = time.monotonic(), 0.0, False  # whether this process wrote the last one
        if isinstance(grace, bool) or (grace is not None and (not isinstance(grace, int | float) or grace <= 0)):
            raise UserError(f"callbacks.checkpoint.grace={grace} must be a positive number of seconds or null")
        self.grace, self.requests = grace, Requests()

    # --- when

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loop = trainer.fit_loop.epoch_loop
        if loop._should_accumulate() or loop._num_ready_batches_reached():  # the epoch's end has its own
            return
        assert isinstance(pl_module, Task)
        step = trainer.global_step
        if step >= pl_module.plan.total:  # to be written when the figures of the unfinished epoch are
            self.end = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
            return
        if trainer.val_check_batch is not None and (batch_idx + 1) % trainer.val_check_batch == 0:
            return  # Lightning would leave out the validation that comes now
        asked = self.asked_to_stop(trainer, step)
        if asked or self.due_within(trainer, step):
            self.save(trainer)
        if asked:
            raise Stopped(asked)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        pl_module.close_epoch("train")  # else its sums would be in the checkpoint, and in the next epoch's figures
        self.judge(trainer, pl_module)
        loop = trainer.fit_loop
        if self.end is not None:  # the run ends within an epoch, and could go on there
            self.save(trainer, self.end)
            if asked := self.asked_to_stop(trainer, 0):
                raise Stopped(asked)
            return
        epoch, step = trainer.current_epoch + 1, trainer.global_step
        asked = self.asked_to_stop(trainer, 0)
        over = trainer.should_stop or epoch >= (loop.max_epochs or 0) > 0
        if over or asked or self.due_at_epoch(trainer, epoch, step):
            self.save(trainer)
        if asked:
            raise Stopped(asked)

    def due_within(self, trainer: lightning.Trainer, step: int) -> bool:
        """Whether a checkpoint is to be taken after a step within an epoch; all processes agree."""
        if self.every.unit == "st":
            return step % int(self.every.number) == 0
        if self.every.seconds is None or not self.agree_at(trainer, step):
            return False
        return bool(trainer.strategy.broadcast(time.monotonic() - self.saved_at >= self.every.seconds))

    def due_at_epoch(self, trainer: lightning.Trainer, epoch: int, step: int) -> bool:
        """The same at the end of an epoch."""
        if self.every.unit == "st":
            return step % int(self.every.number) == 0
        if self.every.unit == "ep":
            return epoch % int(self.every.number) == 0
        since = time.monotonic() - self.saved_at
        return bool(trainer.strategy.broadcast(self.share * since >= self.cost or since >= (self.every.seconds or 0)))

    def agree_at(self, trainer: lightning.Trainer, step: int) -> bool:
        """Several processes ask one another only every few steps."""
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        return trainer.world_size == 1 or step % every == 0

    def asked_to_stop(self, trainer: lightning.Trainer, step: int) -> int | None:
        """The signal that any process has got."""
        if trainer.world_size == 1:
            return self.requests.answered()
        if not self.agree_at(trainer, step):
            return None
        asked = torch.tensor(float(self.requests.signal or 0), device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(asked, reduce_op="max")) or None

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.requests.ignore()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self.requests.ignore()

    # --- what

    def judge(self, trainer: lightning.Trainer, task: Task) -> None:
        """Keep a copy of the weights where they are the best so far."""
        figure = task.figures.get(f"val/{task.monitor}")
        sign = 1 if task.mode == "max" else -1
        if figure is None or not math.isfinite(figure):
            better = self.best is None  # as long as no figure can be compared the last weights are the best
        else:
            better = self.best is None or sign * figure > sign * self.best
            self.best = figure if better else self.best
        if better:
            weights = dict(trainer.strategy.lightning_module_state_dict())
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, EMA):
                    weights |= callback.averages
            if not trainer.is_global_zero:
                return
            self.new_best = {
                "epoch": trainer.current_epoch,
                "global_step": trainer.global_step,
                "pytorch-lightning_version": lightning.__version__,
                "state_dict": {key: value.detach().clone() for key, value in weights.items()},
                "torchatlas": self.about(trainer) | {"figure": figure},
            }

    def save(self, trainer: lightning.Trainer, checkpoint: dict[str, Any] | None = None) -> None:
        """Write the present state or an earlier one; on all processes, since each has a state of its own."""
        with self.requests.held():
            self.write(trainer, checkpoint)

    def write(self, trainer: lightning.Trainer, checkpoint: dict[str, Any] | None) -> None:
        started, failure = time.monotonic(), None
        assert isinstance(trainer.lightning_module, Task)
        self.require_finite(trainer, trainer.lightning_module)
        path = self.folder(trainer) / "last.ckpt"
        checkpoint = checkpoint or trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        try:
            self.write_best(trainer)  # first: `last.ckpt` says which one is the best
            if trainer.is_global_zero and (self.intact or not path.exists() or damage(path) is None):
                keep_as(path, path.with_name("previous.ckpt"))
            trainer.strategy.save_checkpoint(checkpoint, path)
        except UserError as error:
            failure = str(error)
        if failure := trainer.strategy.broadcast(failure):  # else the other processes would wait for this one
            raise UserError(failure)
        self.saved_at, self.intact = time.monotonic(), True
        self.cost = self.saved_at - started

    def require_finite(self, trainer: lightning.Trainer, task: Task) -> None:
        """On a GPU not every step is looked at: a checkpoint after one that ruined the weights must not be the last."""
        loss = task.sums["train/loss"] if "train/loss" in task.sums else task.figures.get("train/loss", 0.0)
        if trainer.world_size == 1 and not math.isfinite(float(loss)):
            raise UserError(
                "the loss has become NaN or infinite since the last look: go on from the last checkpoint with "
                "callbacks.finite.every_n_steps=1, which names the step and the layer"
            )

    def write_best(self, trainer: lightning.Trainer) -> None:
        if self.new_best is not None and trainer.is_global_zero:
            write(self.new_best, self.folder(trainer) / "best.ckpt")
        self.new_best = None

    def folder(self, trainer: lightning.Trainer) -> Path:
        return Path(trainer.default_root_dir) / "checkpoints"

    def about(self, trainer: lightning.Trainer) -> dict[str, Any]:
        """What rebuilds the network and its preprocessing."""
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        about = {"config": self.config, "data": data.describe()}
        if trainer.is_global_zero:  # the others write no file, and need not look at those of the data
            about["contents"] = data.contents(data.splits)
        return about

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        assert isinstance(pl_module, Task)
        loop = trainer.fit_loop.epoch_loop
        epochs = trainer.fit_loop.epoch_progress.current
        within = epochs.processed < epochs.ready and not loop._num_ready_batches_reached()  # type: ignore[attr-defined]
        own = {
            "random": random_state(),
            "sums": {key: value.cpu() for key, value in pl_module.sums.items()},
            "figures": dict(pl_module.figures) if within else {},  # of a validation within the epoch
            "carried": carried_rows(pl_module) if within else [],
        }
        processes: list[Any] = [own]
        if trainer.world_size > 1:
            processes = [None] * trainer.world_size
            dist.all_gather_object(processes, own)
        checkpoint["torchatlas"] = self.about(trainer) | {
            "batches": loop.batch_progress.current.ready if within else 0,  # of the present epoch
            "ended": trainer.global_step >= pl_module.plan.total,
            "seconds_per_step": pl_module.plan.seconds_per_step,
            "steps_per_epoch": pl_module.plan.steps_per_epoch,
            "shift": pl_module.plan.shift,
            "threads": torch.get_num_threads(),
            "processes": processes,
        }

    # --- how a run goes on

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        assert isinstance(pl_module, Task)
        if "processes" in checkpoint["torchatlas"]:  # the best one is loaded to be tested
            self.resumed = checkpoint["torchatlas"] | {"step": checkpoint["global_step"]}
            pl_module.seconds_per_step = self.resumed["seconds_per_step"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """What was drawn since the process began (initial weights) is forgotten in a resumed run."""
        assert isinstance(pl_module, Task)
        alone = trainer.world_size == 1
        self.requests = Requests(self.grace if alone else None, lambda: trainer.training)
        self.requests.listen()
        self.saved_at = time.monotonic()
        rank, world = trainer.global_rank, trainer.world_size
        if world > 1:  # each process draws its own dropout masks
            torch.manual_seed(self.config["seed"] + 1_000_003 * rank + trainer.global_step)
        if self.resumed is None:
            return
        resumed, self.resumed = self.resumed, None
        loader: Any = trainer.train_dataloader
        loader.sampler.start = resumed["batches"]
        states = resumed["processes"]
        pl_module.figures = dict(states[0]["figures"])
        if len(states) == world:
            restore_random_state(states[rank]["random"])
            pl_module.sums = {key: value.to(pl_module.device) for key, value in states[rank]["sums"].items()}
        else:
            log.info("%d processes go on with what %d began: the figures agree up to rounding", world, len(states))
            pl_module.sums = {
                key: torch.stack([state["sums"][key] for state in states]).sum(0).to(pl_module.device) * (rank == 0)
                for key in states[0]["sums"]
            }
        carry_on(pl_module, [state.get("carried", []) for state in states], rank, world)
        if (threads := torch.get_num_threads()) != resumed["threads"] and trainer.is_global_zero:
            log.info("%d threads in place of %d: the figures agree up to rounding", threads, resumed["threads"])
        self.judge_the_file(trainer, pl_module, resumed["step"])

    def judge_the_file(self, trainer: lightning.Trainer, task: Task, step: int) -> None:
        """`best.ckpt` may be better than `last.ckpt` knows (of a run that ended within an epoch), or damaged."""
        try:
            best = read(self.folder(trainer) / "best.ckpt")
        except UserError as error:
            if self.best is not None and trainer.is_global_zero:
                log.warning("%s; the best weights are chosen anew", error)
            self.best = None
            return
        figure, sign = best["torchatlas"].get("figure"), 1 if task.mode == "max" else -1
        if best["global_step"] > step:  # of steps that come once more: they, or others in their place, are judged anew
            self.best = None
        elif figure is not None and math.isfinite(figure):
            self.best = figure if self.best is None or sign * figure > sign * self.best else self.best


def carried_rows(task: Task) -> list[torch.Tensor]:
    """The recurrent state `layers b dim` that a task carries from one training batch to the next, as a list."""
    state = getattr(task, "states", {}).get("train", ())
    return [part.cpu() for part in ((state,) if isinstance(state, torch.Tensor) else state)]


def carry_on(task: Task, processes: list[list[torch.Tensor]], rank: int, world: int) -> None:
    """Give the task the rows of this process; rows are dealt out to processes in turn, see `StreamOrder`."""
    if not processes[0]:
        return
    parts = []
    for shares in zip(*processes, strict=True):
        rows = torch.stack(shares, 2).flatten(1, 2)
        parts.append(rows[:, rank::world].contiguous().to(task.device))
    task.states = {"train": tuple(parts) if len(parts) > 1 else parts[0]}

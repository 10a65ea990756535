"""What every task has in common: stages that call one `step`, sums on the device, the optimiser."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import UserError
from ..metrics.figures import Figure, Reports, reported
from ..models.contract import Claims, claims
from ..training import optimizers
from ..training.durations import Duration, Plan
from ..training.hooks import leave_out
from ..training.memory_format import lay_out, lay_out_state
from ..training.planning import NOTHING_BEHIND, Behind, describe_plan, make_plan
from ..training.schedules import Schedule

MakeOptimizer = optimizers.MakeOptimizer
MakeSchedule = Callable[[Optimizer, Plan], Schedule]
Restore = Callable[[str], tuple[Path, Any, dict[str, Any]]]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chosen:
    """What a run is to be made of, before any of it is built.

    Attributes:
        config: composed, with the sections `model`, `task`, `data` and so on.
        data: the class of the data.
        data_name: the choice by which the user knows these data, for the message.
        advice: how a sentence ends that refuses the data, as in ": try data=digits", or "".
    """

    config: Any
    data: type[Any]
    data_name: str
    advice: str


class Task(lightning.LightningModule):
    """What is optimised, around any network with the task's interface.

    A subclass implements `step`. At the end of an epoch its means are in `figures`, under `train/...`,
    `val/...` and `test/...`, from where callbacks write them to where people look.

    Args:
        network: maps a batch's input to predictions.
        optimizer: makes the optimiser from parameters or groups of them.
        schedule: makes the schedule from the optimiser and the run's plan; it is stepped once per optimiser step.
        l1: coefficient of the sum of the weights' absolute values (biases and norms apart) that training adds to the
            loss; figures are of the loss without it.
        decay_norms_and_biases: whether the optimiser's weight decay is theirs too.
        layer_decay: the learning rate of each layer (or block) is that of the next one times this factor, and the last
            has the optimiser's own (discriminative learning rates: Howard and Ruder 2018, arXiv:1801.06146, section
            3.2); 1 gives all the same.
        limits: durations, of which the first to be reached ends the training; None: those of the trainer, as under one
            of your own, whose loggers then get the figures of each epoch.
        behind: what a run that goes on has had.
        restore: opens a checkpoint of another run, for tasks that learn from one: its path, its task in eval mode,
            and what it says of config and data.
        freeze: a duration in which only the network's `heads` are trained, without its batch statistics; 100%: always.

    Attributes:
        claims: what the network says of itself.
        plan: the run's length in optimiser steps, made when training begins.
        epochs_behind, steps_behind, ended: see `Behind`; the epoch within which a run ended counts, where it stays so.
    """

    name: ClassVar[str]
    batches: ClassVar[str] = ""  # the task whose batches this one takes, where it is another one
    reports: ClassVar[Reports] = {"loss": Figure("lower", chooses=True)}  # figures, beside those of the base classes
    takes_loss: ClassVar[bool] = False  # whether `loss` is one of a user's choice, see `losses`
    monitor: str = "loss"  # the validation figure by which the best weights are chosen
    mode: Literal["min", "max"] = "min"
    # keys of the config that cannot change when a run goes on, beside those of the base classes, and why
    fixed: ClassVar[Mapping[str, str]] = {
        "_target_": "the task is that of the checkpoint",
        "monitor": "the best weights so far were chosen by it",
        "layer_decay": "the optimiser's state is divided by it",
        "loss": "the curves and the best weights so far are of it",
        "freeze": "the run has its plan of what is trained when",
    }

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        l1: float = 0.0,
        decay_norms_and_biases: bool = False,
        layer_decay: float = 1.0,
        freeze: str | None = None,
        limits: Sequence[str] | None = None,
        behind: Behind | None = None,
        restore: Restore | None = None,
    ) -> None:
        super().__init__()
        if l1 < 0:
            raise ValueError(f"task.l1={l1} must not be negative")
        if not 0 < layer_decay <= 1:
            raise ValueError(f"task.layer_decay={layer_decay} must be over 0 and at most 1")
        self.claims: Claims = claims(network)
        if freeze is not None and not self.claims.heads:
            raise ValueError(f"task.freeze={freeze}: {type(network).__name__} names no heads to be trained alone")
        if freeze is not None:
            Duration.parse(freeze, "task.freeze")
        self.layer_decay, self.frozen_for, self.frozen = layer_decay, freeze, False
        self.frozen_steps = 0 if freeze is None else -1  # -1: not known yet; a resumed run has that of its first start
        self.network = network
        self.make_optimizer, self.make_schedule = optimizer, schedule
        self.l1, self.decay_norms_and_biases = l1, decay_norms_and_biases
        self.limits, self.restore = limits, restore
        self.plan = Plan(1, 1, 1)
        self.seconds_per_step: float | None = None  # of the run's first start, where it is resumed
        self.behind = behind or NOTHING_BEHIND
        self.epochs_behind, self.steps_behind, self.ended = self.behind.epochs, self.behind.steps, self.behind.ended
        self.layout = self.behind.layout  # of the network, see `memory_format`
        self.sums: dict[str, Tensor] = {}
        self.figures: dict[str, float] = {}  # the latest of each stage: train/loss, val/accuracy, ...

    @classmethod
    def check(cls, chosen: Chosen) -> None:
        """Refuse what this task cannot do, before anything is built, read or downloaded.

        Raises:
            UserError: it says what to type instead.
        """

    @classmethod
    def compared_by(cls, config: Mapping[str, Any]) -> tuple[str, Literal["min", "max"]]:
        """The validation figure by which a task of this config chooses the best weights, and what the best of it is.

        Raises:
            ValueError: there is no such figure by which they could be chosen.
        """
        monitor: str = config.get("monitor", cls.monitor)
        known = {name: figure for name, figure in reported(cls).items() if figure.chooses}
        if monitor == cls.monitor and monitor not in known:
            return monitor, cls.mode
        if monitor not in known:
            *others, last = known
            raise ValueError(f"task.monitor={monitor} must be {', '.join(others)}{' or ' if others else ''}{last}")
        return monitor, known[monitor].mode

    @classmethod
    def suits(cls, network: type[nn.Module]) -> bool:
        """Whether a user whose network cannot do what was asked of it is to be told of this task."""
        return True

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":  # Lightning sets it around each hook, and torch would look for parameters in it
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @cached_property
    def headline(self) -> tuple[str, ...]:
        """The figures, beside the loss, by which runs are compared."""
        return tuple(name for name, figure in reported(type(self)).items() if figure.headline)

    def step(self, batch: Any) -> dict[str, Tensor]:
        """One batch.

        Returns:
            "loss", the mean over the batch, to be minimised; under "metrics/..." further means over the
            batch, numbers or vectors, to be averaged; anything else is for callbacks.
        """
        raise NotImplementedError

    def inputs(self, batch: Any) -> tuple[Tensor, ...]:
        """What the network gets of a batch."""
        return (batch[0],)

    def example_inputs(self, samples: int = 2) -> tuple[Tensor, ...]:
        """Inputs of a network without `example_input`, as the data of the trainer have them."""
        return self.inputs(self.trainer.datamodule.example_batch(samples))  # type: ignore[attr-defined]

    def weight(self, batch: Any) -> int | Tensor:
        """How much a batch counts in averages: its samples; a number on the device where it has to be counted there."""
        return len(batch[0])

    def derive(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Figures that are functions of an epoch's means, e.g. perplexity of the mean loss."""
        return means

    def setup(self, stage: str) -> None:
        leave_out(self, lightning.LightningModule)
        # Lightning moves the task to the device of the trainer after this.
        device = self.device if self._trainer is None else self.trainer.strategy.root_device
        lay_out(self.network, device, self.layout)

    def place(self, device: torch.device | str) -> None:
        """Move the task to a device, without a trainer, in the memory format in which it computes there."""
        self.to(device)
        lay_out(self.network, device)

    @property
    def datamodule(self) -> Any:
        """The data of the trainer; None where it has loaders alone, or where there is none."""
        return getattr(self._trainer, "datamodule", None)

    def required_data(self) -> Any:
        """The same.

        Raises:
            UserError: there are none.
        """
        if self.datamodule is None:
            raise UserError(f"{self.name} asks its data for more than batches: give trainer.fit(task, datamodule=data)")
        return self.datamodule

    def forward(self, *inputs: Tensor) -> Any:
        return self.network(*inputs)

    def training_step(self, batch: Any, _: int) -> dict[str, Tensor]:
        out = self._accumulate(batch)
        if self.trainer.world_size > 1 and isinstance(weight := self.weight(batch), Tensor):
            # The mean over all processes, each of which has its own number of steps or frames.
            total: Any = self.trainer.strategy.reduce(weight.float(), reduce_op="sum")
            # A batch in which nothing counts anywhere has no loss, and not 0 / 0.
            out["loss"] = out["loss"] * weight * self.trainer.world_size / torch.where(total > 0, total, 1.0)
        if self.l1:
            weights = [p for p in self.network.parameters() if p.requires_grad and p.ndim >= 2]
            out["loss"] = out["loss"] + self.l1 * torch.stack([w.abs().sum() for w in weights]).sum()
        return out

    def validation_step(self, batch: Any, _: int) -> dict[str, Tensor]:
        return self._accumulate(batch)

    def test_step(self, batch: Any, _: int) -> dict[str, Tensor]:
        return self._accumulate(batch)

    # Training and evaluation interleave, so each has its own sums: "train/loss", "val/loss", ...
    def _accumulate(self, batch: Any) -> dict[str, Tensor]:
        out = {key: value if key == "loss" else value.detach() for key, value in self.step(batch).items()}
        weight = self.weight(batch)
        stage = self.stage
        for key, value in out.items():
            if key == "loss" or key.startswith("metrics/"):
                self._add(f"{stage}/{key.removeprefix('metrics/')}", value.detach().float() * weight)
        count = weight if isinstance(weight, Tensor) else torch.full((), weight, device=out["loss"].device)
        self._add(f"{stage}/count", count.float())
        return out

    def _add(self, key: str, value: Tensor) -> None:
        self.sums[key] = self.sums[key] + value if key in self.sums else value

    @property
    def stage(self) -> str:
        """train, val or test."""
        if self.trainer.testing:
            return "test"
        return "train" if self.trainer.training else "val"

    def close_epoch(self, stage: str) -> None:
        """Turn the sums of an epoch into `figures`, over all processes; nothing happens a second time.

        Lightning calls callbacks before the task at the end of a training epoch, so a callback that wants
        the epoch's figures calls this first, on all processes.
        """
        keys = [key for key in self.sums if key.startswith(stage + "/")]
        if not keys:
            return
        shapes = [self.sums[key].shape for key in keys]
        sums = torch.cat([self.sums.pop(key).flatten() for key in keys])
        sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        parts = sums.split([shape.numel() for shape in shapes])
        totals = {
            key.removeprefix(stage + "/"): part.view(shape)
            for key, part, shape in zip(keys, parts, shapes, strict=True)
        }
        count = totals.pop("count")
        count = torch.where(count > 0, count, 1.0)  # of a split in which nothing counts
        means = self.derive({key: total / count for key, total in totals.items()})
        figures = zip(means, torch.stack(list(means.values())).tolist(), strict=True)
        self.figures |= {f"{stage}/{key}": value for key, value in figures}

        if stage != "train":
            self.figures |= {f"{stage}/{key}": value for key, value in self.baselines_of_data(stage).items()}

    def baselines_of_data(self, stage: str) -> dict[str, float]:
        """What the data know to be reached without any skill, by the name of the figure.

        Args:
            stage: "val" or "test", for data whose `baselines` differ by split: a dictionary for each.
        """
        found: Any = getattr(self.datamodule, "baselines", {})
        return found.get(stage, {} if {"val", "test"} & set(found) else found)  # type: ignore[no-any-return]

    def on_fit_start(self) -> None:
        """Say before training what needs no skill."""
        if self.trainer.is_global_zero:
            for key, value in self.baselines_of_data("val").items():
                log.info("baseline, which needs no skill: %s %.4g", key.replace("_", " "), value)

    def on_train_epoch_start(self) -> None:
        self.figures = {}

    def on_train_epoch_end(self) -> None:
        self.close_epoch("train")
        if self.limits is None:
            self.log_dict({key: value for key, value in self.figures.items() if key.startswith("train/")})

    def on_validation_epoch_end(self) -> None:
        self.close_epoch("val")
        # Lightning's own callbacks (early stopping and the like) look in its dictionary.
        found = {key: value for key, value in self.figures.items() if key.startswith("val/")}
        self.log_dict(found, logger=self.limits is None and bool(self.trainer.loggers))
        if self.trainer.sanity_checking:
            return
        if (figure := self.figures.get(f"val/{self.monitor}")) is not None:
            for schedule in self.schedules:
                schedule.observe(figure if self.mode == "min" else -figure)

    def on_test_epoch_end(self) -> None:
        self.close_epoch("test")
        if self.limits is None:
            self.log_dict({key: value for key, value in self.figures.items() if key.startswith("test/")})

    def balance_classes(self, data: Any) -> None:
        """Where weights in the loss are to balance the classes: take them from the data, which are set up."""

    def build_optimizer(self) -> Optimizer:
        """The optimiser of the config for this network; fused, unless gradients are scaled (fp16) and clipped."""
        assert self.make_optimizer is not None, "this task was built for evaluation, without an optimiser"
        scaled = self._trainer is not None and str(self.trainer.precision).startswith("16")
        return optimizers.build(
            self.make_optimizer,
            self.network,
            decay_norms_and_biases=self.decay_norms_and_biases,
            layer_decay=self.layer_decay,
            by_layers=self.frozen_for is not None,
            fused=not (scaled and self.trainer.gradient_clip_val),
        )

    def configure_optimizers(self) -> Any:
        """Plan, optimiser and schedule; then each callback that has it is called with `on_planned(trainer, task)`.

        Nothing has been computed by then. A run that goes on and has come to its end has nothing after it.
        """
        self.balance_classes(self.datamodule)  # before steps are measured
        self.plan = make_plan(self, self.limits, self.seconds_per_step)
        if self.steps_behind > self.plan.total:
            raise UserError(
                f"this run has had {self.steps_behind} steps, more than the {self.plan.total} that are asked for: give "
                f"a longer duration, as in duration={2 * self.steps_behind}st"
            )
        if self.ended and self.steps_behind == self.plan.total:  # the unfinished epoch with which it ended stays
            self.epochs_behind = math.ceil(self.plan.epochs)
        if self.frozen_steps < 0:
            self.frozen_steps = self.plan.steps(str(self.frozen_for), "task.freeze")
        if self.trainer.world_size > 1 and self.steps_behind < self.frozen_steps:
            raise UserError(f"task.freeze={self.frozen_for} needs one process: add trainer.devices=1")
        optimizer = self.build_optimizer()
        self.own_options = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
        schedule = None if self.make_schedule is None else self.make_schedule(optimizer, self.plan)
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if (planned := getattr(callback, "on_planned", None)) is not None:
                planned(self.trainer, self)
        if schedule is None:
            return optimizer
        if self.trainer.is_global_zero:
            log.info(describe_plan(self.plan, schedule.lengths))
            if self.layer_decay != 1:
                rates = [own["lr"] for own in self.own_options]
                log.info("learning rates by layer: %.2g of the first to %.2g of the last", min(rates), max(rates))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """The optimiser's options are those of the config, also where a checkpoint has brought others."""
        (optimizer,) = self.trainer.optimizers
        lay_out_state(optimizer)
        for group, own in zip(optimizer.param_groups, self.own_options, strict=True):
            group.update({key: value for key, value in own.items() if key != "lr"})
        for schedule in self.schedules:
            schedule.restart([own["lr"] for own in self.own_options])
        if self.trainer.global_step < self.frozen_steps:
            self.freeze_backbone(True)
        self.stop_at_the_end()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.frozen and self.trainer.global_step >= self.frozen_steps < self.plan.total:
            self.freeze_backbone(False)
        self.stop_at_the_end()

    def new_modules(self) -> list[nn.Module]:
        """What is trained while the backbone is frozen: all beside the `trunk`, where the network names one."""
        if trunk := self.claims.trunk:
            return [module for name, module in self.network.named_children() if name != trunk]
        return [self.network.get_submodule(name) for name in self.claims.heads]

    def freeze_backbone(self, frozen: bool) -> None:
        """Take all but the heads out of training, or back into it."""
        if frozen:
            self.trainable = [p for p in self.network.parameters() if p.requires_grad]
        self.frozen = frozen
        trained = {id(p) for head in self.new_modules() for p in head.parameters()}
        for p in self.trainable:
            p.requires_grad_(not frozen or id(p) in trained)
            if not p.requires_grad:
                p.grad = None
        self.train()
        total = sum(p.numel() for p in self.network.parameters())
        trainable = sum(p.numel() for p in self.network.parameters() if p.requires_grad)
        until = f", the head, until step {self.frozen_steps:,}" if frozen else ""
        log.info(
            "step %d: training %s of %s parameters (%.3g %%)%s",
            self.trainer.global_step, f"{trainable:,}", f"{total:,}", 100 * trainable / total, until,
        )  # fmt: skip

    def train(self, mode: bool = True) -> "Task":
        """Frozen layers stay in eval mode, so that their batch statistics stay."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
            self.network.training = mode  # of the network alone, which then asks its auxiliary heads too
            for head in self.new_modules():
                head.train(mode)
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["frozen_steps"] = self.frozen_steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.frozen_steps = checkpoint.get("frozen_steps", self.frozen_steps)

    @property
    def schedules(self) -> list[Schedule]:
        found: Any = [config.scheduler for config in self.trainer.lr_scheduler_configs]
        return found  # type: ignore[no-any-return]

    def stop_at_the_end(self) -> None:
        """A run may end within an epoch; at the end of one Lightning stops by itself."""
        if self.plan.epochs % 1 and self.trainer.global_step >= self.plan.total:
            self.trainer.should_stop = True

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        if gradient_clip_val:
            optimizers.clip(optimizer, gradient_clip_val, gradient_clip_algorithm)

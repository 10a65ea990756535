"""What a training takes, counted and measured on some steps of a copy that nobody keeps.

Counted are, on a few real samples and the real device,

- what each parameter costs: the weight, its gradient after a backward pass, and what the optimiser keeps after a step;
- what is kept from the forward pass for the backward one: every tensor that automatic differentiation saves (two batch
  sizes and a line through them give any other; parameters apart, memory that tensors share counted once);
- floating-point operations of the forward pass (`torch.utils.flop_counter`; one multiply-accumulate is two).

A training step is three times the forward pass: its backward pass multiplies once for the gradient of each input and
once for that of each weight (Kaplan et al. 2020, arXiv:2001.08361, section 2.1). torch's counter would count the
backward pass of grouped convolutions many times over. Time is measured, in the trainer itself, on some steps of a copy
that nobody keeps. What the kernels need in passing (workspaces, gradients of activations) is not in the estimate.
"""

import math
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.trainer.states import RunningStage
from torch import Tensor

from ..analysis.estimate import SMALL, Estimate
from ..analysis.flops import count_flops, count_saved, first_rows, free_memory, now, optimizer_bytes, peak_flops
from ..analysis.memory import Memory, storage_bytes
from ..callbacks.base import Callback
from ..data.base import DataModule
from ..errors import UserError
from ..metrics.figures import amount
from ..storage.run_folder import RUNS
from ..tasks.base import Task
from ..training.precision import require_precision
from ..training.threads import cores
from .assemble import assemble
from .build import build_trainer, callbacks_of
from .devices import device_of

WARM_UP = 3  # steps that are not measured
PATIENCE = 60.0  # seconds after which fewer steps have to do
MOST_BATCHES = 8  # of which the operations are averaged, where batches differ in length
STEP_CALLBACKS = ("threads.Threads", "finite.Finite", "ema.EMA")  # they work in each step and write nothing


def estimate(plain: dict[str, Any], model: str, data_name: str, samples: int = 12) -> Estimate:
    """Count and measure on one device. Nothing is written that stays.

    Args:
        plain: a run's config, resolved and checked; it is changed.
        model, data_name: the names that were chosen.
        samples: steps to measure.

    Raises:
        UserError: a device that is not there, and what training itself refuses.
    """
    found = Estimate(model, data_name)
    options = plain["trainer"]
    found.processes = count_processes(options)
    device = device_of(options["accelerator"])
    found.device = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    if found.processes > 1:
        found.notes.append(f"measured on one of {found.processes} devices, without the exchange of gradients")
        threads = plain["callbacks"].get("threads") or {}
        if device.type == "cpu" and threads.get("number", 0) is None:
            threads["number"] = max(1, cores() // found.processes)
    limit_val_batches = options["limit_val_batches"]
    options |= {
        "devices": 1, "strategy": "auto", "sync_batchnorm": False, "limit_val_batches": 0, "profiler": None,
        "fast_dev_run": False, "enable_checkpointing": False,
    }  # fmt: skip
    own = {key: value for key, value in callbacks_of(plain).items() if str(value["_target_"]).endswith(STEP_CALLBACKS)}
    torch.manual_seed(plain["seed"])
    parts = assemble(plain | {"weights": None})
    data, task = parts.data, parts.task
    if not task.automatic_optimization:
        raise UserError(f"the task {task.name} has several optimisers, for which there is no plan")
    found.task = task.name
    task.on_fit_start = lambda: None  # type: ignore[method-assign]  # baselines, whose counting can take minutes
    share(data, found.processes)
    if plain["compile"]:
        found.notes.append("activations and FLOP are those of the network without compile, which keeps fewer")
    if plain.get("recompute"):
        found.notes.append("activations are what blocks read; those within one block at a time come on top")
    probe = Probe(found, samples, limit_val_batches)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(plain | {"callbacks": own, "logger": {}}, Path(folder), [probe])
        found.precision = str(trainer.precision)
        require_precision(task.network, found.precision, trainer.strategy.root_device)
        try:
            trainer.fit(task, datamodule=data)
        except _EnoughError:
            pass
        except torch.OutOfMemoryError:
            if not found.steps:
                raise UserError(
                    f"even {SMALL[1]} samples do not fit into the memory of {found.device}: choose a smaller network"
                ) from None
            found.notes.append(f"no step was measured: a batch of {found.batch_size} does not fit into the memory")
    every = options["check_val_every_n_epoch"]
    found.validations = 0 if limit_val_batches == 0 else max(1, math.ceil(found.epochs) // every)
    found.memory_bytes = (
        found.weight_bytes + found.gradient_bytes + found.optimizer_bytes + found.average_bytes + found.activation_bytes
    )
    if found.seconds_per_step is not None:
        found.seconds = found.steps * found.seconds_per_step
        found.seconds += found.validations * (found.seconds_per_validation or 0.0)
        found.flops_per_second = found.flops_per_step / found.processes / found.seconds_per_step
        peak = peak_flops(found.device, found.precision)
        found.mfu = None if peak is None else found.flops_per_second / peak
    # `last.ckpt`, the one before it, the one that is being written, and the best one's weights
    found.disk_bytes = 3 * found.checkpoint_bytes + found.weight_bytes
    found.free_bytes = shutil.disk_usage(RUNS if RUNS.is_dir() else Path.cwd()).free
    return found


def count_tokens(task: Task, batch: Any) -> int | None:
    """Tokens that a network reads in a batch, padding included; None where its inputs are no tokens."""
    x = batch[0]
    if not isinstance(x, Tensor) or x.is_floating_point() or x.ndim != 2:
        return None
    if task.name == "seq2seq":
        return int(x.numel() + batch[2].numel() - len(x))
    return x.numel() - (len(x) if task.name == "language_modeling" else 0)  # the last one is only predicted


class _EnoughError(Exception):
    """What was to be measured is measured."""


class Probe(Callback):
    """Counts at the beginning of the first epoch, then times steps, then ends the training.

    Args:
        estimate: gets what is found.
        samples: steps to measure, after those that warm up.
        limit_val_batches: of the config; this trainer has no validation.
    """

    def __init__(self, estimate: Estimate, samples: int, limit_val_batches: int | float | None) -> None:
        self.found, self.samples, self.limit_val_batches = estimate, samples, limit_val_batches
        self.times: list[float] = []
        self.counted, self.step = False, 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        self.memory = Memory(pl_module.network, trainer.optimizers, pl_module.device)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        if not self.counted:
            self.counted = True
            self.count(trainer, pl_module)
        self.last = now(pl_module.device)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:  # gradients are being accumulated
            return
        self.step = trainer.global_step
        time_now = now(pl_module.device)
        self.times.append(time_now - self.last)
        self.last = time_now
        many, slow = len(self.times) >= WARM_UP + self.samples, len(self.times) > 1 and sum(self.times) > PATIENCE
        if many or slow:
            self.conclude(trainer, pl_module)
            raise _EnoughError

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.conclude(trainer, pl_module)  # the training was shorter

    def conclude(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        """Times of steps and of a validation."""
        assert isinstance(task, Task)
        found = self.found
        found.sampled_memory_bytes, found.kind_of_memory = self.memory.peak(), self.memory.kind
        times = self.times[WARM_UP:] or self.times[len(self.times) // 2 :]
        if times:
            found.measured_steps, found.seconds_per_step = len(times), statistics.median(times)
            found.seconds_per_validation = self.validate(trainer, task)

    def count(self, trainer: lightning.Trainer, task: Task) -> None:
        """All that needs no clock, with the weights, the batch and the precision of the training's first step."""
        found, network = self.found, task.network
        loader: Any = trainer.train_dataloader
        batches = self.batches(trainer, task, loader)
        size = len(batches[0][0])
        largest = max(batches, key=lambda batch: batch[0].numel())
        found.batch_size, found.threads = size, torch.get_num_threads()

        def forward(batch: Any, number: int) -> Any:
            task.on_train_epoch_start()  # a carried state begins anew
            with trainer.precision_plugin.forward_context():
                return task.step(first_rows(batch, number, size))["loss"]

        few = SMALL if size > SMALL[1] else (size,)
        flops = [count_flops(lambda batch=batch: forward(batch, few[-1])) for batch in batches]  # type: ignore[misc]
        with_gradients, others = (round(sum(part) / len(flops) / few[-1]) for part in zip(*flops, strict=True))
        saved = [count_saved(lambda n=n: forward(largest, n), network) for n in few]  # type: ignore[misc]
        each = saved[0] / size if len(few) == 1 else (saved[1] - saved[0]) / (few[1] - few[0])
        found.activation_bytes_per_sample = round(each)
        found.activation_bytes = round(saved[-1] + each * (size - few[-1]))
        found.flops_per_sample, found.other_flops_per_sample = with_gradients, others
        forward(batches[0], few[-1]).backward()
        (optimizer,) = trainer.optimizers
        optimizer.step()
        found.weight_bytes = storage_bytes((*network.parameters(), *network.buffers()))
        found.gradient_bytes = storage_bytes(p.grad for p in network.parameters() if p.grad is not None)
        found.optimizer_bytes = optimizer_bytes(optimizer)
        optimizer.zero_grad()
        averages = [vars(callback).get("averages", {}) for callback in trainer.callbacks]  # type: ignore[attr-defined]
        found.average_bytes = storage_bytes(x for kept in averages for x in kept.values())
        found.parameters = sum(p.numel() for p in network.parameters())
        found.trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
        found.optimizer = type(optimizer).__name__
        found.checkpoint_bytes = found.weight_bytes + found.optimizer_bytes + found.average_bytes
        plan, accumulated = task.plan, trainer.accumulate_grad_batches
        found.steps_per_epoch, found.steps = plan.steps_per_epoch, plan.total
        found.epochs = plan.total / plan.steps_per_epoch
        found.samples = plan.total * plan.samples_per_step
        found.flops_per_step = (3 * with_gradients + others) * plan.samples_per_step
        counts = [count_tokens(task, batch) for batch in batches]
        tokens = [count for count in counts if count is not None]
        if tokens:
            found.tokens = round(statistics.mean(tokens) / size * found.samples)
            if task.name in ("language_modeling", "masked_lm"):
                found.six_n_d = 6 * found.parameters * found.tokens
        if task.frozen:
            found.notes.append(
                f"memory and time are those of the first {task.frozen_steps:,} steps, which train the heads alone; "
                "FLOP are counted as if all layers were trained"
            )
        if len(batches) > 1:
            found.notes.append(
                f"batches differ in length: FLOP and tokens are means of {len(batches)} of them, activations those of "
                "the largest"
            )
        self.require_room(task.device, accumulated)

    def batches(self, trainer: lightning.Trainer, task: Task, loader: Any) -> list[Any]:
        """The first batches of the training: one, where the second has the same shape, else several."""
        found: list[Any] = []
        for key in loader.sampler:
            found.append(trainer.strategy.batch_to_device(loader.dataset[key], task.device))
            if len(found) == MOST_BATCHES or (len(found) == 2 and found[0][0].shape == found[1][0].shape):
                break
        return found[:1] if found[0][0].shape == found[-1][0].shape and len(found) <= 2 else found

    def require_room(self, device: torch.device, accumulated: int) -> None:
        """End before a step that this machine could not hold."""
        free = free_memory(device)
        if free is not None and self.found.activation_bytes > free:
            self.found.notes.append(
                f"no step was measured: the activations of a batch need {amount(self.found.activation_bytes, 'B')} and "
                f"{amount(free, 'B')} are free; try data.batch_size={max(1, self.found.batch_size // 2)} "
                f"trainer.accumulate_grad_batches={2 * accumulated}"
            )
            raise _EnoughError

    @torch.no_grad()
    def validate(self, trainer: lightning.Trainer, task: Task) -> float:
        """Seconds of one validation, from the median of some batches."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        loader = data.val_dataloader()
        number, limit = len(loader), self.limit_val_batches
        if limit is not None:
            number = min(number, limit) if isinstance(limit, int) else int(number * limit)
        if number == 0:
            return 0.0
        trainer.state.stage = RunningStage.VALIDATING
        task.eval()
        task.on_validation_epoch_start()
        times = []
        for raw, _ in zip(loader, range(WARM_UP), strict=False):
            begun = now(task.device)
            batch = trainer.strategy.batch_to_device(raw, task.device)
            with trainer.precision_plugin.forward_context():
                task.validation_step(batch, 0)
            times.append(now(task.device) - begun)
        return number * statistics.median(times)


def count_processes(options: dict[str, Any]) -> int:
    """Processes of a trainer, of which each has a device."""
    devices = options["devices"]
    if isinstance(devices, list | tuple):
        return len(devices)
    if str(devices) in ("auto", "-1"):
        return torch.cuda.device_count() if device_of(options["accelerator"]).type == "cuda" else 1
    return len([part for part in devices.split(",") if part]) if "," in str(devices) else int(devices)


def share(data: DataModule, processes: int) -> None:
    """The loaders give the first process its part of each batch.

    Raises:
        UserError: the processes cannot share a batch equally.
    """
    if data.batch_size % processes:
        raise UserError(f"data.batch_size={data.batch_size} must be a positive multiple of the {processes} processes")
    load = data.loader

    def first(split: str, *, shuffle: bool = False) -> Any:
        loader = load(split, shuffle=shuffle)
        loader.sampler.world = processes
        return loader

    data.loader = first  # type: ignore[method-assign]

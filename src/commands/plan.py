"""What a training will take, told before it: memory, arithmetic, steps, time and disk; and what a run then took.

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

import json
import logging
import math
import shutil
import statistics
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import lightning
import rich
import torch
from lightning.pytorch.trainer.states import RunningStage
from omegaconf import OmegaConf
from rich.table import Table
from rich.text import Text
from torch import Tensor

from ..analysis.flops import count_flops, count_saved, first_rows, free_memory, now, optimizer_bytes, peak_flops
from ..analysis.memory import Memory, storage_bytes
from ..callbacks.base import Callback
from ..callbacks.progress import clock
from ..data.base import DataModule
from ..errors import UserError
from ..run.assemble import assemble
from ..run.build import build_trainer
from ..run.check import check_training
from ..run.compose import as_typed, composed, register_resolvers
from ..run.console import ConsoleHandler, logged_by, quiet_libraries
from ..run.devices import device_of
from ..run.resume import flat, saved_config
from ..storage.files import read_metrics
from ..storage.random_state import kept_random_state
from ..storage.run_folder import RUNS, shown
from ..tasks.base import Task
from ..training.threads import cores

SMALL = (2, 4)  # samples of the two batches on which activations are counted
WARM_UP = 3  # steps that are not measured
PATIENCE = 60.0  # seconds after which fewer steps have to do
MOST_BATCHES = 8  # of which the operations are averaged, where batches differ in length
STEP_CALLBACKS = ("threads.Threads", "finite.Finite", "ema.EMA")  # they work in each step and write nothing


@dataclass
class Estimate:
    """What a training takes: bytes, floating-point operations (FLOP), seconds.

    Attributes:
        model, data, task, optimizer: names.
        device, processes, precision, threads: on what it computes; memory and time are of one process.
        parameters, trainable: numbers.
        weight_bytes: parameters and buffers.
        gradient_bytes, optimizer_bytes: after a step; counters of steps apart.
        average_bytes: averaged weights, where there are.
        batch_size: samples of a batch of one process.
        activation_bytes, activation_bytes_per_sample: kept for the backward pass of a batch; what a sample adds.
        memory_bytes: the sum of these.
        sampled_memory_bytes: the peak in the measured steps, see `kind_of_memory`; None where it cannot be measured.
        flops_per_sample: of the forward pass with gradients; of others (a teacher's) in `other_flops_per_sample`.
        flops_per_step: of all processes, forward and backward.
        six_n_d: 6 N D of one training on D tokens with all N parameters; None where there are no tokens to predict.
        steps_per_epoch, steps, epochs, samples, tokens: of the training; tokens are None where inputs have none.
        measured_steps: on how many the time is measured; fewer than 1: none.
        seconds_per_step, seconds_per_validation, validations, seconds: None where no step was measured.
        flops_per_second: of one device. mfu: its share of the device's peak, where that is known.
        checkpoint_bytes, disk_bytes: of `last.ckpt`, and of all that a run keeps. free_bytes: of the disk here.
        notes: what else has to be known.
    """

    model: str
    data: str
    task: str = ""
    optimizer: str = ""
    device: str = ""
    processes: int = 1
    precision: str = ""
    threads: int = 1
    parameters: int = 0
    trainable: int = 0
    weight_bytes: int = 0
    gradient_bytes: int = 0
    optimizer_bytes: int = 0
    average_bytes: int = 0
    batch_size: int = 0
    activation_bytes: int = 0
    activation_bytes_per_sample: int = 0
    memory_bytes: int = 0
    sampled_memory_bytes: int | None = None
    kind_of_memory: str = ""
    flops_per_sample: int = 0
    other_flops_per_sample: int = 0
    flops_per_step: int = 0
    six_n_d: int | None = None
    steps_per_epoch: int = 0
    steps: int = 0
    epochs: float = 0.0
    samples: int = 0
    tokens: int | None = None
    measured_steps: int = 0
    seconds_per_step: float | None = None
    seconds_per_validation: float | None = None
    validations: int = 0
    seconds: float | None = None
    flops_per_second: float | None = None
    mfu: float | None = None
    checkpoint_bytes: int = 0
    disk_bytes: int = 0
    free_bytes: int = 0
    notes: list[str] = field(default_factory=list)


def count_tokens(task: Task, batch: Any) -> int | None:
    """Tokens that a network reads in a batch, padding included; None where its inputs are no tokens."""
    x = batch[0]
    if not isinstance(x, Tensor) or x.is_floating_point() or x.ndim != 2:
        return None
    if task.name == "seq2seq":
        return int(x.numel() + batch[2].numel() - len(x))
    return x.numel() - (len(x) if task.name == "language_modeling" else 0)  # the last one is only predicted


# --- in the trainer


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
        if device.type == "cpu" and plain["callbacks"].get("threads", {}).get("number", 0) is None:
            plain["callbacks"]["threads"]["number"] = max(1, cores() // found.processes)
    limit_val_batches = options["limit_val_batches"]
    options |= {
        "devices": 1, "strategy": "auto", "sync_batchnorm": False, "limit_val_batches": 0, "profiler": None,
        "fast_dev_run": False, "enable_checkpointing": False,
    }  # fmt: skip
    own = {key: value for key, value in plain["callbacks"].items() if str(value["_target_"]).endswith(STEP_CALLBACKS)}
    torch.manual_seed(plain["seed"])
    parts = assemble(plain | {"weights": None})
    data, task = parts.data, parts.task
    if not task.automatic_optimization:
        raise UserError(f"the task {task.name} has several optimisers, for which there is no plan")
    found.task = task.name
    task.on_fit_start = _nothing  # type: ignore[method-assign]  # baselines, whose counting can take minutes
    share(data, found.processes)
    if plain["compile"]:
        found.notes.append("activations and FLOP are those of the network without compile, which keeps fewer")
    probe = Probe(found, samples, limit_val_batches)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(plain | {"callbacks": own, "logger": {}}, Path(folder), [probe])
        found.precision = str(trainer.precision)
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


def _nothing() -> None:
    pass


# --- the command


def plan(*words: Annotated[str, "training"], samples: int = 12, output: str = "", against: str = "") -> Estimate:
    """Memory, FLOP, steps, time and disk of a training, told before it; and what a run then used.

    Nothing is written in runs.

    Args:
        words: those of training.
        samples: steps to measure.
        output: a .json file for the figures.
        against: a run folder to compare with; alone, the plan is that of the run's own config.

    Returns:
        The figures.

    Raises:
        UserError: a mistake in the words.

    Examples:
        torchatlas plan model=resnet18 data=cifar10 trainer.max_epochs=30
        torchatlas plan against=runs/latest
    """
    if samples < 1:
        raise UserError(f"samples={samples} must be a positive whole number of steps, as in samples=12")
    for word in words:
        if word.startswith(("-", "~", "hydra.", "hydra/", "resume=", "seeds=")):
            raise UserError(f"{word} has no place here, where a new network is tried for some steps: leave it out")
    path = Path(output).expanduser() if output else None
    if path is not None and path.suffix != ".json":
        raise UserError(f"output={path} must end in .json")
    if path is not None and not path.parent.is_dir():
        raise UserError(f"output={path}: there is no folder {path.parent}")
    folder = Path(against).expanduser() if against else None
    before = None if folder is None else what_was_used(folder)
    threads = torch.get_num_threads()
    try:
        handler = ConsoleHandler()
        handler.addFilter(logging.Filter("torchatlas.data"))  # a download may take its time
        with warnings.catch_warnings(), logged_by(handler, "%(message)s"), kept_random_state():
            quiet_libraries()
            plain, model, data = configured(words, folder)
            differences = [] if folder is None else changes(saved_config(folder), plain)
            found = estimate(plain, model, data, samples)
    finally:
        torch.set_num_threads(threads)
    print_table(("", "plan", "how it is known"), rows(found))
    for note in found.notes:
        print(f"note: {note}")
    compared = None
    if folder is not None and before is not None:
        compared = comparison(found, before)
        print()
        print_table(("", "plan", "run", "run / plan"), compared_rows(compared))
        print(f"{shown(folder)}: {before['device']}, memory is the {before['memory']}")
        for difference in differences:
            print(f"note: {difference}")
    if path is not None:
        content = asdict(found) | ({} if compared is None else {"against": compared})
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(f"written to {path}")
    return found


def configured(words: Sequence[str], folder: Path | None) -> tuple[dict[str, Any], str, str]:
    """A resolved and checked config, and the names of its network and its data."""
    register_resolvers()
    if folder is not None and not words:
        config = saved_config(folder)
        check_training(config)
        model, data = (str(config[part]._target_).rpartition(".")[2] for part in ("model", "data"))
    else:
        with as_typed(list(words)):
            config, model, data = composed(words)
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return plain, model, data


def what_was_used(folder: Path) -> dict[str, Any]:
    """What a run has written down of its own use.

    Raises:
        UserError: there is no such folder, or nothing is written there.
    """
    if not (folder / "config.yaml").is_file():
        raise UserError(f"against={folder} is no run folder: there is no {folder / 'config.yaml'}")
    metrics = read_metrics(folder)
    if not metrics.get("used"):
        raise UserError(
            f"against={folder}: its metrics.json does not say what the run used: name a run that has ended an epoch, "
            "with a version of torchatlas that writes it down"
        )
    file = folder / "checkpoints" / "last.ckpt"
    return {
        **metrics["used"],
        "parameters": metrics["parameters"],
        "checkpoint_bytes": file.stat().st_size if file.is_file() else None,
        "finished": metrics["finished"],
    }


def changes(saved: Any, plain: dict[str, Any]) -> list[str]:
    """In what a run's config differs, as far as it decides what is used."""
    keys = (
        "model.", "task._target_", "data._target_", "data.batch_size", "data.context", "data.length", "optim._target_",
        "duration", "compile", "trainer.max_", "trainer.accumulate", "trainer.limit_train",
    )  # fmt: skip
    one, two = flat(OmegaConf.to_container(saved)), flat(plain)
    differing = [key for key in {**one, **two} if key.startswith(keys) and one.get(key) != two.get(key)]
    return [f"{key} is {two.get(key)} in the plan and {one.get(key)} in the run" for key in differing]


def comparison(found: Estimate, used: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """Of each quantity what was planned, what the run used, and their ratio."""
    pairs = {
        "parameters": (found.parameters, used["parameters"]),
        "memory, counted": (found.memory_bytes, used["memory_bytes"]),
        "memory, in the sample": (found.sampled_memory_bytes, used["memory_bytes"]),
        "seconds of a step": (found.seconds_per_step, used["seconds_per_step"]),
        "steps": (found.steps, used["steps"]),
        "seconds in all": (found.seconds, used["seconds"]),
        "last.ckpt": (found.checkpoint_bytes, used["checkpoint_bytes"]),
    }
    return {
        key: {"plan": plan, "run": run, "ratio": run / plan if plan and run is not None else None}
        for key, (plan, run) in pairs.items()
    }


def compared_rows(compared: dict[str, dict[str, float | None]]) -> list[tuple[str, ...]]:
    """As they are printed."""

    def text(key: str, value: float | None) -> str:
        if value is None:
            return "unknown"
        if key.startswith(("memory", "last")):
            return amount(value, "B")
        return duration(value) if key.startswith("seconds") else f"{value:,}"

    return [
        (key.replace("seconds of", "time of").replace("seconds in", "time in"), text(key, row["plan"]),
         text(key, row["run"]), "" if row["ratio"] is None else f"{row['ratio']:.2f}")
        for key, row in compared.items()
    ]  # fmt: skip


def amount(number: float, unit: str) -> str:
    """Three digits and a prefix, in powers of 1000.

    >>> amount(1_234_567, "B"), amount(999.6e3, "FLOP"), amount(12, "B")
    ('1.23 MB', '1.00 MFLOP', '12 B')
    """
    for prefix in ("", "k", "M", "G", "T", "P", "E", "Z"):
        if number < 999.5 or prefix == "Z":
            break
        number /= 1000
    digits = 0 if not prefix or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{digits}f} {prefix}{unit}"


def duration(seconds: float) -> str:
    """Three digits of a short time, hours, minutes and seconds of a long one.

    >>> duration(0.01234), duration(5.678), duration(3723)
    ('12.3 ms', '5.68 s', '1:02:03')
    """
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 60 else clock(seconds)


def rows(found: Estimate) -> list[tuple[str, str, str]]:
    """The table: what, how much, and how it is known."""
    processes = f", one of {found.processes} processes" if found.processes > 1 else ""
    threads = f", {found.threads} thread{'s' * (found.threads > 1)}" if found.device == "cpu" else ""
    where, per_sample = f"{found.device}{threads}{processes}", found.flops_per_sample
    lines = [
        ("network", f"{found.model} on {found.data}", f"{found.task}; {where}, {found.precision}"),
        ("parameters", f"{found.parameters:,}", f"{found.trainable:,} of them trained"),
        ("weights", amount(found.weight_bytes, "B"), "counted, buffers included"),
        ("gradients", amount(found.gradient_bytes, "B"), "counted after a backward pass"),
        ("optimiser", amount(found.optimizer_bytes, "B"), f"counted after a step of {found.optimizer}"),
    ]  # fmt: skip
    if found.average_bytes:
        lines.append(("averaged weights", amount(found.average_bytes, "B"), "counted"))
    each = amount(found.activation_bytes_per_sample, "B")
    lines += [
        ("activations", amount(found.activation_bytes, "B"),
         f"of a batch of {found.batch_size}, {each} each: counted on {' and '.join(map(str, SMALL))}, extrapolated"
         if found.batch_size > SMALL[1] else f"of a batch of {found.batch_size}, counted"),
        ("memory", amount(found.memory_bytes, "B"), "the sum; an estimate, kernels' workspaces apart"),
    ]  # fmt: skip
    if found.sampled_memory_bytes is not None:
        lines.append(
            ("memory in a sample", amount(found.sampled_memory_bytes, "B"), f"measured: {found.kind_of_memory}")
        )
    lines.append(("forward pass", f"{amount(per_sample, 'FLOP')} a sample", "counted, 2 FLOP a multiply-accumulate"))
    if found.other_flops_per_sample:
        text = f"{amount(found.other_flops_per_sample, 'FLOP')} a sample"
        lines.append(("without gradients", text, "counted, as of a teacher"))
    total = found.flops_per_step * found.steps
    lines += [
        (
            "training step",
            amount(found.flops_per_step, "FLOP"),
            f"three forward passes; {amount(total, 'FLOP')} in all",
        ),
    ]
    if found.six_n_d is not None:
        ratio = total / found.six_n_d
        lines.append(
            ("6ND", amount(found.six_n_d, "FLOP"), f"in all, with all parameters; counted are {ratio:.2f} of it")
        )
    tokens = "" if found.tokens is None else f", {found.tokens:,} tokens"
    lines += [
        ("steps", f"{found.steps:,}", f"{found.epochs:.4g} epochs of {found.steps_per_epoch:,}"),
        ("samples", f"{found.samples:,}", f"in all{tokens}"),
    ]
    if found.seconds_per_step is not None and found.seconds is not None:
        epoch = found.seconds_per_step * found.steps_per_epoch
        validation = found.seconds_per_validation or 0.0
        lines += [
            ("time of a step", duration(found.seconds_per_step), f"measured, the median of {found.measured_steps}"),
            ("time of an epoch", duration(epoch), f"and a validation of {duration(validation)}, a guess"),
            ("time in all", duration(found.seconds),
             f"with {found.validations} validation{'s' * (found.validations != 1)}; start, test and pictures apart"),
            ("speed", f"{amount(found.flops_per_second or 0, 'FLOP')}/s",
             "of one device" if found.mfu is None else f"of one device, {100 * found.mfu:.3g} % of its peak (MFU)"),
        ]  # fmt: skip
    else:
        lines.append(("time", "unknown", "see the note"))
    lines += [
        ("last.ckpt", amount(found.checkpoint_bytes, "B"), "weights, optimiser and averages"),
        ("disk", amount(found.disk_bytes, "B"), f"for all checkpoints; {amount(found.free_bytes, 'B')} are free here"),
    ]
    return lines


def print_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """A table in a terminal, aligned lines elsewhere."""
    console = rich.get_console()
    right = range(1, len(columns) - (columns[-1] == "how it is known"))
    if console.is_terminal:
        table = Table()
        for i, column in enumerate(columns):
            table.add_column(column, justify="right" if i in right else "left")
        for line in lines:
            table.add_row(*map(Text, line))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *lines, strict=True)]
    for line in (columns, *lines):
        words = (f"{w:>{n}}" if i in right else f"{w:<{n}}" for i, (w, n) in enumerate(zip(line, widths, strict=True)))
        print("  ".join(words).rstrip())

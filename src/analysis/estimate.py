"""What a training takes, as figures and as the lines that are printed."""

from dataclasses import dataclass, field
from typing import Any

from ..metrics.figures import amount, duration

SMALL = (2, 4)  # samples of the two batches on which activations are counted


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

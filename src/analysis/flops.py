"""Floating-point operations and memory of a training step, counted on the meta device."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.utils.flop_counter import FlopCounterMode

from .memory import state_tensors, storage_bytes
from .operations import FORMULAS, recurrent_flops

# FLOP/s of dense products of bf16 or fp16 numbers, without sparsity, by NVIDIA's data sheets of the SXM boards (the
# A100's is the same on PCIe).
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}


def count_flops(compute: Callable[[], Any]) -> tuple[int, int]:
    """Floating-point operations of matrix products, convolutions and attention; elementwise work counts as nothing.

    torch's counter does not know torch's own recurrent layers, whose operations are counted by formula. Attention is
    counted whole, also where a causal mask lets half of it be left out.

    Args:
        compute: a forward pass.

    Returns:
        Those for which gradients may follow, and those under `torch.no_grad`.
    """
    counter = FlopCounterMode(display=False)
    counter.flop_registry = dict(FORMULAS)
    added, without_gradients = 0, 0
    entered: list[tuple[int, bool]] = []

    def enter(module: nn.Module, _: Any) -> None:
        entered.append((counter.get_total_flops() + added, torch.is_grad_enabled()))

    def leave(module: nn.Module, inputs: Any, __: Any) -> None:
        nonlocal added, without_gradients
        before, with_gradients = entered.pop()
        if isinstance(module, nn.RNNBase):  # some of its kernels are known to the counter
            added = before + recurrent_flops(module, inputs[0]) - counter.get_total_flops()
        if not with_gradients and all(flag for _, flag in entered):
            without_gradients += counter.get_total_flops() + added - before

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        with counter, torch.compiler.set_stance("force_eager"):
            compute()
    finally:
        for handle in handles:
            handle.remove()
    return counter.get_total_flops() + added - without_gradients, without_gradients


def count_saved(compute: Callable[[], Any], network: nn.Module) -> int:
    """Bytes that a forward pass keeps for the backward one.

    Args:
        compute: the forward pass; it returns what holds the graph.
        network: its parameters and buffers are not counted.
    """
    own = {x.untyped_storage().data_ptr() for x in (*network.parameters(), *network.buffers())}
    saved: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return x

    def keep_inputs(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        for x in inputs:
            if isinstance(x, Tensor):
                keep(x)

    # Blocks that are recomputed hide from the hooks what they compute, and keep what they read.
    blocks = [layer for layer in network.modules() if getattr(layer, "recomputes", False)]
    handles = [block.register_forward_pre_hook(keep_inputs) for block in blocks]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x), torch.compiler.set_stance("force_eager"):
        alive = compute()  # else memory would be given back, and counted as one where it is used again
    del alive
    for handle in handles:
        handle.remove()
    return sum(saved.values())


def optimizer_bytes(optimizer: Optimizer) -> int:
    """What an optimiser keeps after a step: 4 bytes a parameter for a momentum in fp32, 8 for Adam's two moments."""
    return storage_bytes(state_tensors(optimizer))


def first_rows(batch: Any, number: int, size: int) -> Any:
    """The first samples of a batch of `size`, in memory of their own."""
    if isinstance(batch, Tensor):
        return batch[:number].clone() if batch.ndim and len(batch) == size else batch
    if isinstance(batch, list | tuple):
        parts = [first_rows(x, number, size) for x in batch]
        return type(batch)(parts[:number] if isinstance(batch, list) and len(batch) == size else parts)
    return batch


def peak_flops(device: str, precision: str) -> float | None:
    """FLOP/s that a device can have at most, where it is known: NVIDIA's SXM boards in half precision."""
    if not precision.startswith(("bf16", "16")) or "NVL" in device or ("PCIe" in device and "A100" not in device):
        return None
    return next((peak for name, peak in PEAKS.items() if name in device), None)


def now(device: torch.device) -> float:
    """The time when a device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def free_memory(device: torch.device) -> int | None:
    """Bytes that are there for new tensors; None where the system does not tell."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + unused)
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    return None

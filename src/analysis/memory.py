"""Memory of a process and of a GPU, and bytes of a training's state."""

import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Memory of the tensors; of several that share it once."""
    return sum({s.data_ptr(): s.nbytes() for s in (tensor.untyped_storage() for tensor in tensors)}.values())


def state_tensors(optimizer: Optimizer) -> list[Tensor]:
    """What an optimiser keeps of each parameter; its counters of steps, single numbers, are left out."""
    return [
        value
        for state in optimizer.state.values()
        for key, value in state.items()
        if isinstance(value, Tensor) and key != "step"
    ]


class Memory:
    """The most memory that a training has had, from when this object was made.

    On CUDA: of all tensors together, as torch's allocator counts them. Elsewhere: of the process, its resident set at
    the peak less what it was at the beginning, and the tensors that were there already. Data that were read before are
    not in it; workspaces of kernels, libraries that are loaded later and memory that was freed and not given back are,
    some megabytes or tens of them. Where the system cannot begin its peak anew, an earlier one counts.

    Attributes:
        kind: what is measured, in words.
    """

    def __init__(self, network: nn.Module, optimizers: Iterable[Optimizer], device: torch.device) -> None:
        self.device = device
        self.kind = "tensors at the peak, by torch.cuda.max_memory_allocated"
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        self.kind = "growth of the process's resident set to its peak, and the weights"
        states = [tensor for optimizer in optimizers for tensor in state_tensors(optimizer)]
        own = (x for x in (*network.parameters(), *network.buffers(), *states) if x.device.type == "cpu")
        self.there = storage_bytes(own)
        self.before = resident("VmRSS")
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak begins anew

    def peak(self) -> int | None:
        """Bytes; None where the system does not tell."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        now = resident("VmHWM")
        return None if now is None or self.before is None else max(0, now - self.before) + self.there


def resident(name: str) -> int | None:
    """The resident set of this process in bytes, now (VmRSS) or at its peak (VmHWM); without /proc always the peak."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])
    with contextlib.suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
    return None

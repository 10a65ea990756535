"""Cores: how many there are, and how computation and loader workers share them."""

import os
from pathlib import Path

MOST_WORKERS = 8  # of one process on a GPU


def cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its container."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        number = min(number, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max"
        pass
    return number


def divide(cores: int, *, in_memory: bool, on_gpu: bool, workers: int | None = None) -> tuple[int, int]:
    """Threads that compute and workers that read, of one process with so many cores.

    Data in memory need no workers. On a GPU the processor has little else to do than to read; on a CPU a quarter of the
    cores reads. A worker beside as many threads as there are cores more than halves the speed of the whole.

    Returns:
        threads (at least 1) and workers; together not more than the cores, unless the user wants more workers.
    """
    if workers is None:
        workers = 0 if in_memory or cores == 1 else min(MOST_WORKERS, cores - 1) if on_gpu else max(1, cores // 4)
    return max(1, cores - workers), workers

"""The random states of Python, NumPy and torch: taken, put back, kept."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """States of all generators of this process, as tensors and plain values."""
    state_of_numpy: Any = np.random.get_state()
    name, keys, position, has_gauss, gauss = state_of_numpy
    version, state, cached = random.getstate()
    return {
        "python": [version, torch.tensor(state), cached],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def restore_random_state(states: dict[str, Any]) -> None:
    """The reverse of `random_state`."""
    version, state, cached = states["python"]
    random.setstate((version, tuple(state.tolist()), cached))
    name, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(states["torch"])
    devices: dict[str, tuple[bool, Callable[[Any], None]]] = {
        "cuda": (torch.cuda.is_available(), torch.cuda.set_rng_state),
        "mps": (torch.backends.mps.is_available(), torch.mps.set_rng_state),
    }
    for device, (there, restore) in devices.items():
        if states[device] is not None and there:
            restore(states[device])


@contextlib.contextmanager
def kept_random_state() -> Iterator[None]:
    """The generators of Python, NumPy, torch and the present device go on afterwards as if nothing had been drawn."""
    state = random_state()
    try:
        yield
    finally:
        restore_random_state(state)

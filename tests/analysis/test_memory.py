"""Memory in use: what is shared counts once, what was freed again is seen."""

from pathlib import Path

import pytest
import torch
from torch import nn

from torchatlas.analysis.memory import Memory, state_tensors, storage_bytes
from torchatlas.models.mlp import MLP
from torchatlas.tasks.classification import Classification


def test_bytes_of_what_is_shared_count_once() -> None:
    x = torch.zeros(10, 10)
    assert storage_bytes([x, x[2:], x.view(100), torch.zeros(5, dtype=torch.float64)]) == 400 + 40
    assert storage_bytes([]) == 0
    assert state_tensors(torch.optim.SGD([nn.Parameter(x)], 0.1)) == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell of its processes")
def test_memory_sees_what_is_freed_again() -> None:
    task = Classification(MLP(image_size=8, num_classes=10))
    own = storage_bytes(task.parameters())
    memory = Memory(task.network, [], task.device)
    before = memory.peak()
    big = torch.ones(2**26)  # 268 MB
    del big
    after = memory.peak()
    assert before is not None
    assert after is not None
    assert own <= before < own + 1e8
    assert after - before == pytest.approx(4 * 2**26, rel=0.2)

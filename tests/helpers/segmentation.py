"""Stub networks and batches of segmentation."""

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from torchatlas.data.base import DataModule

K = 3


class Given(nn.Module):
    """Answers with its input, whose channels are the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


def made(n: int = 5, side: int = 6) -> tuple[Tensor, Tensor]:
    """Logits and masks; of later images more is ignored, and class 2 is nowhere."""
    logits, masks = torch.randn(n, K, side, side), torch.randint(2, (n, side, side))
    logits[:, 2] -= 20
    for i in range(1, n):
        masks[i, : side - n + i + 1] = 255
    return logits, masks


# --- figures


class Batches(DataModule):
    """Given batches of one split."""

    classes, num_classes = ("ground", "a cell", "none"), K

    def __init__(self, batches: list[tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.batches = batches

    def val_dataloader(self) -> Any:
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        return batch


MakeTrainer = Callable[..., lightning.Trainer]

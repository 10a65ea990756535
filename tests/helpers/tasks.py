"""Stub networks that answer with fixed logits."""

import torch
from torch import Tensor, nn


class Answer(nn.Module):
    """Answers with fixed logits, cut to the steps of the input."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits[:, : x.shape[1]]


class Constant(nn.Module):
    """Answers with fixed logits."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits

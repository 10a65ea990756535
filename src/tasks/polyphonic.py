"""Polyphonic music: the next frame from those before it."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..metrics.figures import Figure, Reports
from .base import MakeOptimizer, MakeSchedule, Task


class Polyphonic(Task):
    """Which keys are down in the next frame of a piece.

    Network: x `b t k` of zeros and ones -> logits `b t k`, causal. Batch: (frames `b t+1 k`, how many of them are real
    `b`), shifted here; padding behind counts nowhere. Each key is a coin of its own, given the past. Loss and `nll`
    (the same number) are the negative log-likelihood of a frame in nats,

        -Σ_k [ y_k log p_k + (1 - y_k) log(1 - p_k) ],

    averaged over all frames of all pieces but the first ones: the figure of Boulanger-Lewandowski et al. 2012
    (arXiv:1206.6392, table 1) and, as their code has it, of Bai et al. 2018 (arXiv:1803.01271, table 1).
    `frame_accuracy` is TP / (TP + FP + FN) over all keys of all frames (Bay, Ehmann and Downie 2009, "Evaluation of
    Multiple-F0 Estimation and Tracking Systems", section 3), where a key of probability over one half is said to be
    down.

    Args:
        network, optimizer, schedule: see `Task`.
        common: L1 penalty and so on, see `Task`.

    Raises:
        ValueError: the network sees the future.
    """

    name = "polyphonic"
    reports: ClassVar[Reports] = {
        "nll": Figure("lower", "nats", headline=True, tabled=True),
        "frame_accuracy": Figure("higher", "%", headline=True),
    }

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        **common: Any,
    ) -> None:
        super().__init__(network, optimizer, schedule, **common)
        if self.claims.causal is False:
            raise ValueError(f"{type(network).__name__} sees the future, which it has to predict: use a causal network")

    def step(self, batch: Any) -> dict[str, Tensor]:
        pieces, lengths = batch
        x, y = pieces[:, :-1], pieces[:, 1:].float()
        logits = self.network(x)
        real = torch.arange(y.shape[1], device=y.device) < (lengths - 1)[:, None]
        frames = real.sum()
        nll = F.binary_cross_entropy_with_logits(logits.float(), y, reduction="none").sum(2)
        said, played = (logits > 0) & real[..., None], (y > 0.5) & real[..., None]
        return {
            "loss": torch.where(real, nll, 0).sum() / frames,
            "metrics/hits": (said & played).sum() / frames,
            "metrics/errors": (said ^ played).sum() / frames,
            "logits": logits.detach(),
        }

    def weight(self, batch: Any) -> Tensor:
        """The frames that are predicted."""
        frames: Tensor = (batch[1] - 1).sum()
        return frames

    def derive(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        hits, errors = means.pop("hits"), means.pop("errors")
        all_notes = (hits + errors).clamp(min=torch.finfo(hits.dtype).tiny)
        return means | {"nll": means["loss"], "frame_accuracy": hits / all_notes}

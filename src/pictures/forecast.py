"""TensorBoard: forecasts against what came, errors by step, and where the series surprised the network."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..drawing.forecasts import draw_by_step, draw_forecasts, draw_scores
from ..predict.series import robust_scores
from ..tasks.forecasting import Forecasting
from .base import STAGES, Pictures, Shown, evenly


class ForecastPictures(Pictures):
    """Pictures of a forecaster on validation, and once on the test set.

    Forecasts of some windows beside the truth and the best baseline, with the band between the lowest and the highest
    quantile where there are some; the error at each step of the horizon, of the network and of the baselines; on the
    test set the robust score of each one-step-ahead error, as anomalies are found by. Drawn every `every_n_epochs` and
    in the last epoch.

    Args:
        every_n_epochs: epochs between two drawings.
        share: see `Pictures`.
        windows: how many windows are drawn, evenly spaced.
        threshold: the score from which a row is marked as an anomaly.
    """

    task_class = Forecasting

    def __init__(
        self, every_n_epochs: int = 5, share: float | None = 0.1, windows: int = 3, threshold: float = 5.0
    ) -> None:
        super().__init__(every_n_epochs, share)
        self.windows, self.threshold = windows, threshold

    def start(self, task: Forecasting, data: Any, split: str) -> None:
        self.errors: list[Tensor] | None = [] if split == "test" else None

    def collect(self, task: Forecasting, outputs: Any, batch: Any) -> None:
        if self.errors is not None:
            self.errors.append((batch[1][:, 0] - task.point(outputs["forecast"])[:, 0]).float().cpu())

    def gather(self, task: Forecasting, split: str) -> None:
        task.close_epoch(split)

    def draw(self, task: Forecasting, data: Any, split: str) -> Iterator[tuple[str, Shown]]:
        if split in task.by_step:
            yield from self.draw_split(task, data, split)
        if self.errors:
            scores = robust_scores(torch.cat(self.errors).double().numpy()).max(1)
            # Of several processes, the first has every so-manieth window.
            rows = data.splits["test"].first + task.trainer.world_size * np.arange(len(scores))
            yield "test/anomaly score", draw_scores(data.times[rows], scores, self.threshold)

    def draw_split(self, task: Forecasting, data: Any, split: str) -> Iterator[tuple[str, Shown]]:
        """Some windows, and the errors of all."""
        windows = data.splits[split]
        indices = evenly(len(windows), self.windows)
        batch = data.on_after_batch_transfer(tuple(part.to(task.device) for part in windows[-1, indices]), 0)
        output = task.step(batch)["forecast"].cpu()
        assert task.baselines is not None
        best = task.best_baseline(split)
        baseline = task.baselines.forecasts(windows, indices)[best]
        yield f"{STAGES[split]}/forecasts", draw_forecasts(
            data, windows, indices, output if task.quantiles else output[..., None], task.point(output),
            (best.replace("_", " "), baseline),
        )  # fmt: skip
        yield f"{STAGES[split]}/error by step", draw_by_step(task.by_step[split])

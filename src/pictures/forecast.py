"""TensorBoard: forecasts against what came, errors by step, and where the series surprised the network."""

from typing import Any

import lightning
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..callbacks.base import Callback
from ..callbacks.curves import due, writer_of
from ..predict.series import robust_scores
from ..tasks.forecasting import Forecasting

SERIES = 4  # that are drawn at most
SEEN = 2  # horizons of the past that a picture shows


class ForecastPictures(Callback):
    """Pictures of a forecaster on validation, and once on the test set.

    Forecasts of some windows beside the truth and the best baseline, with the band between the lowest and the highest
    quantile where there are some; the error at each step of the horizon, of the network and of the baselines; on the
    test set the robust score of each one-step-ahead error, as anomalies are found by. Drawn every `every_n_epochs` and
    in the last epoch.

    Args:
        every_n_epochs: epochs between two drawings.
        windows: how many windows are drawn, evenly spaced.
        threshold: the score from which a row is marked as an anomaly.
    """

    def __init__(self, every_n_epochs: int = 5, windows: int = 3, threshold: float = 5.0) -> None:
        self.every_n_epochs, self.windows, self.threshold = every_n_epochs, windows, threshold
        self.errors: list[Tensor] = []

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if due(trainer, self.every_n_epochs):
            self.draw(trainer, pl_module, "val", trainer.current_epoch + 1)

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.errors = []

    def on_test_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        assert isinstance(pl_module, Forecasting)
        self.errors.append((batch[1][:, 0] - pl_module.point(outputs["forecast"])[:, 0]).float().cpu())

    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.draw(trainer, pl_module, "test", trainer.current_epoch)
        writer = writer_of(trainer)
        if writer is None or not self.errors:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        scores = robust_scores(torch.cat(self.errors).double().numpy()).max(1)
        # Of several processes, the first has every so-manieth window.
        rows = data.splits["test"].first + trainer.world_size * np.arange(len(scores))
        writer.add_figure(
            "test/anomaly score", draw_scores(data.times[rows], scores, self.threshold), trainer.current_epoch
        )

    @torch.no_grad()
    def draw(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str, epoch: int) -> None:
        assert isinstance(module, Forecasting)
        module.close_epoch(stage)  # sums over all processes: before the others leave
        writer = writer_of(trainer)
        if writer is None or stage not in module.by_step:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        split, title = data.splits[stage], "validation" if stage == "val" else "test"
        indices = torch.linspace(0, len(split) - 1, min(self.windows, len(split))).round().long().unique()
        batch = data.on_after_batch_transfer(tuple(part.to(module.device) for part in split[-1, indices]), 0)
        output = module.step(batch)["forecast"].cpu()
        assert module.baselines is not None
        best = module.best_baseline(stage)
        baseline = module.baselines.forecasts(split, indices)[best]
        figure = draw_forecasts(
            data, split, indices, output if module.quantiles else output[..., None], module.point(output),
            (best.replace("_", " "), baseline),
        )  # fmt: skip
        writer.add_figure(f"{title}/forecasts", figure, epoch)
        writer.add_figure(f"{title}/error by step", draw_by_step(module.by_step[stage]), epoch)


def draw_forecasts(
    data: Any, split: Any, indices: Tensor, output: Tensor, point: Tensor, baseline: tuple[str, Tensor]
) -> Figure:
    """A row for each window and a column for each series, in the data's units.

    Args:
        data: the data module, for names, times and scales.
        split: its windows.
        indices: which windows, `n`.
        output: quantiles, `n h c q`; of one nothing is drawn.
        point: forecasts, `n h c`.
        baseline: a name and forecasts `n h c`.
    """
    h, series = split.horizon, min(SERIES, split.out_channels)
    seen = min(split.lookback, SEEN * h)
    figure = Figure(figsize=(4 * series, 2.2 * len(indices) + 0.5), layout="constrained")
    grid = figure.subplots(len(indices), series, squeeze=False)
    for i, index in enumerate(indices.tolist()):
        origin = split.first + index
        times, ahead = data.times[origin - seen : origin + h], data.times[origin : origin + h]
        for k in range(series):
            axes, mean, std = grid[i][k], data.mean[k], data.std[k]
            truth = split.values[origin - seen : origin + h, k] * std + mean
            axes.plot(times, truth.numpy(), color="black", linewidth=1, label="truth")
            axes.plot(ahead, (baseline[1][i, :, k] * std + mean).numpy(), "--", color="grey", label=baseline[0])
            axes.plot(ahead, (point[i, :, k] * std + mean).numpy(), color="C0", label="network")
            if output.shape[-1] > 1:
                low, high = ((output[i, :, k, q] * std + mean).numpy() for q in (0, -1))
                axes.fill_between(ahead, low, high, color="C0", alpha=0.25, linewidth=0)
            axes.tick_params(labelsize=6)
            axes.tick_params(axis="x", rotation=30)
            if i == 0:
                axes.set_title(data.series[k].replace("$", r"\$"), fontsize=8)
    grid[0][0].legend(fontsize=6)
    return figure


def draw_by_step(errors: dict[str, Tensor]) -> Figure:
    """The mean squared error at each step of the horizon, a line for each forecaster."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, values in errors.items():
        own = name == "network"
        steps = range(1, len(values) + 1)
        axes.plot(
            steps, values.numpy(), "-o" if own else "--", color="black" if own else None, markersize=2,
            linewidth=2 if own else 1, label=name.replace("_", " "),
        )  # fmt: skip
    axes.set(xlabel="step ahead", ylabel="mean squared error, scaled", ylim=(0, None))
    axes.legend(fontsize=8)
    return figure


def draw_scores(times: Any, scores: Any, threshold: float) -> Figure:
    """The largest robust score over the series at each time; what is over the threshold is marked."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(times, scores, linewidth=0.8)
    over = scores > threshold
    axes.plot(times[over], scores[over], ".", color="C3")
    axes.axhline(threshold, linestyle="--", color="grey")
    axes.set(ylabel="robust score", title=f"one step ahead: {int(over.sum())} of {len(scores)} over {threshold:g}")
    axes.tick_params(labelsize=7)
    return figure

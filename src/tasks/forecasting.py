"""Forecasting: numbers for several steps ahead, beside what needs no network."""

import logging
import math
from collections.abc import Sequence
from itertools import islice
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..metrics.figures import Figure, Reports
from .base import Chosen, MakeOptimizer, MakeSchedule
from .baselines import Baselines
from .losses import LossFunction
from .regression import Regression, require_shape

log = logging.getLogger(__name__)
NAMED = 12  # series up to which each has a figure of its own


class Forecasting(Regression):
    """The next h steps of c series at once.

    Network: x `b t c_in` -> `b h c`, or `b h c q` for q quantiles. Batch: (x, y `b h c`), scaled as the data say.
    Figures: loss; mse and mae of the scaled series, as papers report them; in evaluation also mse at some steps of the
    horizon, and mae_in_units of each series (of at most 12). Beside them, on the same windows: mse and mae of the last
    value, the seasonal naive forecast, the drift and least squares (see `Baselines`), and how the network's mse
    compares with the best of them.

    Args:
        network, optimizer, schedule: see `Task`.
        quantiles: increasing levels, 0.5 among them; None: the network gives numbers, and the loss is the squared
            error. Else the loss is the mean pinball loss (Koenker and Bassett 1978), the median is the forecast, and
            coverage is the share of values between the lowest and the highest quantile. In evaluation quantiles are
            sorted, so that they do not cross (Chernozhukov, Fernandez-Val and Galichon 2010, arXiv:0704.3649).
        loss: one in place of the squared error, see `Regression`; not with quantiles, whose loss makes them.
        common: L1 penalty and so on, see `Task`.

    Attributes:
        by_step: after an evaluation, mse at each step of the horizon for each stage and forecaster ("network",
            "linear", ...), on the CPU.

    Raises:
        ValueError: quantiles that are no increasing levels around the median.
    """

    name = "forecasting"
    reports: ClassVar[Reports] = {
        "mse_over_best_baseline": Figure("lower", headline=True, tabled=True),
        "last_value_mse": Figure("lower", tabled=True),
        "seasonal_naive_mse": Figure("lower", tabled=True),
        "drift_mse": Figure("lower", tabled=True),
        "linear_mse": Figure("lower", tabled=True),
        "coverage": Figure("higher"),
    }

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        quantiles: Sequence[float] | None = None,
        loss: LossFunction | None = None,
        **common: Any,
    ) -> None:
        super().__init__(network, optimizer, schedule, loss, **common)
        if quantiles is not None and loss is not None:
            raise ValueError("task.quantiles are what the pinball loss makes of outputs: leave out task.loss, or them")
        self.quantiles = None if quantiles is None else list(quantiles)
        if self.quantiles is not None:
            levels = self.quantiles
            if 0.5 not in levels or sorted(set(levels)) != levels or not 0 < levels[0] <= levels[-1] < 1:
                raise ValueError(
                    f"task.quantiles={levels} must be increasing levels between 0 and 1 with 0.5 among them, as in "
                    "task.quantiles=[0.1,0.5,0.9]"
                )
        self.by_step: dict[str, dict[str, Tensor]] = {}
        self.vectors: dict[str, Tensor] = {}  # of the evaluation that was closed last
        self.baselines: Baselines | None = None
        self.judged: dict[str, dict[str, Tensor]] = {}  # mse and mae of the baselines by step, `2 h`, for each stage

    @classmethod
    def check(cls, chosen: Chosen) -> None:
        levels = chosen.config.task.get("quantiles")
        listed = isinstance(levels, Sequence) and not isinstance(levels, str)
        if levels is not None and not (listed and all(isinstance(q, int | float) for q in levels)):
            raise UserError(f"task.quantiles={levels} must be a list of numbers, as in task.quantiles=[0.1,0.5,0.9]")

    @property
    def data(self) -> Any:
        """The data module; None where there is no trainer."""
        return self.datamodule

    def point(self, output: Tensor) -> Tensor:
        """The forecast itself, `b h c`: of quantiles the median."""
        return output if self.quantiles is None else output[..., self.quantiles.index(0.5)]

    def step(self, batch: Any) -> dict[str, Tensor]:
        x, y = batch
        output, y = self.network(x).float(), y.float()
        if self.quantiles is None:
            require_shape(output, y.shape)
            loss = self.loss(output, y, F.mse_loss(output, y))
        else:
            require_shape(output, (*y.shape, len(self.quantiles)))
            output = output if self.training else output.sort(-1).values
            loss = pinball(output, y, self.quantiles)
        error = self.point(output) - y
        out = {"loss": loss, "metrics/mse": error.square().mean(), "metrics/mae": error.abs().mean()}
        if not self.training:
            out["metrics/squared_by_step"] = error.square().mean((0, 2))
            out["metrics/absolute_by_series"] = error.abs().mean((0, 1))
            if self.quantiles is not None:
                inside = (output[..., 0] <= y) & (y <= output[..., -1])
                out["metrics/coverage"] = inside.float().mean()
            out["forecast"] = output.detach()
        return out

    def derive(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        self.vectors = {key: means.pop(key).cpu() for key in ("squared_by_step", "absolute_by_series") if key in means}
        if (squared := self.vectors.get("squared_by_step")) is None:
            return means
        h = len(squared)
        steps = {1, math.ceil(h / 4), math.ceil(h / 2), h}
        means |= {f"mse_at_{step}": squared[step - 1].to(means["mse"]) for step in sorted(steps)}
        absolute, data = self.vectors["absolute_by_series"], self.data
        if data is not None and len(absolute) <= NAMED:
            in_units = absolute * torch.tensor(data.std[: len(absolute)])
            named = zip(data.series, in_units.to(means["mse"]).unbind(), strict=True)
            means |= {f"mae_in_units_{name}": value for name, value in named}
        return means

    def close_epoch(self, stage: str) -> None:
        self.vectors = {}
        super().close_epoch(stage)
        if stage == "train" or "squared_by_step" not in self.vectors:
            return
        baselines = self.judge_baselines(stage)
        self.by_step[stage] = {"network": self.vectors["squared_by_step"]}
        self.by_step[stage] |= {name: errors[0] for name, errors in baselines.items()}
        for name, errors in baselines.items():
            mse, mae = errors.mean(1).tolist()
            self.figures |= {f"{stage}/{name}_mse": mse, f"{stage}/{name}_mae": mae}
        best = self.figures[f"{stage}/{self.best_baseline(stage)}_mse"]
        own = self.figures[f"{stage}/mse"]
        self.figures |= {
            f"{stage}/best_baseline_mse": best,
            f"{stage}/mse_over_best_baseline": own / best if best > 0 else math.inf,
        }

    def best_baseline(self, stage: str) -> str:
        """The name of the one with the lowest mse."""
        return min(self.judged[stage], key=lambda name: float(self.judged[stage][name][0].mean()))

    def judge_baselines(self, stage: str) -> dict[str, Tensor]:
        """Mean squared and absolute error of each baseline by step, `2 h`, on the windows that a stage has evaluated.

        Computed once for each stage; all processes call it, and each judges its share of the windows.
        """
        if stage not in self.judged:
            data, trainer = self.data, self.trainer
            if self.baselines is None:
                self.baselines = Baselines(data.splits["train"], data.period)
            limits: Any = trainer.num_test_batches if stage == "test" else trainer.num_val_batches
            order, limit = data.loader(stage).sampler, limits[0]
            batches = (indices for _, indices in islice(order, None if math.isinf(limit) else int(limit)))
            sums, count = self.baselines.errors(data.splits[stage], batches)
            both = torch.cat([*(part.flatten() for part in sums.values()), torch.tensor([float(count)])])
            both = trainer.strategy.reduce(both.to(self.device, torch.float32), reduce_op="sum").cpu()  # type: ignore[union-attr]
            parts = (both[:-1] / both[-1]).view(len(sums), 2, -1)
            self.judged[stage] = dict(zip(sums, parts, strict=True))
        return self.judged[stage]

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        if "test" in self.judged and self.trainer.is_global_zero:
            log.info(self.verdict("test"))

    def verdict(self, stage: str) -> str:
        """One sentence: whether the network beats the best of the baselines."""
        name = self.best_baseline(stage)
        own, best = self.figures[f"{stage}/mse"], self.figures[f"{stage}/best_baseline_mse"]
        beats = "beats" if own < best else "does not beat"
        change = (
            f"{abs(100 * (own / best - 1)):.1f} % {'less' if own < best else 'more'}" if best > 0 else "which is exact"
        )
        shown = name.replace("_", " ")
        return f"the network {beats} the best baseline ({shown}): {stage} MSE {own:.4g} against {best:.4g}, {change}"


def pinball(output: Tensor, y: Tensor, levels: Sequence[float]) -> Tensor:
    """The mean of max(q e, (q - 1) e) with e = y - ŷ_q, over all numbers and levels (Koenker and Bassett 1978).

    Args:
        output: a quantile for each level, `b h c q`.
        y: `b h c`.
        levels: q.
    """
    errors = (y[..., None] - output).unbind(-1)
    return torch.stack([torch.maximum(q * e, (q - 1) * e).mean() for q, e in zip(levels, errors, strict=True)]).mean()

"""A run that has been trained: what it came to, and how it goes on."""

import os
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import nn

from ..errors import UserError
from ..run.saved import saved_config
from ..storage.files import read_epochs, read_json, read_metrics
from ..storage.run_folder import is_series, shown
from .trained import TrainedModel, load


class Run:
    """What `torchatlas.train` gives; of an earlier run `torchatlas.Run("runs/mlp-digits/...")`.

    Args:
        folder: of the run.

    Attributes:
        folder: of the run, with `config.yaml`, `metrics.jsonl`, `checkpoints` and the curves.

    Raises:
        UserError: there is no run.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser().absolute()
        if not (self.folder / "config.yaml").is_file():
            raise UserError(
                f"{shown(self.folder)} is no run folder: name one, as in runs/mlp-digits/2026-01-31_12-00-00"
            )

    @property
    def config(self) -> dict[str, Any]:
        """With which it was trained, resolved."""
        found: Any = OmegaConf.to_container(saved_config(self.folder))
        return found  # type: ignore[no-any-return]

    @property
    def figures(self) -> dict[str, float]:
        """Those of the best epoch, as "val/accuracy", and of the test of its weights, as "test/accuracy".

        Of a run with several seeds or folds they are the means.
        """
        if is_series(self.folder):
            return {key: found["mean"] for key, found in self._series()[1]["figures"].items()}
        metrics = read_metrics(self.folder)
        return {**metrics.get("best", {}), **metrics.get("test", {})}

    @property
    def history(self) -> list[dict[str, Any]]:
        """For each epoch its number, steps, seconds and figures: `pandas.DataFrame(run.history)` is a table of them."""
        return read_epochs(self.folder)

    @property
    def finished(self) -> bool:
        """Whether it has come to its end."""
        return bool(read_metrics(self.folder).get("finished"))

    @property
    def members(self) -> "list[Run]":
        """The runs of a series, see `seeds=` and `folds=`; of other runs none."""
        if not is_series(self.folder):
            return []
        kind, series = self._series()
        folders = [self.folder / f"{kind.removesuffix('s')}-{number}" for number in series[kind]]
        return [Run(folder) for folder in folders if (folder / "config.yaml").is_file()]

    def _series(self) -> tuple[str, dict[str, Any]]:
        """What its runs differ in, seeds or folds, and what is known of them all."""
        kind = "seeds" if (self.folder / "seeds.json").exists() else "folds"
        return kind, read_json(self.folder / f"{kind}.json")

    @cached_property
    def model(self) -> TrainedModel:
        """The network with the best weights, with its preprocessing and classes; see `torchatlas.load`."""
        return load(self)

    @property
    def network(self) -> nn.Module:
        """The network alone."""
        return self.model.network

    def predict(self, inputs: Any, **options: Any) -> list[dict[str, Any]]:
        """See `TrainedModel.predict`."""
        return self.model.predict(inputs, **options)

    def evaluate(self, data: Any = None, *words: str, **options: Any) -> dict[str, float]:
        """See `TrainedModel.evaluate`."""
        return self.model.evaluate(data, *words, **options)

    def resume(self, *words: str, **settings: Any) -> "Run":
        """Go on, as `torchatlas train resume=` does: `run.resume(duration="40ep")`.

        Args:
            words, settings: what changes, see `torchatlas.train`.

        Returns:
            The same run, as it is then.

        Raises:
            UserError: what cannot change within a run.
        """
        found: Run = import_module("torchatlas.api.training").train(*words, resume=self, **settings)
        return found

    def __repr__(self) -> str:
        figures = ", ".join(f"{key} {value:.4g}" for key, value in self.figures.items())
        return f"<run {shown(self.folder)}{': ' if figures else ''}{figures}>"

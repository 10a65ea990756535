"""MLflow: into a database beside the runs, or to a server."""

import logging
import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from matplotlib.figure import Figure
from torch import Tensor

from ..storage.files import read_json
from ..storage.run_folder import RUNS, shown
from .base import IDS, At, Outcome, RunLogger, flat, group_of, image_of, remember

log = logging.getLogger(__name__)
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
MOST = 500  # figures at once
LONGEST = 500  # characters of a hyperparameter, which every store takes


class MLflowLogger(RunLogger):
    """Figures by optimiser step, pictures and texts as files, the config as parameters.

    Figures are written a few seconds after they are told, and before each checkpoint. A run that goes on does so under
    its number, and what the store already has of a curve is not sent again. Runs of a series, a multirun or a sweep
    have a parent.

    Args:
        folder, config: see `RunLogger`.
        experiment: under which it is kept.
        tracking_uri: of a server or a database; None: the environment variable MLFLOW_TRACKING_URI, or else
            `mlflow.db` in the folder `runs` in which the run folder lies.
        every: seconds between two times at which figures are sent.
    """

    title: ClassVar[str] = "MLflow"
    requires: ClassVar[tuple[str, str] | None] = ("mlflow", "mlflow")

    def __init__(
        self, folder: Path, config: Mapping[str, Any] | None = None, experiment: str = "torchatlas",
        tracking_uri: str | None = None, every: float = 5.0,
    ) -> None:  # fmt: skip
        super().__init__(folder, config)
        self.experiment, self.every, self.sent = experiment, every, time.monotonic()
        self.uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.home() / 'mlflow.db'}"
        self.client: Any = None
        self.number = ""
        self.waiting: list[Any] = []
        self.last: dict[str, int] = {}  # of each curve that the store has, the step up to which it has it

    def home(self) -> Path:
        """The folder `runs`, or else the run folder."""
        folder = self.folder.absolute()
        return next((parent for parent in folder.parents if parent.name == RUNS.name), folder)

    def begin(self, behind: At | None) -> None:
        for key, value in (
            ("MLFLOW_DISABLE_TELEMETRY", "true"),  # to its makers, before it is imported
            ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),  # a server that is gone must not hold the training for minutes
            ("MLFLOW_HTTP_REQUEST_TIMEOUT", "20"),
        ):
            os.environ.setdefault(key, value)
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):  # which tell of the tables that they make
            logging.getLogger(name).setLevel(logging.WARNING)
        self.client = MlflowClient(self.uri)
        known = read_json(self.folder / IDS).get("mlflow") if behind is not None else None
        if not (isinstance(known, str) and self.goes_on(known)):
            tags = {"torchatlas.folder": str(self.folder.absolute())}
            if group := group_of(self.folder):
                tags |= {"torchatlas.group": group, "mlflow.parentRunId": self.parent(group)}
            made = self.client.create_run(self.experiment_id(), run_name=self.config.get("name"), tags=tags)
            self.number = made.info.run_id
            remember(self.folder, "mlflow", self.number)
        elif (reached := max(self.last.values(), default=0)) > (behind.step if behind else 0):
            log.info(
                "%s has this run up to step %d: what comes again until there is not sent again", self.title, reached
            )
        self.send_config()

    def goes_on(self, number: str) -> bool:
        """Open the run again; whether the store has it still."""
        from mlflow.exceptions import MlflowException

        try:
            latest = self.client.get_run(number).data.metrics
        except MlflowException:
            return False
        self.number = number
        self.client.update_run(number, "RUNNING")
        for key in latest:
            self.last[key] = max(point.step for point in self.client.get_metric_history(number, key))
        return True

    def experiment_id(self) -> str:
        found = self.client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        artifacts = None if not self.uri.startswith("sqlite:") else (self.home() / "mlflow").as_uri()
        return str(self.client.create_experiment(self.experiment, artifact_location=artifacts))

    def parent(self, group: str) -> str:
        """The run of the folder that this one belongs to."""
        folder = self.folder.absolute().parent
        folder = folder.parent if folder.name == "trials" else folder
        known = read_json(folder / IDS).get("mlflow")
        if not isinstance(known, str):
            known = self.client.create_run(self.experiment_id(), run_name=group).info.run_id
            self.client.set_terminated(known, "FINISHED")
            remember(folder, "mlflow", known)
        return known

    def send_config(self) -> None:
        """Parameters cannot change: of a run that goes on with another value, a tag says so."""
        from mlflow.entities import Param, RunTag

        there = self.client.get_run(self.number).data.params
        values = {named(key): str(value)[:LONGEST] for key, value in flat(self.config).items()}
        new = [Param(key, value) for key, value in values.items() if key not in there]
        changed = [RunTag(f"resumed.{k}", v) for k, v in values.items() if k in there and there[k] != v]
        for i in range(0, len(new), 100):  # as many as a server takes at once
            self.client.log_batch(self.number, params=new[i : i + 100])
        for i in range(0, len(changed), 100):
            self.client.log_batch(self.number, tags=changed[i : i + 100])

    def figures(self, values: Mapping[str, float], at: At) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        of_epoch = {} if at.epoch is None else {"epoch": float(at.epoch)}
        for key, value in {**values, **of_epoch}.items():
            if at.step > self.last.get(named(key), -1):
                self.waiting.append(Metric(named(key), float(value), now, at.step))
                self.last[named(key)] = at.step
        if time.monotonic() - self.sent >= self.every or len(self.waiting) >= MOST:
            self.flush()

    def summary(self, values: Mapping[str, float], at: At) -> None:
        self.figures({key: value for key, value in values.items() if key.startswith("best/")}, At(at.step))

    def flush(self) -> None:
        waiting, self.waiting, self.sent = self.waiting, [], time.monotonic()
        for i in range(0, len(waiting), MOST):
            self.client.log_batch(self.number, metrics=waiting[i : i + MOST])

    def picture(self, tag: str, figure: Figure, at: At) -> None:
        self.client.log_image(self.number, image_of(figure), artifact_file=file_of(tag, at, "png"))

    def text(self, tag: str, text: str, at: At) -> None:
        self.client.log_text(self.number, text, file_of(tag, at, "md"))

    def sound(self, tag: str, wave: Tensor, sample_rate: int, at: At) -> None:
        from scipy.io import wavfile

        path = Path(file_of(tag, at, "wav"))
        with tempfile.TemporaryDirectory() as folder:
            wavfile.write(Path(folder) / path.name, sample_rate, wave.numpy())
            self.client.log_artifact(self.number, str(Path(folder) / path.name), str(path.parent))

    def end(self, outcome: Outcome) -> None:
        self.flush()
        self.client.set_terminated(self.number, STATUS[outcome])

    def hint(self) -> str:
        if not self.uri.startswith("sqlite:"):
            return f"{self.uri} (run {self.number})"
        path = Path(self.uri.removeprefix("sqlite:///"))
        return f"mlflow ui --backend-store-uri sqlite:///{shown(path)}"


def named(key: str) -> str:
    """A key with the characters that MLflow takes."""
    return re.sub(r"[^\w\-. /:]", "_", key)[:250]


def file_of(tag: str, at: At, ending: str) -> str:
    """`validation/confusion matrix/epoch 0003.png`."""
    return f"{named(tag).replace(':', '_')}/epoch {at.epoch or 0:04}.{ending}"

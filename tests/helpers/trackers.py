"""What the libraries of trackers have written, as they read it themselves where they can."""

import json
import sqlite3
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

Points = dict[str, list[tuple[int, float]]]  # of each figure the steps and values, in the order in which they were told


def expected(folder: Path) -> Points:
    """Figures of `metrics.jsonl` and `metrics.json` by optimiser step."""
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found: Points = {}
    for epoch in epochs:
        for key, value in epoch.items():
            if "/" in key:
                found.setdefault(key, []).append((epoch["step"], value))
    for key, value in json.loads((folder / "metrics.json").read_text())["test"].items():
        found[key] = [(epochs[-1]["step"], value)]
    return found


def of_epochs(points: Points) -> Points:
    """Without those within epochs and the best so far."""
    return {key: told for key, told in points.items() if key.startswith(("train/", "val/", "test/"))}


def wandb_rows(folder: Path) -> list[dict[str, Any]]:
    """The history of an offline run in all its files: what `wandb sync` sends, in its order."""
    from wandb.proto.wandb_internal_pb2 import Record

    from torchatlas.loggers.weights_and_biases import records

    rows = []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        for content in records(path.read_bytes()):
            record = Record.FromString(content)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                rows.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items})
    return rows


def wandb_points(folder: Path) -> Points:
    found: Points = {}
    for row in wandb_rows(folder):
        for key, value in row.items():
            if "/" in key and isinstance(value, float | int):
                found.setdefault(key, []).append((row["_step"], value))
    return found


def wandb_records(folder: Path, kind: str) -> list[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    from torchatlas.loggers.weights_and_biases import records

    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found = [Record.FromString(content) for content in records(path.read_bytes())]
    return [getattr(record, kind) for record in found if record.WhichOneof("record_type") == kind]


def comet_messages(folder: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted((folder / "comet").glob("*.zip"), key=lambda path: path.stat().st_mtime):
        with ZipFile(path) as archive:
            found += [json.loads(line) for line in archive.read("messages.json").decode().splitlines()]
    return found


def comet_points(folder: Path) -> Points:
    found: Points = {}
    for message in comet_messages(folder):
        if (metric := message["payload"].get("metric")) is not None and "/" in metric["metricName"]:
            found.setdefault(metric["metricName"], []).append((metric["step"], metric["metricValue"]))
    return found


def mlflow_points(database: Path, number: str) -> Points:
    """By its own client."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{database}")
    keys = [key for key in client.get_run(number).data.metrics if "/" in key]
    return {key: sorted((p.step, p.value) for p in client.get_metric_history(number, key)) for key in keys}


def sqlite_rows(database: Path, query: str) -> list[Any]:
    with sqlite3.connect(database) as connection:
        return connection.execute(query).fetchall()


def csv_points(folder: Path) -> Points:
    import pandas as pd

    table = pd.read_csv(folder / "metrics.csv")
    told = {key: table[["step", key]].dropna() for key in table.columns if "/" in key}
    return {key: [(int(step), float(value)) for step, value in rows.to_numpy()] for key, rows in told.items()}


def hparams(folder: Path) -> tuple[list[str], list[str], dict[str, dict[str, Any]]]:
    """What the tab HPARAMS shows of a folder of runs: hyperparameters and figures in order, and the rows by run."""
    runs = EventMultiplexer()
    runs.AddRunsFromDirectory(str(folder))
    runs.Reload()
    context = TBContext(data_provider=MultiplexerDataProvider(runs, str(folder)))
    backend, request = backend_context.Context(context), RequestContext()
    experiment = get_experiment.Handler(request, backend, "", api_pb2.GetExperimentRequest(hparams_limit=1000)).run()
    asked = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=100, allowed_statuses=list(api_pb2.Status.values())
    )
    asked.col_params.extend(api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos)
    rows = {}
    for group in list_session_groups.Handler(request, backend, "", asked).run().session_groups:
        (session,) = group.sessions
        values = {value.name.tag: value.value for value in group.metric_values}
        rows[session.name] = {**dict(group.hparams), **values, "status": api_pb2.Status.Name(session.status)}
    names = [info.name for info in experiment.hparam_infos]
    return names, [info.name.tag for info in experiment.metric_infos], rows

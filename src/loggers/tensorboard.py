"""TensorBoard: curves, hyperparameters, the network's graph, pictures, sounds."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.metadata import PLUGIN_DATA_VERSION, PLUGIN_NAME, SESSION_END_INFO_TAG
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor, nn
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from .base import At, Outcome, RunLogger, flat, image_of

AT_THE_END = (
    "summary/",
    "test/",
    "predictions test/",
    "test text/",
    "_hparams_/",
)  # written anew by a run that goes on
PROJECTOR = "projector_config.pbtxt"
HPARAMS = "hparams"  # the folder of what HPARAMS shows
# What HPARAMS shows first. It sorts by name, what differs between runs before the rest; spaces come before letters, and
# a browser does not show them.
FIRST = ("optim.lr", "model", "data.batch_size")
SHOWN = ("model", "data", "task", "optim", "schedule")  # groups
HIDDEN = ("_target_", "_partial_", ".root", ".seed", ".fake")
STATUS = {"finished": "STATUS_SUCCESS", "failed": "STATUS_FAILURE", "stopped": "STATUS_UNKNOWN"}


class EventLogger(RunLogger):
    """Writes straight into the run folder, and what HPARAMS compares into `hparams` in it.

    Of several runs HPARAMS can tell what differs only where none of them says of which hyperparameters there are; it
    then takes all figures of a run as columns, so that the few that are meant lie in a folder of their own.
    """

    title: ClassVar[str] = "TensorBoard"

    def __init__(self, folder: Path, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(folder, config)
        self._writer: SummaryWriter | None = None
        self.compared: SummaryWriter | None = None
        self.charts = False

    @property
    def experiment(self) -> SummaryWriter:
        """The writer of events, as Lightning names it."""
        if self._writer is None:
            self._writer = SummaryWriter(str(self.folder))
        return self._writer

    def begin(self, behind: At | None) -> None:
        """Hyperparameters are told anew by a run that goes on, since they may have changed."""
        for path in (self.folder / HPARAMS).glob("events.out.tfevents.*"):
            path.unlink()
        self.compared = SummaryWriter(str(self.folder / HPARAMS))
        self.compared._get_file_writer().add_summary(hparams(hyperparameters(self.config), {})[1])
        self.compared.flush()

    def figures(self, values: Mapping[str, float], at: At) -> None:
        """`step/...` against steps, `epoch/<figure>/train` and `epoch/<figure>/val` against epochs."""
        for key, value in values.items():
            stage, _, figure = key.partition("/")
            if stage in ("train", "val") and at.epoch is not None:
                self.experiment.add_scalar(f"epoch/{figure}/{stage}", value, at.epoch)
            elif stage != "test":
                self.experiment.add_scalar(key, value, at.step)
        trained = [key.split("/", 1)[1] for key in values if key.startswith("train/")]
        if at.epoch == 1 and trained and not self.charts:
            charts = {f: ["Multiline", [f"epoch/{f}/train", f"epoch/{f}/val"]] for f in trained}
            self.experiment.add_custom_scalars({"training against validation, by epoch": charts})
            self.charts = True

    def summary(self, values: Mapping[str, float], at: At) -> None:
        if self.compared is None:
            return
        for key, value in values.items():
            self.compared.add_scalar(f"summary/{key.replace('/', ' ', 1)}", value, at.epoch)

    def picture(self, tag: str, figure: Figure, at: At) -> None:
        self.experiment.add_image(tag, np.asarray(image_of(figure)), at.epoch, dataformats="HWC")

    def text(self, tag: str, text: str, at: At) -> None:
        self.experiment.add_text(tag, text, at.epoch)

    def sound(self, tag: str, wave: Tensor, sample_rate: int, at: At) -> None:
        self.experiment.add_audio(tag, wave[None], at.epoch, sample_rate)

    def points(self, tag: str, points: Tensor, texts: list[str]) -> None:
        """For the projector, whose list of tables lies in a file."""
        written = getattr(self.experiment, "_projector_config", None)
        if written is None:
            (self.folder / PROJECTOR).unlink(missing_ok=True)
        else:
            for i in reversed(range(len(written.embeddings))):
                if written.embeddings[i].tensor_name.startswith(f"{tag}:"):
                    del written.embeddings[i]
        shutil.rmtree(self.folder / "00000" / tag, ignore_errors=True)
        self.experiment.add_embedding(points, texts, tag=tag, global_step=0)

    def graph(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.experiment.add_graph(network, inputs)

    def flush(self) -> None:
        for writer in (self._writer, self.compared):
            if writer is not None:
                writer.flush()

    def save(self) -> None:
        """Lightning calls it every `log_every_n_steps`."""
        if self._writer is not None:
            self._writer.flush()

    def end(self, outcome: Outcome) -> None:
        if self.compared is not None:
            self.compared._get_file_writer().add_summary(session_end(STATUS[outcome]))
            self.compared.close()
        if self._writer is not None:
            self._writer.close()


def hyperparameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """What HPARAMS shows of a config, see `FIRST`."""
    shown = {
        key: value
        for group in SHOWN
        for key, value in flat(config.get(group, {}), f"{group}.").items()
        if not key.endswith(HIDDEN)
    }
    shown |= {key: config[key] for key in ("name", "seed") if key in config}
    options = config.get("trainer", {})
    shown |= {f"trainer.{key}": options[key] for key in ("max_epochs", "precision") if key in options}
    if target := config.get("model", {}).get("_target_"):
        shown["model"] = target.rpartition(".")[2]
    spaces = {key: " " * (len(FIRST) - place) for place, key in enumerate(FIRST)}
    return {spaces.get(key, "") + key: value for key, value in shown.items()}


def session_end(status: str) -> Any:
    """The summary that ends a session of HPARAMS; torch's own knows success alone."""
    summary = hparams({}, {})[2]
    content = HParamsPluginData(
        session_end_info=SessionEndInfo(status=Status.Value(status)), version=PLUGIN_DATA_VERSION
    )
    value = summary.value[0]
    assert value.tag == SESSION_END_INFO_TAG
    assert value.metadata.plugin_data.plugin_name == PLUGIN_NAME
    value.metadata.plugin_data.content = content.SerializeToString()
    return summary


def forget_after(files: Iterable[Path], epochs: int, steps: int) -> None:
    """Drop the events that lie after a checkpoint, so that a resumed run draws each point once.

    Args:
        files: the run's event files, none of them open.
        epochs, steps: what the checkpoint has behind it. `step/...` counts in steps, all else in epochs.
    """
    for path in files:
        part = path.with_name("part." + path.name)
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            writer = RecordWriter(file)
            for event in LegacyEventFileLoader(str(path)).Load():
                if event.HasField("session_log"):
                    continue
                tags = [value.tag for value in event.summary.value]
                limit = steps if tags and tags[0].startswith("step/") else epochs
                if not tags or (event.step <= limit and not tags[0].startswith(AT_THE_END)):
                    writer.write(event.SerializeToString())
        part.replace(path)

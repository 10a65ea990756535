"""Comet: offline, as archives in the run folder that `comet upload` sends, or online."""

import json
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from matplotlib.figure import Figure
from torch import Tensor

from ..storage.files import read_json
from ..storage.run_folder import shown
from .base import IDS, At, Outcome, RunLogger, comes_again, flat, group_of, image_of, remember, require_choice

MODES = ["offline", "online"]
PATIENCE = 10.0  # seconds for what was told to be in the file
MESSAGES = "messages.json"
NOTHING = dict.fromkeys(
    (
        "log_code", "log_graph", "auto_param_logging", "auto_metric_logging", "parse_args", "auto_output_logging",
        "log_env_details", "log_git_metadata", "log_git_patch",
    ),
    False,
)  # fmt: skip


class CometLogger(RunLogger):
    """Figures, pictures, texts and sounds by optimiser step and epoch; config, best, and how the run ended.

    A run that goes on does so under its key, as a further archive. What a killed run has left is made an archive when
    it goes on.

    Args:
        folder, config: see `RunLogger`.
        project: under which it is kept.
        mode: "offline" or "online", where it is sent while it trains.
        workspace: of a team or user; None: the default one.
        tags: words by which it is found.
    """

    title: ClassVar[str] = "Comet"
    requires: ClassVar[tuple[str, str] | None] = ("comet_ml", "comet")

    def __init__(
        self, folder: Path, config: Mapping[str, Any] | None = None, project: str = "torchatlas",
        mode: str = "offline", workspace: str | None = None, tags: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(folder, config)
        self.project, self.mode, self.workspace, self.tags = project, mode, workspace, list(tags)
        self.experiment: Any = None
        self.archives = self.folder.absolute() / "comet"

    @classmethod
    def check(cls, chosen: Mapping[str, Any]) -> None:
        require_choice("logger.comet.mode", chosen.get("mode", "offline"), MODES)
        super().check(chosen)

    def begin(self, behind: At | None) -> None:
        # Before it is imported: else it changes other libraries, and tells its makers of errors.
        os.environ.setdefault("COMET_DISABLE_AUTO_LOGGING", "1")
        os.environ.setdefault("COMET_ERROR_TRACKING_ENABLE", "false")
        import comet_ml

        logging.getLogger("comet_ml").setLevel(logging.ERROR)
        known = read_json(self.folder / IDS).get("comet") if behind is not None else None
        key = known if isinstance(known, str) else uuid.uuid4().hex
        self.archives.mkdir(exist_ok=True)
        if behind is not None:
            save_what_is_left(self.archives, key, self.project, self.workspace)
            for path in self.archives.glob("*.zip"):
                forget_after(path, behind)
        remember(self.folder, "comet", key)
        options: dict[str, Any] = {
            "project_name": self.project,
            "workspace": self.workspace,
            "display_summary_level": 0,
            **NOTHING,
        }
        make: Any
        if self.mode == "online":
            make = comet_ml.ExistingExperiment if known else comet_ml.Experiment
        else:
            make = comet_ml.ExistingOfflineExperiment if known else comet_ml.OfflineExperiment
            options["offline_directory"] = str(self.archives)
        with temporary_files_in(self.archives):
            self.experiment = make(experiment_key=key, **options)
        self.experiment.set_name(self.config.get("name", ""))
        self.experiment.log_parameters(flat(self.config))
        if group := group_of(self.folder):
            self.experiment.log_other("group", group)
        for tag in self.tags:
            self.experiment.add_tag(tag)

    def figures(self, values: Mapping[str, float], at: At) -> None:
        self.experiment.log_metrics({key: float(v) for key, v in values.items()}, step=at.step, epoch=at.epoch)

    def summary(self, values: Mapping[str, float], at: At) -> None:
        self.figures({key: value for key, value in values.items() if key.startswith("best/")}, at)

    def picture(self, tag: str, figure: Figure, at: At) -> None:
        self.experiment.log_image(image_of(figure), name=tag, step=at.step)

    def text(self, tag: str, text: str, at: At) -> None:
        self.experiment.log_text(text, step=at.step, metadata={"tag": tag, "epoch": at.epoch})

    def sound(self, tag: str, wave: Tensor, sample_rate: int, at: At) -> None:
        self.experiment.log_audio(wave.numpy(), sample_rate=sample_rate, file_name=f"{tag}.wav", step=at.step)

    def flush(self) -> None:
        """Into a file; online it would wait for the network."""
        if self.mode == "offline":
            self.experiment.flush()  # which does not wait for the thread that writes
            until = time.monotonic() + PATIENCE
            while not self.experiment.streamer.messages.empty() and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(0.05)  # for the last one

    def end(self, outcome: Outcome) -> None:
        self.experiment.log_other("outcome", outcome)
        self.experiment.end()

    def hint(self) -> str:
        if self.mode == "online":
            return str(self.experiment.url)
        return f"comet upload {' '.join(str(shown(path)) for path in sorted(self.archives.glob('*.zip')))}"


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """The library keeps what it has not yet packed among the temporary files, where nobody finds it after a kill."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def save_what_is_left(folder: Path, key: str, project: str, workspace: str | None) -> None:
    """Pack what a killed run has left in a folder of archives.

    Args:
        folder: of the archives.
        key, project, workspace: of the run.
    """
    from comet_ml.offline_utils import create_experiment_archive, write_experiment_meta_file

    for path in folder.glob("*.zip"):  # it begins with an empty one, in order to see whether it can
        if path.stat().st_size < 100:
            path.unlink()
    for left in sorted(folder.glob("tmp*"), key=lambda path: path.stat().st_mtime):
        if (left / MESSAGES).is_file():
            packed = sorted(folder.glob("*.zip"))
            now = int((left / MESSAGES).stat().st_mtime * 1000)
            write_experiment_meta_file(
                str(left), key, workspace, project, start_time=now, stop_time=now, tags=[],  # type: ignore[arg-type]
                resume_strategy="get" if packed else "create", user_provided_experiment_key=True,
            )  # fmt: skip
            name = f"{key}-{uuid.uuid4().hex[:7]}.zip" if packed else f"{key}.zip"
            create_experiment_archive(str(folder), name, str(left), logging.getLogger("comet_ml"))
        shutil.rmtree(left, ignore_errors=True)


def forget_after(path: Path, behind: At) -> None:
    """Drop the points of an archive that come once more.

    Args:
        path: the archive.
        behind: what the run that goes on has had.
    """
    from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with ZipFile(path) as old, ZipFile(part, "x", ZIP_DEFLATED) as new:
            for name in old.namelist():
                content = old.read(name)
                if name == MESSAGES:
                    lines = content.decode(errors="replace").splitlines(keepends=True)
                    content = "".join(line for line in lines if not again(line, behind)).encode()
                new.writestr(name, content)
    except BadZipFile:  # a killed process was writing it
        part.unlink(missing_ok=True)
        return
    part.replace(path)


def again(line: str, behind: At) -> bool:
    """Whether a message is a point that comes once more, or was cut."""
    try:
        metric = json.loads(line)["payload"].get("metric")
    except ValueError:
        return True
    return metric is not None and comes_again(metric["metricName"], metric["step"] or 0, metric["epoch"], behind)

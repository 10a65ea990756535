"""A trained network with all that belongs to it: how inputs are read and prepared, and what its answers mean."""

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..data.base import DataModule
from ..data.held import for_now
from ..errors import UserError
from ..predict.registry import Answerer, Trained, find, taken, usage
from ..predict.rows import ERROR
from ..run.devices import device_of
from ..run.restore import reader, restore
from ..storage.run_folder import find_checkpoint, has_checkpoint, runs_inside, shown
from ..tasks.base import Task
from .evaluation import figures_on, judged_on
from .inputs import Row, readable, renamed, said

log = logging.getLogger(__name__)


class TrainedModel:
    """A trained network, see `load`.

    Attributes:
        checkpoint: the file that it is from.
        config: with which it was trained.
        task: what was optimised, in eval mode; its `network` is the network.
        data: how inputs are read and prepared; no data set is needed.
        name: of the run, as in "resnet18-cifar10".
    """

    def __init__(self, checkpoint: Path, task: Task, about: dict[str, Any], device: torch.device | str) -> None:
        self.checkpoint, self.task, self.about = checkpoint, task, about
        self.config: dict[str, Any] = about["config"]
        self.name: str = self.config["name"]
        self.data: DataModule = reader(about)
        self.to(device)

    @property
    def network(self) -> nn.Module:
        """The network alone, in eval mode, on `device`."""
        return self.task.network

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the logits; of other tasks none."""
        return [str(name) for name in self.data.classes]

    @property
    def device(self) -> torch.device:
        return self.task.device

    def to(self, device: torch.device | str) -> "TrainedModel":
        """Move the network to a device; gives itself.

        Raises:
            UserError: there is no such device.
        """
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:  # no such name; no driver, or a torch without CUDA
            raise UserError(f"there is no device {device} here: leave device= out for the best one") from error
        self.task.place(device)
        self.task.eval()
        return self

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.network.parameters())
        return f"<{self.name}: {type(self.network).__name__} with {parameters:,} parameters, {shown(self.checkpoint)}>"

    def predict(self, inputs: Any, **options: Any) -> list[Row]:
        """What the network says of files or of values in memory, as `torchatlas predict` says it.

        Args:
            inputs: a file, a folder or a list of files; or one value or a list of values: images as PIL images, arrays
                `h w`, `h w c` or tensors `c h w` of uint8 or of floats from 0 to 1, of any sizes; a batch of them
                `n h w c` or `n c h w`; sounds as pairs (samples, sample rate); texts; tables of series as DataFrames.
                They are resized, resampled and normalised as in training. A string is a text where the network is one
                for texts and no file is called so.
            options: those of the command, as in `top=3`, `tta="flip"`, `output="masks"`, `mode="anomalies"`.

        Returns:
            A row for each input, in their order: its file, or its place in the list as "input", and the answer, as
            in {"input": 0, "class": "cat", "probability": 0.93}. Of several inputs one that cannot be read has the
            reason as "error". Masks are arrays, uint8 `h w`, where no folder is named with `output=`.

        Raises:
            UserError: nothing can be read, an option that does nothing here, or a network that answers otherwise.

        Example:
            rows = torchatlas.load("runs/resnet18-cifar10").predict(["cat.jpg", "dog.png"], top=3)
        """
        return list(self.answers(inputs, **options))

    def answers(self, inputs: Any, **options: Any) -> Iterator[Row]:
        """The rows of `predict` one by one, as soon as each is known."""
        checkpoint = Trained.of_checkpoint(self.task, self.about)
        answerer = find("predict", checkpoint)
        if answerer is None:
            use, _ = usage(checkpoint)
            advice = f": use torchatlas {use}" if use != "evaluate" else ""
            raise UserError(
                f"{self.checkpoint} was trained for {self.task.name} on {checkpoint.kind}, which predict cannot "
                f"read{advice}"
            )
        options = taken(answerer, checkpoint, options)
        with readable(self.data, inputs) as (data, given, names):
            try:
                yield from self._answered(answerer, data, given, names, options)
            except UserError as error:
                if names and (sentence := said(str(error), names)) != str(error):
                    raise UserError(sentence) from error
                raise

    def _answered(
        self, answerer: Answerer, data: DataModule, given: Any, names: dict[str, str | int], options: dict[str, Any]
    ) -> Iterator[Row]:
        failed = number = 0
        with tempfile.TemporaryDirectory(prefix="torchatlas-") as folder:
            masks = "output" in answerer.options and not options.get("output")
            if masks:
                options |= {"output": folder}
            elif "output" in options:
                options["output"] = os.fspath(options["output"])
            for row in answerer.load()(self.task, data, given, **options):
                number, failed = number + 1, failed + (ERROR in row)
                if masks and "mask" in row:
                    with Image.open(row["mask"]) as mask:
                        row["mask"] = np.asarray(mask)
                yield renamed(row, names)
        if failed:
            log.warning("%d of %d could not be answered, see %r", failed, number, ERROR)

    def evaluate(
        self, data: Any = None, *words: str, split: str | None = None, tta: str = "none", mc_samples: int = 0,
        seed: int = 0,
    ) -> dict[str, float]:  # fmt: skip
        """Figures of the network on a split of data, as `torchatlas evaluate` gives them.

        Args:
            data: None, the data of the training; a folder, where these are; the name of another data set of the zoo
                with the same classes; or your own `Dataset`, `DataLoader` or pair of arrays with the labels of the
                training. They are prepared as in training.
            words: of that data set, as in "data.root=FOLDER".
            split: "train", "val", "test" or "all", see the command; of your own data it is all of them.
            tta, mc_samples, seed: see the command.

        Returns:
            The figures by name, as in {"test/loss": 0.21, "test/accuracy": 0.94}.

        Raises:
            UserError: the data are not there, or are no such data.

        Example:
            torchatlas.load("runs/mlp-digits").evaluate(split="val")["val/accuracy"]
        """
        device = self.device
        try:
            with for_now():
                judged = judged_on(self.task, self.about, self.checkpoint, data, words)
                return figures_on(judged, split, tta=tta, mc_samples=mc_samples, seed=seed).figures
        finally:
            self.to(device)

    def preprocess(self, inputs: Any) -> Tensor:
        """Files or values as the network takes them: resized, normalised and so on, as a batch on its device.

        Args:
            inputs: see `predict`; of images and sounds.

        Returns:
            Of images `n c h w`, of sounds `n t c`; `model.network(model.preprocess("cat.jpg"))` gives logits.

        Raises:
            UserError: one of them cannot be read, or the inputs of these data are more than one tensor.
        """
        with readable(self.data, inputs) as (data, given, names):
            try:
                batches = list(data.batches(data.read(given), self.device))
            except UserError as error:
                raise UserError(said(str(error), names)) from error
        if any(len({len(part) for part in batch if isinstance(part, Tensor)}) > 1 for batch in batches):
            raise UserError(f"inputs of {data.kind} data are no single tensor: use predict")
        return torch.cat([batch[0] for batch in batches])


def load(where: Any, device: torch.device | str | None = None) -> TrainedModel:
    """A trained network, with its preprocessing and the names of its classes.

    The network is rebuilt from the checkpoint alone: neither the data set nor the program of the training is needed.

    Args:
        where: what `torchatlas.train` has given; a run folder, of which the best checkpoint is taken, and the last one
            where none was validated yet; a checkpoint; a folder with runs directly in it, or `runs`, of which the
            newest is taken; or "auto", the newest run under `runs`.
        device: as in "cpu" or "cuda:1"; None: the best one that is there.

    Raises:
        UserError: there is no checkpoint, it is damaged, or it asks for code that is not allowed.

    Example:
        model = torchatlas.load("runs/resnet18-cifar10")
        model.predict("cat.jpg")  # [{"file": "cat.jpg", "class": "cat", "probability": 0.93}]
    """
    path, task, about = restore(str(place_of(where)))
    return TrainedModel(path, task, about, device_of() if device is None else device)


def place_of(where: Any) -> Path | str:
    """The checkpoint or the run folder that is meant; see `load`."""
    if isinstance(where, TrainedModel):
        return where.checkpoint
    folder = getattr(where, "folder", where)
    if not isinstance(folder, str | os.PathLike):
        raise UserError(f"a {type(where).__name__} is no run: give a run folder, a checkpoint or what train returned")
    path = Path(folder).expanduser()
    if str(folder) == "auto" or not path.is_dir() or (path / "checkpoints").is_dir():
        return path if str(folder) != "auto" else "auto"
    if path.name == "checkpoints" and has_checkpoint(path.parent):
        return path.parent
    inside = runs_inside(path)
    if not inside:
        find_checkpoint(str(path), "best")  # says what is there in its place
    if len(inside) > 1:
        log.info("of the runs in %s the newest is taken, %s", shown(path), shown(inside[-1]))
    return inside[-1]

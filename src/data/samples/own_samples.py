"""Samples of a program's own data set, given to the network as they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ...errors import UserError
from ..base import DataModule
from ..held import (
    HeldLoader,
    LoaderSplit,
    classes_in,
    items_of,
    labels_in,
    number_of,
    pair_of,
    require_classes,
    splits_of,
)  # fmt: skip
from ..loading import BatchDataset
from ..reading import Given, find_files

TARGETS = ("class", "number")
MADE = 8  # batches of made data


class SamplesDescription(TypedDict):
    """Samples of one shape, with a class or with numbers; the names are in the order of the labels."""

    kind: Literal["samples"]
    shape: list[int]
    target: str
    classes: list[str]


class HeldSamples:
    """Samples of a data set of a program's own, read by whole batches.

    Args:
        dataset: gives pairs of an input and a target.
        shape: of an input.
        num_classes: of the targets; None: they are numbers.
    """

    def __init__(self, dataset: Any, shape: Sequence[int], num_classes: int | None = None) -> None:
        self.dataset, self.shape, self.size = dataset, tuple(shape), number_of(dataset)
        self.num_classes = num_classes
        if num_classes is not None and (labels := labels_in(dataset)) is not None:
            self.labels = labels

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor]:
        _, indices = key
        pairs = items_of(self.dataset, indices.tolist())
        inputs = [numbers_of(x) for x, _ in pairs]
        for x in inputs:
            if tuple(x.shape) != self.shape:
                raise UserError(
                    f"a sample has the shape {list(x.shape)} and others {list(self.shape)}: give all the same shape"
                )
        targets = torch.stack([torch.as_tensor(y) for _, y in pairs])
        if self.num_classes is not None:
            require_classes(targets, self.num_classes)
        return torch.stack(inputs), targets


def numbers_of(value: Any) -> Tensor:
    """An input as float32.

    Raises:
        UserError: it is no array of real numbers.
    """
    try:
        numbers = torch.as_tensor(value)
        if numbers.is_complex():
            raise TypeError("complex")
        return numbers.float()
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"an input is a {type(value).__name__}, and no tensor or array of real numbers: give these"
        ) from error


class OwnSamples(DataModule):
    """Samples of a `torch.utils.data.Dataset` or `DataLoader` that a program gives to `torchatlas.train`.

    A sample is a pair (input, target) or a dictionary with both; inputs are tensors or arrays of one shape, which the
    network gets as they are: images `c h w` that are normalised already, sequences `t c`, rows of numbers `n`. Batches
    of a task: (x `b ...` float32, classes `b`), or, of numbers, (x, y `b k`).

    Args:
        shape: of an input.
        num_classes: of the targets; of numbers how many a target has.
        target: "class" or "number".
        in_channels, image_size: what networks are told, by the shape.
        held: the name under which the program has given them.
        val_share: of the training samples, for validation, where no data set is given for it.
        classes: names in the order of the labels; None: their numbers.
        common: batch size, which that of a loader replaces, seed and so on, see `DataModule`.
    """

    tasks: tuple[str, ...] = ("classification", "regression")  # type: ignore[misc]  # of one by its targets
    kind = "samples"
    network = "mlp"
    endings = (".npy",)

    def __init__(
        self, *, shape: Sequence[int] = (8,), num_classes: int = 2, target: str = "class", in_channels: int = 8,
        image_size: int = 1, held: str | None = None, val_share: float = 0.1, classes: Sequence[str] | None = None,
        **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(**common)
        if target not in TARGETS:
            raise UserError(f"data.target={target} must be class or number")
        self.shape, self.target, self.num_classes = list(shape), target, num_classes
        self.in_channels, self.image_size, self.held, self.val_share = in_channels, image_size, held, val_share
        self.tasks = ("classification",) if target == "class" else ("regression",)
        names = [] if target == "number" else list(map(str, range(num_classes) if classes is None else classes))
        if target == "class" and len(names) != num_classes:
            raise UserError(f"data.classes are {len(names)} names, and data.num_classes is {num_classes}")
        self.classes = names

    @staticmethod
    def declare_in_channels(shape: Sequence[int]) -> int:
        """The first size of an image, the last one of a sequence, and all of a row."""
        return int(shape[0] if len(shape) != 2 else shape[1])

    @staticmethod
    def declare_image_size(shape: Sequence[int]) -> int:
        return int(shape[1]) if len(shape) == 3 else 1

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        found = self.made() if self.fake else splits_of(self.held, self.val_share)
        ready: dict[str, BatchDataset] = {}
        for split, dataset in found.items():
            loader = isinstance(dataset, DataLoader)
            number = self.num_classes if self.target == "class" else None
            ready[split] = LoaderSplit(dataset, number) if loader else HeldSamples(dataset, self.shape, number)
        self.splits = ready

    def made(self) -> dict[str, Any]:
        """Random inputs; the class is the place of the largest of the first numbers, a target their values."""
        generator = torch.Generator().manual_seed(0)
        found = {}
        for split in ("train", "val", "test"):
            x = torch.randn(MADE * self.batch_size, *self.shape, generator=generator)
            first = x.flatten(1)[:, : self.num_classes]
            found[split] = torch.utils.data.TensorDataset(x, first.argmax(1) if self.target == "class" else first)
        return found

    def loader(self, split: str, *, shuffle: bool = False) -> Any:
        dataset = self.splits[split]
        if isinstance(dataset, LoaderSplit):
            return HeldLoader(dataset.loader, self.seed, shuffled=shuffle, num_classes=dataset.num_classes)
        return super().loader(split, shuffle=shuffle)

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """Inputs as float32, and classes `b` or numbers `b k`."""
        x, y = pair_of(batch)
        y = torch.as_tensor(y, device=x.device)
        if self.target == "number":
            return x.float(), y.float().reshape(len(y), -1)
        y = y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y
        if y.ndim != 1:
            raise UserError(f"targets of a batch have the shape {list(y.shape)}, and are no classes")
        return x.float(), classes_in(y)

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        x = torch.randn(batch, *self.shape)
        if self.target == "number":
            return x, torch.randn(batch, self.num_classes)
        return x, torch.randint(self.num_classes, (batch,))

    def read(self, given: str) -> Given[BatchDataset]:
        """See `DataModule.read`: files of NumPy with an input each."""
        paths = find_files(given, self.endings)
        inputs = []
        for path in paths:
            try:
                x = numbers_of(np.load(path, allow_pickle=False))
            except (ValueError, OSError, EOFError) as error:
                raise UserError(f"{path} cannot be read as an array of NumPy ({error})") from error
            if list(x.shape) != self.shape:
                raise UserError(f"{path} has the shape {list(x.shape)}, and inputs of training had {self.shape}")
            if not x.isfinite().all():
                raise UserError(f"{path} holds values that are no finite numbers, of which there is no answer")
            inputs.append(x)
        y = torch.zeros(len(paths), *(() if self.target == "class" else (self.num_classes,)), dtype=torch.int64)
        dataset = HeldSamples(torch.utils.data.TensorDataset(torch.stack(inputs), y), self.shape)
        return Given([{"file": str(path)} for path in paths], dataset)

    def as_given(self, values: Sequence[Any], folder: Path) -> tuple[DataModule, Any]:
        """See `DataModule.as_given`: inputs as the program's data set gives them."""
        for i, value in enumerate(values):
            np.save(folder / f"{i:08d}.npy", numbers_of(value).numpy())
        return self, str(folder)

    def example_file(self, folder: Path) -> Path:
        np.save(folder / "sample.npy", np.zeros(self.shape, np.float32))
        return folder / "sample.npy"

    def describe(self) -> SamplesDescription:
        return {"kind": "samples", "shape": self.shape, "target": self.target, "classes": list(self.classes)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.shape, self.classes = list(state_dict["shape"]), list(state_dict["classes"])

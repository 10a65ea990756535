"""What every data module has in common: three splits, seeded loaders, and a plain description."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UserError
from ..metrics.figures import Reports
from . import folds
from .contents import Contents, checksum_of_files, checksum_of_numbers
from .loading import BatchDataset, Loader, Order
from .reading import Given

log = logging.getLogger(__name__)
PURE = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}  # without autocast
SPLIT_SEED = 0  # splits that the authors did not fix are cut by this seed, whatever the run's seed is


def require_memory(memory: Any) -> None:
    """Refuse bytes that are none."""
    if isinstance(memory, bool) or not isinstance(memory, int | float) or not memory >= 0:
        raise UserError(f"data.memory={memory} must be a number of bytes, 0 to read the files in each epoch")


class DataModule(lightning.LightningDataModule):
    """Splits of one data set.

    A subclass sets `self.splits` in `setup` and says in `transform` what becomes of a batch on the device. For what
    networks need to know and only the files can tell, a config asks with `${declared:KEY}`: see `contract`.

    Args:
        batch_size: samples per batch, over all devices together.
        num_workers: processes that read; 0 is right for data in memory; None: the trainer chooses.
        seed: determines the order of samples and, with epoch and index, the augmentation.
        fake: made data of the declared shape with a rule to learn, in place of files.
        same_batch: training data in their natural order without augmentation, so that a run limited to one
            batch an epoch sees the same batch again and again.
        targets: what a network has to answer with, declared for sequence models: see the class attribute.
        sampling: "balanced": each class comes equally often in training, see `loading.balanced`; None: each sample once
            an epoch.

    Attributes:
        targets: "sequence" (one answer to each input: `b k`), "step" (one at each step of it: `b t k`), or "horizon"
            (numbers for some steps after it: `b h c`).
        split_files: of a split that is made of files, a folder and their names relative to it.
    """

    tasks: ClassVar[tuple[str, ...]] = ()  # the tasks, by name, that these batches can serve
    targets: ClassVar[str] = "sequence"
    # when a run goes on, no key of the data can change but those that say where files are and how they are read
    fixed: ClassVar[Mapping[str, str]] = {"": "the data are those of the checkpoint"}
    free: ClassVar[tuple[str, ...]] = ("root", "path", "num_workers", "memory")
    kind: ClassVar[str] = ""  # what an input is, where callbacks are for that alone: see `run.build.callbacks_of`
    of_images: ClassVar[bool] = False  # whether an input is an image, which tasks make and `augment=` changes
    of_texts: ClassVar[bool] = False  # whether an input is a text, which a string can be itself
    classes: Sequence[str] = ()  # their names in the order of the labels, where there are labels
    endings: ClassVar[tuple[str, ...]] = ()  # of the files that `read` takes; none: it takes no file
    network: ClassVar[str] = "lstm"  # one of the zoo that takes such data in any size
    at_hand: ClassVar[bool] = False  # there at once and small, without a file of the user's or a download
    length_option: ClassVar[str | None] = None  # how long an input is; what fits a short one fits a long one
    reports: ClassVar[Reports] = {}  # what is to be known of baselines, beside what a task says of such figures
    fold: folds.Fold | None = None  # the part that is for validation, where `build_data` has been told of one
    indivisible: ClassVar[str] = ""  # why training and validation must stay as they are cut; "": nothing speaks against
    in_memory = True  # whether the splits are, once they are set up; else workers read ahead

    def __init__(
        self,
        *,
        batch_size: int = 128,
        num_workers: int | None = None,
        seed: int = 0,
        fake: bool = False,
        same_batch: bool = False,
        targets: str | None = None,
        sampling: str | None = None,
    ) -> None:
        super().__init__()
        if sampling not in (None, "balanced"):
            raise UserError(f"data.sampling={sampling} must be balanced, or null for each sample once an epoch")
        if targets not in (None, self.targets):
            raise UserError(
                f"data.targets={targets} cannot be chosen: these data have one target for each {self.targets}"
            )
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise UserError(f"data.batch_size={batch_size} must be a positive whole number")
        if num_workers is not None and (not isinstance(num_workers, int) or num_workers < 0):
            raise UserError(f"data.num_workers={num_workers} must be a whole number from 0, or null for a choice")
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise UserError(f"data.seed={seed} must be a whole number")
        self.same_batch, self.sampling = same_batch, sampling
        self.batch_size, self.num_workers, self.seed, self.fake = batch_size, num_workers, seed, fake
        self.splits: dict[str, BatchDataset] = {}
        self.split_files: dict[str, tuple[Path, Sequence[bytes] | NDArray[np.bytes_]]] = {}
        self.places: dict[str, NDArray[np.int64]] = {}  # of folds: see `folds.divided`
        self.pool: list[Any] = []
        self._contents: dict[str, Contents] = {}

    def in_folds(self, splits: Mapping[str, Any]) -> dict[str, Any]:
        """Splits as they are to be used: with another cut between training and validation where there are folds.

        Called in `setup` before anything is computed from a split.

        Args:
            splits: see `folds.divided`.

        Raises:
            UserError: these data cannot be divided so.
        """
        if self.fold is None or "train" not in splits:
            return dict(splits)
        if self.indivisible:
            raise UserError(f"folds= cannot divide these data, since {self.indivisible}: leave it out")
        self.pool = folds.pooled(splits)
        found, self.places = folds.divided(splits, self.fold)
        return found

    @classmethod
    def check(cls, config: Any, name: str) -> None:
        """Refuse what these data cannot do, before anything is built, read or downloaded.

        Args:
            config: their section of the composed config.
            name: the choice by which the user knows them.

        Raises:
            UserError: it says what to type instead.
        """
        if "augment" in config and not cls.of_images:
            raise UserError(f"augment= is for images, and data={name} has none: leave it out")

    @classmethod
    def small(cls) -> dict[str, Any]:
        """Options with which the data need no file and little time."""
        return {} if cls.at_hand else {"fake": True}

    def preprocess_as(self, mean: Sequence[float], std: Sequence[float], image_size: int) -> list[str]:
        """Preprocess as the training of given weights did, unless the user said how.

        Args:
            mean, std: of their images, per channel on the scale 0..1.
            image_size: of their images.

        Returns:
            Lines for the log.
        """
        return []

    def require_weights(self, weights: str) -> None:
        """Refuse weights that were trained with inputs of another meaning, such as other tokens.

        Args:
            weights: see `torchatlas.load_weights`.

        Raises:
            UserError: it names the option that makes them fit.
        """

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        """A batch of the declared shape as a task receives it, without reading anything."""
        raise NotImplementedError

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """What a loader yields, in; what a task receives, out; on the batch's device.

        A function of the batch alone, which carries its epoch and indices: it can be called without a trainer.
        """
        raise NotImplementedError

    def read(self, given: str) -> Given[BatchDataset]:
        """A user's own files, read as those of the data set are: `transform` takes their batches as in evaluation.

        All that it needs is what `load_state_dict` restores: the data set itself may be gone.

        Args:
            given: a file, or a folder, of which the files with one of `endings` are taken; of some data a text itself.

        Raises:
            UserError: there is no such file, or it cannot be read.
        """
        raise NotImplementedError

    def as_given(self, values: Sequence[Any], folder: Path) -> tuple["DataModule", Any]:
        """What a program has in memory, as what `read` takes: files that hold the same, so that it is read like these.

        Args:
            values: images, sounds, texts and so on, one or several.
            folder: an empty one, for files in the order of the values.

        Returns:
            The data that read them, and what their `read` is given.

        Raises:
            UserError: the data take files alone, or a value is not of their kind.
        """
        ends = f" that end in {', '.join(self.endings)}" if self.endings else ""
        raise UserError(f"{self.kind or type(self).__name__} data are read of files alone: name files{ends}")

    def example_file(self, folder: Path) -> Path | None:
        """A small file for `read`, written into a folder, for tests; None: they know how one of this kind looks."""
        return None

    def batches(self, given: Given[BatchDataset], device: torch.device | str) -> Iterator[tuple[Tensor, ...]]:
        """What a task receives of a user's files, on a device."""
        try:
            for batch in given:
                yield self.transform(tuple(part.to(device) if isinstance(part, Tensor) else part for part in batch))
        finally:
            self.tell_reading(logging.WARNING)  # which commands without a log of their own show

    def told(
        self, given: Given[BatchDataset], device: torch.device | str
    ) -> Iterator[tuple[list[dict[str, str]], tuple[Tensor, ...]]]:
        """What tells the samples of each batch from the others, and what a task receives of it; see `Given.told`."""
        try:
            for about, batch in given.told():
                moved = tuple(part.to(device) if isinstance(part, Tensor) else part for part in batch)
                yield about, self.transform(moved) if moved else ()
        finally:
            self.tell_reading(logging.INFO)

    def iterate(
        self, split: str, epoch: int | None = None, device: torch.device | str = "cpu"
    ) -> Iterator[tuple[Tensor, ...]]:  # fmt: skip
        """Batches of a split as tasks receive them, for a loop of your own.

        Args:
            split: "train", "val" or "test".
            epoch: of training, from 0 on: in random order and augmented, both functions of seed and epoch; None: in
                order, as in evaluation.
            device: on which they are transformed.

        Raises:
            UserError: the data have no such split.

        Example:
            for x, labels in data.iterate("train", epoch=3):
                loss = F.cross_entropy(network(x), labels)
        """
        if split not in self.splits:
            raise UserError(f"these data have no split {split!r}: they have {', '.join(self.splits) or 'none yet'}")
        loader = self.loader(split, shuffle=epoch is not None)
        loader.sampler.set_epoch(epoch or 0)
        for batch in loader:
            yield self.transform(tuple(part.to(device) if isinstance(part, Tensor) else part for part in batch))

    def tell_reading(self, level: int) -> None:
        """Say in the log what was done to files that were read, if anything was."""

    def judge_all(self) -> None:
        """Let all samples be the split "test", as is asked before `setup` of a folder that was not trained on.

        Raises:
            UserError: these data are no folder.
        """
        raise UserError(
            f"split=all is for folders of images, masks and sounds, and not for {type(self).__name__}: use split=test"
        )

    def is_new(self) -> bool:
        """Whether the files are none of those that were trained on, and nobody has divided them into splits."""
        return False

    def describe(self) -> Mapping[str, Any]:
        """What a checkpoint, `data.json` and exported files say of the data: plain values, "kind" among them.

        Each kind of data has its own `TypedDict` of them, beside its class. With them `load_state_dict` makes data of
        the same classes, tokens and statistics.
        """
        raise NotImplementedError

    def contents(self, splits: Collection[str]) -> dict[str, Contents]:
        """What splits hold, by which a run that goes on knows whether its data are what they were."""
        new = {split: len(self.splits[split]) for split in splits if split not in self._contents}
        for split, samples in new.items():
            self._contents[split] = {"samples": samples, "checksum": "" if self.fake else self.checksum(split)}
        return {split: self._contents[split] for split in splits}

    def checksum(self, split: str) -> str:
        """Another one when other samples are in a split, and the same one wherever the data lie, on any machine.

        Of data in `split_files` it is of their names and sizes; of others it is of the whole numbers in memory, such as
        labels and tokens, see `checksum_of_numbers`.
        """
        if split in self.split_files:
            return checksum_of_files(*self.split_files[split])
        return checksum_of_numbers(self.splits[split])

    def train_dataloader(self) -> Loader:
        self.tell_sampling()
        return self.loader("train", shuffle=not self.same_batch)

    def val_dataloader(self) -> Loader:
        return self.loader("val")

    def test_dataloader(self) -> Loader:
        return self.loader("test")

    def loader(self, split: str, *, shuffle: bool = False) -> Loader:
        """Batches of a split for this process; see `Order`."""
        dataset, labels = self.splits[split], self.balance(split, shuffle)
        order = Order(
            len(dataset),
            self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world=self.trainer.world_size if self.trainer else 1,
            labels=labels,
            again=getattr(dataset, "again", False),
        )
        return Loader(dataset, order, self.num_workers or 0)

    def tell_sampling(self) -> None:
        """Say how often samples come where each class comes equally often."""
        if self.balance("train", shuffle=not self.same_batch) is None or (self.trainer and self.trainer.global_rank):
            return
        counts = self.class_counts("train")
        there = counts.nonzero()[:, 0]
        times = counts.sum() / (len(there) * counts.double())
        few, many = (int(there[k]) for k in (counts[there].argmin(), counts[there].argmax()))
        log.info(
            "balanced sampling: each of %d classes is %.3g %% of an epoch; a sample of %s (%d) comes %.3g times in it, "
            "one of %s (%d) %.3g times",
            len(there), 100 / len(there), self.classes[few], counts[few], times[few], self.classes[many], counts[many],
            times[many],
        )  # fmt: skip

    def balance(self, split: str, shuffle: bool) -> Tensor | None:
        """The classes by which an order is balanced, if it is."""
        return self.labels_of(split) if shuffle and self.sampling == "balanced" else None

    def labels_of(self, split: str) -> Tensor:
        """The class of each sample of a split, int64 `n`.

        Raises:
            UserError: the samples have none.
        """
        labels = getattr(self.splits[split], "labels", None)
        if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point():
            raise UserError(
                "data.sampling and task.class_weights are for data with a class for each sample, which these have not: "
                "leave them out"
            )
        return labels

    def class_counts(self, split: str) -> Tensor:
        """How many samples of a split each class has, int64 `k`."""
        return torch.bincount(self.labels_of(split), minlength=len(self.classes))

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        batch = self.transform(batch)
        dtype = PURE.get(str(self.trainer.precision)) if self.trainer else None
        return batch if dtype is None else tuple(x.to(dtype) if x.is_floating_point() else x for x in batch)

    def state_dict(self) -> dict[str, Any]:
        return dict(self.describe())

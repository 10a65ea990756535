"""The copying memory task."""

import math
from typing import Any, ClassVar, Literal, TypedDict

import torch
from torch import Tensor

from ...counter import uniform
from ...errors import UserError
from ...metrics.figures import Figure, Reports
from ..base import SPLIT_SEED, DataModule

BLANK, MARKER = 0, 9
SYMBOLS = 8  # the tokens 1 to 8
ITEMS = 10  # that are to be remembered
TEST_SIZE = 1000


class Copies:
    """Samples of the copying memory task, each computed when it is asked for.

    Args:
        size: number of samples.
        length: T, see `CopyMemory`.
        stream: a number of the split, so that no two splits share their random numbers.
    """

    def __init__(self, size: int, length: int, stream: int) -> None:
        self.size, self.length, self.stream = size, length, stream

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor]:
        _, indices = key
        items = 1 + (uniform(SPLIT_SEED, self.stream, indices, ITEMS) * SYMBOLS).long()
        tokens = torch.full((len(indices), self.length + 2 * ITEMS), BLANK)
        labels = tokens.clone()
        tokens[:, :ITEMS] = items
        tokens[:, -ITEMS - 1 :] = MARKER
        labels[:, -ITEMS:] = items
        return tokens.float()[..., None], labels


class CopyMemoryDescription(TypedDict):
    """Symbols to be said again; `length` is that of the pause."""

    kind: Literal["copy_memory"]
    length: int


class CopyMemory(DataModule):
    """The copying memory task: ten symbols, a long wait, the same ten symbols again. Nothing to download.

    Hochreiter and Schmidhuber 1997 and Arjovsky et al. 2015 (arXiv:1511.06464, section 4.1), in the form of Bai et al.
    2018 (arXiv:1803.01271, section 4) and of the authors' code. Of T + 20 steps the first ten are symbols from 1 to 8,
    then come T - 1 blanks (0) and eleven markers (9), of which the first says that the answer is due. The label is 0 at
    the first T + 10 steps, and then the ten symbols in their order:

        tokens  3 1 4 1 5 2 6 5 3 5  0 0 ... 0  9 9 9 9 9 9 9 9 9 9 9
        labels  0 0 0 0 0 0 0 0 0 0  0 0 ... 0  0 3 1 4 1 5 2 6 5 3 5

    As in the authors' code the network gets the token's number as one real value a step.

    A network without memory can do no better than to answer 0 when it has to, and then any symbol with probability 1/8:
    a cross-entropy of 10 ln 8 / (T + 20), averaged over the steps (Arjovsky et al. 2015, section 4.1).

    There are no official splits: a sample is a function of its split and its index alone, so training, validation and
    test set (1,000 samples) are the same for all runs. Batches: tokens as numbers `b T+20 1`, int64 labels `b T+20`.

    Args:
        length: T, the wait. Known figures are for 500, 1000 and 2000.
        train_size, val_size: samples of training and validation; the paper's authors have 10,000 for training.
        in_channels, num_classes: what networks are told: one number in, and logits of ten symbols out, at each step.
        blank: the label that says nothing, declared for the task and checked.
        common: batch size, seed and so on, see `DataModule`. Made data (`fake`) are the same task with few samples.

    Raises:
        UserError: a size that is out of range, or a declaration that is not the task's.
    """

    tasks = ("sequence_labeling",)
    reports: ClassVar[Reports] = {
        "loss": Figure("lower", "nats", tabled=True),
        "memoryless_loss": Figure("lower", "nats", tabled=True),
    }
    targets = "step"
    length_option = "length"

    def __init__(
        self,
        *,
        length: int = 1000,
        train_size: int = 10_000,
        val_size: int = 1000,
        in_channels: int = 1,
        num_classes: int = 10,
        blank: int = BLANK,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if length < 1 or train_size < 1 or val_size < 1:
            raise UserError(
                f"data.length={length}, data.train_size={train_size} and data.val_size={val_size} must be positive"
            )
        if (in_channels, num_classes, blank) != (1, SYMBOLS + 2, BLANK):
            raise UserError(
                f"data.in_channels={in_channels}, data.num_classes={num_classes} and data.blank={blank} must be 1, "
                f"{SYMBOLS + 2} and {BLANK} for the copying memory task: change data.length alone"
            )
        self.length, self.train_size, self.val_size = length, train_size, val_size
        self.in_channels, self.num_classes, self.blank = in_channels, num_classes, blank

    @property
    def baselines(self) -> dict[str, float]:
        """What is reached without a memory: a cross-entropy, in nats a step."""
        return {"memoryless_loss": ITEMS * math.log(SYMBOLS) / (self.length + 2 * ITEMS)}

    def setup(self, stage: str | None = None) -> None:
        sizes = (self.train_size, self.val_size, TEST_SIZE)
        if self.fake:
            sizes = (2 * self.batch_size, self.batch_size, self.batch_size)
        self.splits = {
            name: Copies(size, self.length, stream)
            for stream, (name, size) in enumerate(zip(("train", "val", "test"), sizes, strict=True))
        }

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """Tokens as numbers `b T+20 1` and labels `b T+20`, as they are."""
        return batch

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        labels = torch.randint(self.num_classes, (batch, self.length + 2 * ITEMS))
        return torch.rand(*labels.shape, 1), labels

    def describe(self) -> CopyMemoryDescription:
        return {"kind": "copy_memory", "length": self.length}
